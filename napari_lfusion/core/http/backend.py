"""`Backend` over HTTP."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.image import UltrasoundImage
from lfusion.protocol import (
    Alternative,
    AlternativeResult,
    Aside,
    Capabilities,
    Clicks,
    LabelVersion,
    Lease,
    Queue,
    ScoringStatus,
    Submission,
    TrainingStatus,
)
from lfusion.types import LabelMap
from napari_lfusion.core.case import BackendInfo, Correction, Offer, Proposal, Saved
from napari_lfusion.core.errors import NotOfferedError, UnknownIdError
from napari_lfusion.core.http.account import Account
from napari_lfusion.core.http.answers import Sample, SavedAnswer
from napari_lfusion.core.http.files import (
    decode_image,
    decode_mask,
    decode_thumbnail,
    received_file,
)
from napari_lfusion.core.http.inference import infer, stored_file
from napari_lfusion.core.http.info import ServerNames, read_info
from napari_lfusion.core.http.transport import Patience, Transport


class HttpBackend:
    """A MONAI Label server, ours or a plain one; see `Backend` for the methods.

    Args:
        account: Where to connect, as whom; nothing is sent before the first method is called.
        patience: How long to wait for answers.
    """

    def __init__(self, account: Account, patience: Patience | None = None) -> None:
        self._account = account
        self._transport = Transport(account, patience or Patience())
        self._names: ServerNames | None = None
        self._frames: dict[str, int] = {}
        """Of each cine that was fetched, the frame that is shown."""

    @property
    def client_id(self) -> str:
        """Who labels."""
        return self._account.user

    def info(self) -> BackendInfo:
        """See `Backend`."""
        answer = self._transport.read(dict[str, Any], "GET", "/info/")
        self._names = read_info(answer, self._account.url)
        return self._names.info

    def queue(self, strategy: str, limit: int) -> Queue:
        """See `Backend`."""
        self._offers("a queue")
        query = {"strategy": strategy, "limit": limit}
        return self._transport.read(Queue, "GET", "/queue", params=query)

    def thumbnail(self, image_id: str, size_px: int) -> NDArray[np.uint8]:
        """See `Backend`."""
        self._offers("thumbnails")
        query = {"image": image_id, "size": size_px}
        return decode_thumbnail(self._transport.ask("GET", "/thumbnail", params=query).content)

    def next_case(self, strategy: str) -> Offer | None:
        """See `Backend`."""
        path, body = f"/activelearning/{strategy}", {"client_id": self.client_id}
        # The server may have to score the pool first.
        sample = self._transport.read(Sample, "POST", path, json=body, model=True)
        if sample.id is None:
            return None
        # Our app grants leases under MONAI Label's own server, too; there nobody can renew them.
        lease = sample.lease if self._has_leases() else None
        return Offer(sample.id, sample.base_version, lease, sample.why)

    def take(self, image_id: str) -> Offer:
        """See `Backend`."""
        if not self._has_leases():
            return Offer(image_id)
        lease = self.renew(image_id)
        versions = [version.version for version in self.versions(image_id) if version.current]
        return Offer(image_id, max(versions, default=0), lease)

    def renew(self, image_id: str) -> Lease:
        """See `Backend`."""
        self._offers("leases")
        return self._transport.read(Lease, "PUT", "/lease", params=self._mine(image_id), again=True)

    def release(self, image_id: str) -> None:
        """See `Backend`."""
        if self._has_leases():
            self._transport.ask("DELETE", "/lease", params=self._mine(image_id), again=True)

    def image(self, image_id: str) -> UltrasoundImage:
        """See `Backend`."""
        reply = self._transport.ask("GET", "/datastore/image", params={"image": image_id})
        image, frame = decode_image(received_file(reply))
        if frame is not None:
            self._frames[image_id] = frame
        return image

    def propose(self, image_id: str) -> Proposal:
        """See `Backend`."""
        return infer(self._transport, self._server().model, image_id, self._about(image_id))

    def follow(self, image_id: str, clicks: Clicks) -> Proposal:
        """See `Backend`."""
        model = self._offers("correction by clicks").interactive
        if model is None:
            raise NotOfferedError("this server's model does not follow clicks; paint instead")
        params = self._about(image_id, **clicks.model_dump())
        return infer(self._transport, model, image_id, params)

    def alternative(self, image_id: str, which: Alternative) -> Proposal:
        """See `Backend`."""
        model = self._offers("alternatives").counterfactual
        if model is None:
            raise NotOfferedError("this server's model has no alternatives")
        params = self._about(image_id, **which.model_dump())
        return infer(self._transport, model, image_id, params, AlternativeResult)

    def label(self, image_id: str) -> LabelMap | None:
        """See `Backend`."""
        try:
            reply = stored_file(self._transport, image_id, "final")
        except UnknownIdError:
            return None
        return decode_mask(received_file(reply))[0]

    def versions(self, image_id: str) -> list[LabelVersion]:
        """See `Backend`."""
        self._offers("versions of labels")
        query = {"image": image_id}
        return self._transport.read(list[LabelVersion], "GET", "/versions", params=query)

    def submit(self, correction: Correction) -> Saved:
        """See `Backend`."""
        names = enumerate(correction.label_names, start=1)
        submission = Submission(
            client_id=self.client_id,
            base_version=correction.base_version,
            idempotency_key=correction.idempotency_key,
            checkpoint_id=correction.checkpoint_id,
            label_info=[{"name": name, "idx": number} for number, name in names],
        )
        saved = self._transport.read(
            SavedAnswer,
            "PUT",
            "/datastore/label",
            params={"image": correction.image_id, "tag": "final"},
            data={"params": submission.model_dump_json(exclude_none=True)},
            files={"label": (correction.file_name, correction.content)},
            again=True,
        )
        return Saved(saved.image, saved.version, saved.conflict_with)

    def skip(self, image_id: str, reason: str) -> None:
        """See `Backend`."""
        self._set_aside("/skip", image_id, reason)

    def flag(self, image_id: str, reason: str) -> None:
        """See `Backend`."""
        self._set_aside("/flag", image_id, reason)

    def score(self) -> ScoringStatus:
        """See `Backend`."""
        self._offers("scoring in the background")
        method = self._server().scoring
        return self._transport.read(ScoringStatus, "POST", f"/scoring/{method}", again=True)

    def scoring(self) -> ScoringStatus:
        """See `Backend`."""
        self._offers("scoring in the background")
        return self._transport.read(ScoringStatus, "GET", "/scoring/")

    def train(self) -> None:
        """See `Backend`."""
        trainer = self._server().trainer
        if trainer is None:
            raise NotOfferedError("this server has nothing to train")
        self._transport.ask("POST", f"/train/{trainer}", json={})

    def training(self) -> TrainingStatus:
        """See `Backend`."""
        if self._server().info.capabilities is not None:
            return self._transport.read(TrainingStatus, "GET", "/training/")
        try:
            self._transport.ask("GET", "/train/", params={"check_if_running": True})
        except UnknownIdError:
            return TrainingStatus()
        return TrainingStatus(status="running")

    def stop_training(self) -> None:
        """See `Backend`."""
        self._transport.ask("DELETE", "/train/", again=True)

    def close(self) -> None:
        """See `Backend`."""
        self._transport.close()

    def _about(self, image_id: str, **params: Any) -> dict[str, Any]:
        """Without a frame, a cine is answered with a mask for each of its frames."""
        frame = self._frames.get(image_id)
        return params if frame is None else {**params, "frame": frame}

    def _server(self) -> ServerNames:
        if self._names is None:
            self.info()
        assert self._names is not None, "info() sets it or raises"
        return self._names

    def _offers(self, what: str) -> Capabilities:
        capabilities = self._server().info.capabilities
        if capabilities is None:
            raise NotOfferedError(f"a plain MONAI Label server has no {what}")
        return capabilities

    def _has_leases(self) -> bool:
        capabilities = self._server().info.capabilities
        return capabilities is not None and capabilities.leases

    def _mine(self, image_id: str) -> dict[str, str]:
        return {"image": image_id, "client_id": self.client_id}

    def _set_aside(self, path: str, image_id: str, reason: str) -> None:
        self._offers("queue to put an image aside in")
        aside = Aside(image=image_id, client_id=self.client_id, reason=reason)
        self._transport.ask("POST", path, json=aside.model_dump(), again=True)
