"""What the plugin asks of a server, or of the demonstration that stands in for one."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lfusion.image import UltrasoundImage
from lfusion.protocol import (
    Alternative,
    Clicks,
    LabelVersion,
    Lease,
    Queue,
    ScoringStatus,
    TrainingStatus,
)
from lfusion.types import LabelMap
from napari_lfusion.core.case import BackendInfo, Correction, Offer, Proposal, Saved


class Backend(Protocol):
    """Source of cases and sink of corrections.

    Every method blocks, may be called from several threads at once, and raises a `BackendError`
    when it fails. What `BackendInfo` says is missing raises `NotOfferedError`.
    """

    @property
    def client_id(self) -> str:
        """Who labels: the holder of the leases."""
        ...

    def info(self) -> BackendInfo:
        """Ask what is offered: the first call, and again after a training."""
        ...

    def queue(self, strategy: str, limit: int) -> Queue:
        """The pool in the order of a strategy, at most `limit` items."""
        ...

    def thumbnail(self, image_id: str, size_px: int) -> NDArray[np.uint8]:
        """A small picture, grey [height, width], the longer side at most `size_px`."""
        ...

    def next_case(self, strategy: str) -> Offer | None:
        """Lease the top of the queue; None when the pool is empty."""
        ...

    def take(self, image_id: str) -> Offer:
        """Lease one image by name, chosen in the queue or recovered after a crash.

        Raises:
            ConflictError: Somebody else holds it.
        """
        ...

    def renew(self, image_id: str) -> Lease:
        """Hold an image for longer.

        Raises:
            ConflictError: The lease ended and somebody else holds the image now.
        """
        ...

    def release(self, image_id: str) -> None:
        """Give an image back to the pool, untouched; nothing happens without a lease."""
        ...

    def image(self, image_id: str) -> UltrasoundImage:
        """The image itself."""
        ...

    def propose(self, image_id: str) -> Proposal:
        """The model's mask, maps and scalars."""
        ...

    def follow(self, image_id: str, clicks: Clicks) -> Proposal:
        """The mask that follows all clicks and scribbles so far; points are [x, y].

        It has no maps: those of `propose` still say where the model was unsure.
        """
        ...

    def alternative(self, image_id: str, which: Alternative) -> Proposal:
        """Another mask that the model holds possible, without maps.

        Its `result` is an `AlternativeResult`: how probable it is, and how many modes there are.
        """
        ...

    def label(self, image_id: str) -> LabelMap | None:
        """The current final label, or None."""
        ...

    def versions(self, image_id: str) -> list[LabelVersion]:
        """All versions of the final label, the oldest first."""
        ...

    def submit(self, correction: Correction) -> Saved:
        """Save a correction as the final label and end the lease.

        The same `idempotency_key` again answers as the first time and saves nothing.
        """
        ...

    def skip(self, image_id: str, reason: str) -> None:
        """Put an image aside: not now, not by me; ends the lease."""
        ...

    def flag(self, image_id: str, reason: str) -> None:
        """Ask for someone to look at an image; ends the lease."""
        ...

    def score(self) -> ScoringStatus:
        """Start scoring the pool in the background; one that runs already goes on."""
        ...

    def scoring(self) -> ScoringStatus:
        """How far the scoring is."""
        ...

    def train(self) -> None:
        """Start a training on all final labels.

        Raises:
            ConflictError: One is running.
        """
        ...

    def training(self) -> TrainingStatus:
        """How far the training is."""
        ...

    def stop_training(self) -> None:
        """Ask the training to stop; the served model stays as it was."""
        ...

    def close(self) -> None:
        """End all connections; leases run out or are released before."""
        ...
