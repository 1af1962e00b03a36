"""One image on its way through the annotator's hands, as immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lfusion.image import Geometry, UltrasoundImage
from lfusion.protocol import Capabilities, InferResult, Lease, Why
from lfusion.types import FloatMap, LabelMap


@dataclass(frozen=True)
class BackendInfo:
    """What a backend offers.

    Attributes:
        name: For the status line: the address, or "Demo".
        labels: Class number by name, in the order of the numbers; 0 is background and not named.
        strategies: Orders of the queue, the default first.
        capabilities: What the server offers beyond MONAI Label; None for a plain one.
        trainable: Whether this user can have the model retrained.
        missing: One sentence for each thing that this backend lacks, for people; empty when
            everything is there.
    """

    name: str
    labels: Mapping[str, int]
    strategies: tuple[str, ...]
    capabilities: Capabilities | None
    trainable: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Offer:
    """An image that is this client's to label.

    Attributes:
        image_id: As the server names it.
        base_version: Version of its final label now, 0 without one; None when not known.
        lease: The exclusive right, or None on a server without leases.
        why: Why it comes next, or None when it was chosen by hand or the server does not say.
    """

    image_id: str
    base_version: int | None = None
    lease: Lease | None = None
    why: Why | None = None


@dataclass(frozen=True, eq=False)
class Proposal:
    """A segmentation by the model.

    Attributes:
        image_id: Of the image.
        mask: Class numbers.
        maps: Uncertainty in nats by name (`lfusion.protocol.MAP_TAGS`), each of the mask's
            shape; empty on a plain MONAI Label server.
        result: The scalars: scores, percentiles, biometry, abnormality; None on a plain server.
        geometry: Where the mask lies; None when it came without a place.
    """

    image_id: str
    mask: LabelMap
    maps: Mapping[str, FloatMap] = field(default_factory=dict)
    result: InferResult | None = None
    geometry: Geometry | None = None

    @property
    def checkpoint_id(self) -> str | None:
        """Which checkpoint proposed it, or None when the server does not say."""
        return None if self.result is None else self.result.checkpoint_id


@dataclass(frozen=True, eq=False)
class OpenCase:
    """Everything that is on screen when a case opens.

    Attributes:
        offer: The right to label it.
        image: Pixels, pixel size, place in space.
        proposal: By the model; what edits are measured against.
        label: The final label that somebody saved before, or None.
    """

    offer: Offer
    image: UltrasoundImage
    proposal: Proposal
    label: LabelMap | None = None

    @property
    def start(self) -> LabelMap:
        """The mask to begin with: the saved label where there is one, else the proposal's."""
        return self.proposal.mask if self.label is None else self.label


@dataclass(frozen=True)
class Correction:
    """A corrected mask, ready to be sent as often as it takes.

    Attributes:
        image_id: Of the image.
        file_name: Its suffix says the format.
        content: The mask file.
        idempotency_key: The same for every attempt; the server saves it once.
        base_version: Version of the final label that it was made from, None when not known.
        checkpoint_id: Checkpoint whose proposal was corrected, None when not known.
        label_names: Names of the classes 1, 2, … in the file.
    """

    image_id: str
    file_name: str
    content: bytes
    idempotency_key: str
    base_version: int | None = None
    checkpoint_id: str | None = None
    label_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Saved:
    """The server has a correction on disk.

    Attributes:
        image_id: Of the image.
        version: Of its final label; None on a server without versions.
        conflict_with: Version that somebody else saved meanwhile; both are kept, this one is
            current. None without a conflict.
    """

    image_id: str
    version: int | None = None
    conflict_with: int | None = None
