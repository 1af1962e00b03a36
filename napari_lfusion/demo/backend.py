"""`Backend` on stored predictions."""

from __future__ import annotations

import hashlib
import time
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from lfusion.image import UltrasoundImage
from lfusion.protocol import (
    Alternative,
    Capabilities,
    Clicks,
    LabelVersion,
    Lease,
    Queue,
    ScoringStatus,
    TrainingStatus,
)
from lfusion.types import LabelMap
from napari_lfusion.core.case import BackendInfo, Correction, Offer, Proposal, Saved
from napari_lfusion.core.correction import read_correction
from napari_lfusion.core.errors import NotOfferedError, RefusedError
from napari_lfusion.demo.pool import LEASE_SECONDS, DemoPool
from napari_lfusion.demo.stored import (
    demo_alternative_result,
    demo_index,
    demo_thumbnail,
    read_demo_image,
    read_demo_mode,
    read_demo_prediction,
)

_NO_CLICKS = "no correction by clicks: that needs a server with the model"
_NO_TRAINING = "no retraining: the demonstration has stored predictions and no model"


class DemoBackend:
    """The demonstration; see `Backend` for the methods. It keeps labels in memory.

    Args:
        client_id: Who labels.
    """

    def __init__(self, client_id: str = "demo") -> None:
        self._client_id = client_id
        self._index = demo_index()
        self._pool = DemoPool(self._index, client_id)

    @property
    def client_id(self) -> str:
        """Who labels."""
        return self._client_id

    def info(self) -> BackendInfo:
        """See `Backend`."""
        result = self._index.cases[0].result
        strategies = tuple(self._index.strategies)
        capabilities = Capabilities(
            version=version("lfusion"),
            checkpoint_id=result.checkpoint_id,
            epistemic_scale=self._index.epistemic_scale,
            lease_seconds=LEASE_SECONDS,
            counterfactual="stored",
            strategies=strategies,
            role="annotator",
        )
        missing = (_NO_CLICKS, _NO_TRAINING, "labels are kept until napari is closed")
        return BackendInfo("Demo", result.label_names, strategies, capabilities, False, missing)

    def queue(self, strategy: str, limit: int) -> Queue:
        """See `Backend`."""
        return self._pool.queue(self._known(strategy), limit)

    def thumbnail(self, image_id: str, size_px: int) -> NDArray[np.uint8]:
        """See `Backend`."""
        return demo_thumbnail(self._pool.case(image_id), size_px)

    def next_case(self, strategy: str) -> Offer | None:
        """See `Backend`."""
        return self._pool.next_case(self._known(strategy))

    def take(self, image_id: str) -> Offer:
        """See `Backend`."""
        return self._pool.take(image_id)

    def renew(self, image_id: str) -> Lease:
        """See `Backend`."""
        return self._pool.renew(image_id)

    def release(self, image_id: str) -> None:
        """See `Backend`."""
        self._pool.release(image_id)

    def image(self, image_id: str) -> UltrasoundImage:
        """See `Backend`."""
        return read_demo_image(self._pool.case(image_id))

    def propose(self, image_id: str) -> Proposal:
        """See `Backend`."""
        case = self._pool.case(image_id)
        stored = read_demo_prediction(case)
        return Proposal(image_id, stored.mask, stored.maps, case.result)

    def follow(self, image_id: str, clicks: Clicks) -> Proposal:
        """Not without the model: see `Backend.follow`."""
        raise NotOfferedError(_NO_CLICKS)

    def alternative(self, image_id: str, which: Alternative) -> Proposal:
        """The stored mask nearest to the one asked for; see `Backend`."""
        case = self._pool.case(image_id)
        mask = read_demo_mode(case, which.mode, which.t) if which.kind == "mode" else None
        if mask is None:
            raise NotOfferedError(
                f"the demonstration has modes 0 to 2, not {which.kind} {which.mode}"
            )
        return Proposal(image_id, mask, result=demo_alternative_result(case, which.t))

    def label(self, image_id: str) -> LabelMap | None:
        """See `Backend`."""
        return self._pool.label(image_id)

    def versions(self, image_id: str) -> list[LabelVersion]:
        """See `Backend`."""
        return self._pool.versions(image_id)

    def submit(self, correction: Correction) -> Saved:
        """See `Backend`."""
        mask = read_correction(correction)
        size = read_demo_image(self._pool.case(correction.image_id)).pixels.shape
        if mask.shape != size:
            raise RefusedError(
                f"expected a label of {list(size)} pixels, got {list(mask.shape)}; save it on the "
                "image's own grid"
            )
        saved = LabelVersion(
            version=1,
            client_id=self._client_id,
            checkpoint_id=correction.checkpoint_id,
            base_version=correction.base_version,
            time=time.time(),
            sha256=hashlib.sha256(correction.content).hexdigest(),
            current=True,
        )
        return self._pool.save(correction.idempotency_key, saved, correction.image_id, mask)

    def skip(self, image_id: str, reason: str) -> None:
        """See `Backend`."""
        self._pool.put_aside(image_id, "skipped", reason)

    def flag(self, image_id: str, reason: str) -> None:
        """See `Backend`."""
        self._pool.put_aside(image_id, "flagged", reason)

    def score(self) -> ScoringStatus:
        """See `Backend`."""
        return self.scoring()

    def scoring(self) -> ScoringStatus:
        """The sample images were scored when they were stored."""
        count = len(self._index.cases)
        checkpoint_id = self._index.cases[0].result.checkpoint_id
        return ScoringStatus(status="done", checkpoint_id=checkpoint_id, done=count, total=count)

    def train(self) -> None:
        """Not without the model: see `Backend.train`."""
        raise NotOfferedError(_NO_TRAINING)

    def training(self) -> TrainingStatus:
        """See `Backend`; none ever runs."""
        return TrainingStatus()

    def stop_training(self) -> None:
        """See `Backend`; none ever runs."""

    def close(self) -> None:
        """See `Backend`."""

    def _known(self, strategy: str) -> str:
        if strategy not in self._index.strategies:
            raise RefusedError(
                f"expected one of {', '.join(self._index.strategies)}; got {strategy!r}"
            )
        return strategy
