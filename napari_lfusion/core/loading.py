"""From an offer to an open case, with the next one fetched ahead."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lfusion.image import UltrasoundImage
from lfusion.protocol import Queue
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.case import Offer, OpenCase, Proposal
from napari_lfusion.core.errors import BadAnswerError
from napari_lfusion.core.journal import Unfinished
from napari_lfusion.core.place import coincide

_WAITING = ("open", "unscored")


@dataclass(frozen=True, eq=False)
class Prefetched:
    """Image and proposal of a case that is not leased yet.

    Attributes:
        image: As `Backend.image`.
        proposal: As `Backend.propose`.
    """

    image: UltrasoundImage
    proposal: Proposal


def fetch(backend: Backend, image_id: str) -> Prefetched:
    """Fetch image and proposal, and check that they lie on one grid.

    Raises:
        BadAnswerError: Mask or maps have another size than the image, or lie elsewhere.
        BackendError: See `Backend`.
    """
    image, proposal = backend.image(image_id), backend.propose(image_id)
    _check_grid(image, proposal)
    size = None if proposal.result is None else proposal.result.pixel_size_mm
    # A picture does not know its pixel size, but the server may from its list of images.
    if image.pixel_size_mm is None and size is not None and not image.regions:
        image = replace(image, pixel_size_mm=size)
    return Prefetched(image, proposal)


def open_case(
    backend: Backend,
    offer: Offer,
    ahead: Prefetched | None = None,
    checkpoint_id: str | None = None,
) -> OpenCase:
    """Fetch what is on screen when a case opens.

    Args:
        backend: Where from.
        offer: The image, leased.
        ahead: What was fetched ahead; used when it is this image.
        checkpoint_id: The one served now; a proposal fetched ahead from another is fetched again.

    Returns:
        The case; with the saved label, when the image has one.

    Raises:
        BackendError: See `fetch`.
    """
    usable = (
        ahead is not None
        and ahead.proposal.image_id == offer.image_id
        and ahead.proposal.checkpoint_id == (checkpoint_id or ahead.proposal.checkpoint_id)
    )
    got = ahead if ahead is not None and usable else fetch(backend, offer.image_id)
    label = backend.label(offer.image_id) if offer.base_version else None
    if label is not None and label.shape != got.image.pixels.shape:
        raise BadAnswerError(
            f"expected a saved label of {list(got.image.pixels.shape)} pixels for "
            f"{offer.image_id!r}, got {list(label.shape)}; it was saved on another grid"
        )
    return OpenCase(offer, got.image, got.proposal, label)


def resumed(case: OpenCase, unfinished: Unfinished | None) -> OpenCase:
    """A case that goes on from the journal, with the version of the label that the work began from.

    A version that somebody saved meanwhile is then told as a conflict when it is submitted.

    Args:
        case: As opened now.
        unfinished: What the journal holds of its image, or None.

    Returns:
        The case; as it was without work to go on from, or with work on another grid.
    """
    if unfinished is None or unfinished.mask.shape != case.image.pixels.shape:
        return case
    offer = replace(case.offer, base_version=unfinished.entry.base_version)
    return replace(case, offer=offer)


def likely_next(queue: Queue, client_id: str, current: str) -> str | None:
    """The image to fetch ahead: the first that nobody holds, else one that this client holds.

    Fetching ahead takes no lease, so that nobody holds images that they do not look at.

    Args:
        queue: As the backend gave it.
        client_id: Of this client.
        current: The image that is open.

    Returns:
        Its id, or None when nothing waits.
    """
    others = [item for item in queue.items if item.id != current]
    free = [item.id for item in others if item.state in _WAITING]
    mine = [item.id for item in others if item.state == "leased" and item.owner == client_id]
    return next(iter(free + mine), None)


def _check_grid(image: UltrasoundImage, proposal: Proposal) -> None:
    """Refuse arrays that would be shown in the wrong place."""
    sizes = {"mask": proposal.mask.shape} | {k: v.shape for k, v in proposal.maps.items()}
    for name, size in sizes.items():
        if size != image.pixels.shape:
            raise BadAnswerError(
                f"expected the {name} of {proposal.image_id!r} on the image's grid of "
                f"{list(image.pixels.shape)} pixels, got {list(size)}; the model on the server "
                "resizes or turns its answers"
            )
    place = proposal.geometry
    if place is not None and image.geometry.physical and not coincide(place, image.geometry):
        raise BadAnswerError(
            f"expected the mask of {proposal.image_id!r} where the image lies, it lies elsewhere; "
            "the model on the server flips or moves its answers"
        )
