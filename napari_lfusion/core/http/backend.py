"""`Backend` over HTTP."""

from __future__ import annotations

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
from napari_lfusion.core.http.account import Account


class HttpBackend:
    """A MONAI Label server, ours or a plain one; see `Backend` for the methods.

    Args:
        account: Where to connect, as whom; nothing is sent before `info` is called.
    """

    def __init__(self, account: Account) -> None:
        self._account = account

    @property
    def client_id(self) -> str:
        """Who labels."""
        return self._account.user

    def info(self) -> BackendInfo:
        """See `Backend`."""
        raise NotImplementedError

    def queue(self, strategy: str, limit: int) -> Queue:
        """See `Backend`."""
        raise NotImplementedError

    def thumbnail(self, image_id: str, size_px: int) -> NDArray[np.uint8]:
        """See `Backend`."""
        raise NotImplementedError

    def next_case(self, strategy: str) -> Offer | None:
        """See `Backend`."""
        raise NotImplementedError

    def take(self, image_id: str) -> Offer:
        """See `Backend`."""
        raise NotImplementedError

    def renew(self, image_id: str) -> Lease:
        """See `Backend`."""
        raise NotImplementedError

    def release(self, image_id: str) -> None:
        """See `Backend`."""
        raise NotImplementedError

    def image(self, image_id: str) -> UltrasoundImage:
        """See `Backend`."""
        raise NotImplementedError

    def propose(self, image_id: str) -> Proposal:
        """See `Backend`."""
        raise NotImplementedError

    def follow(self, image_id: str, clicks: Clicks) -> Proposal:
        """See `Backend`."""
        raise NotImplementedError

    def alternative(self, image_id: str, which: Alternative) -> Proposal:
        """See `Backend`."""
        raise NotImplementedError

    def label(self, image_id: str) -> LabelMap | None:
        """See `Backend`."""
        raise NotImplementedError

    def versions(self, image_id: str) -> list[LabelVersion]:
        """See `Backend`."""
        raise NotImplementedError

    def submit(self, correction: Correction) -> Saved:
        """See `Backend`."""
        raise NotImplementedError

    def skip(self, image_id: str, reason: str) -> None:
        """See `Backend`."""
        raise NotImplementedError

    def flag(self, image_id: str, reason: str) -> None:
        """See `Backend`."""
        raise NotImplementedError

    def score(self) -> ScoringStatus:
        """See `Backend`."""
        raise NotImplementedError

    def scoring(self) -> ScoringStatus:
        """See `Backend`."""
        raise NotImplementedError

    def train(self) -> None:
        """See `Backend`."""
        raise NotImplementedError

    def training(self) -> TrainingStatus:
        """See `Backend`."""
        raise NotImplementedError

    def stop_training(self) -> None:
        """See `Backend`."""
        raise NotImplementedError

    def close(self) -> None:
        """See `Backend`."""
        raise NotImplementedError
