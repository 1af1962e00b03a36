"""The demonstration's side of the wire: what any client can do, over HTTP alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import SimpleITK as sitk  # noqa: N813 - the name all its users know

from lfusion.errors import LFusionError
from lfusion.image import read_mask
from lfusion.protocol import (
    INFO_KEY,
    MAP_SUFFIX,
    MODEL_NAME,
    ErrorBody,
    InferResult,
    ScoringStatus,
    StoredScore,
    TrainingStatus,
)
from lfusion.types import FloatMap, LabelMap

POLL_SECONDS = 0.2


class RequestFailedError(LFusionError):
    """The server refused or failed; the message is its own."""


@dataclass(frozen=True, eq=False)
class Answer:
    """A prediction as it came over the wire.

    Attributes:
        mask: Predicted class numbers.
        result: The scalars.
    """

    mask: LabelMap
    result: InferResult


class DemoClient:
    """The requests of one annotation loop.

    Args:
        http: A client whose base address is the server.
    """

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def score(self, on_progress: Callable[[ScoringStatus], None]) -> None:
        """Have the pool scored and wait for it.

        Args:
            on_progress: Called each time that the server is asked how far it is.

        Raises:
            RequestFailedError: The scoring failed.
        """
        self._ask("POST", "/scoring/epistemic")
        while True:
            status = ScoringStatus.model_validate_json(self._ask("GET", "/scoring/").content)
            on_progress(status)
            if status.status == "failed":
                raise RequestFailedError(f"scoring failed: {status.error}")
            if status.status == "done":
                return
            time.sleep(POLL_SECONDS)

    def stored_scores(self) -> dict[str, StoredScore]:
        """The stored score of each image that has one and no final label, by image id."""
        objects = self._ask("GET", "/datastore/", params={"output": "all"}).json()["objects"]
        infos = {
            image_id: entry["image"]["info"]
            for image_id, entry in objects.items()
            if "final" not in entry["labels"]
        }
        return {
            image_id: StoredScore.model_validate(info[INFO_KEY])
            for image_id, info in infos.items()
            if INFO_KEY in info
        }

    def next_image(self, strategy: str) -> str | None:
        """The id of the image to label next, or None when all are labelled."""
        sample = self._ask("POST", f"/activelearning/{strategy}", json={}).json()
        image_id: str | None = sample.get("id")
        return image_id

    def infer(self, image_id: str) -> Answer:
        """Have one image predicted; its maps can be fetched afterwards."""
        reply = self._ask("POST", f"/infer/{MODEL_NAME}", params={"image": image_id})
        head = f"content-type: {reply.headers['content-type']}\r\n\r\n".encode()
        parts: dict[str, Any] = {}
        for part in message_from_bytes(head + reply.content).walk():
            name = part.get_param("name", header="content-disposition")
            if isinstance(name, str):
                parts[name] = part
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / str(parts["image"].get_filename())
            file.write_bytes(parts["image"].get_payload(decode=True))
            mask = read_mask(file)
        params = parts["params"].get_payload(decode=True)
        return Answer(mask, InferResult.model_validate_json(params))

    def fetch_map(self, image_id: str, tag: str) -> FloatMap:
        """An uncertainty map of the last prediction of an image.

        Returns:
            [height, width], nats.
        """
        reply = self._ask("GET", "/datastore/label", params={"label": image_id, "tag": tag})
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"map{MAP_SUFFIX}"
            file.write_bytes(reply.content)
            values: FloatMap = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        return values.reshape(values.shape[-2:])

    def save_label(self, image_id: str, mask: Path) -> None:
        """Save a mask file as the final label of an image."""
        with mask.open("rb") as content:
            self._ask(
                "PUT",
                "/datastore/label",
                params={"image": image_id, "tag": "final"},
                files={"label": (mask.name, content)},
            )

    def train(
        self, steps: int | None, on_progress: Callable[[TrainingStatus], None]
    ) -> TrainingStatus:
        """Have the model retrained quickly on all final labels and wait for it.

        Args:
            steps: Optimiser steps, or None for the server's preset.
            on_progress: Called each time that the server is asked how far it is.

        Returns:
            What is known of it at its end.

        Raises:
            RequestFailedError: The training failed.
        """
        settings = {} if steps is None else {"steps": steps}
        self._ask("POST", f"/train/{MODEL_NAME}", json=settings)
        while True:
            task = self._ask("GET", "/train/").json()
            stats = self._ask("GET", "/info/").json()["train_stats"][MODEL_NAME]
            status = TrainingStatus.model_validate(stats.get("progress", {}))
            on_progress(status)
            if task["status"] == "DONE":
                return TrainingStatus.model_validate_json(self._ask("GET", "/training/").content)
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                last = " ".join(list(task.get("details", []))[-1:])
                raise RequestFailedError(f"training failed: {status.error or last}")
            time.sleep(POLL_SECONDS)

    def _ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request; an answer that is no success becomes an error with its message."""
        try:
            reply = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise RequestFailedError(f"{method} {path}: no answer: {error}") from error
        if reply.is_success:
            return reply
        try:
            message = ErrorBody.model_validate_json(reply.content).message
        except ValueError:
            message = reply.text[:200]
        raise RequestFailedError(f"{method} {path}: status {reply.status_code}: {message}")
