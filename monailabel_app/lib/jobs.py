"""The one training at a time: started, watched and stopped by the server.

MONAI Label's own task machinery queues a second training, stops nothing that has just been
submitted, and forgets everything when the server restarts. Here the lock that makes a training
the only one is taken before its process exists and passed on to it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from pydantic import TypeAdapter, ValidationError

from lfusion.protocol import MODEL_NAME
from monailabel_app.lib.errors import ConflictError, RequestError
from monailabel_app.lib.modes import training_settings
from monailabel_app.lib.names import STRUCTURES_KEY
from monailabel_app.lib.retraining import OrderedLabel, TrainingOrder, carry_out
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.training_state import TrainingRecord, TrainingState

logger = logging.getLogger(__name__)

_STRUCTURES = TypeAdapter(dict[str, int])

STOP_SECONDS = 2.0
"""From the signal to the end of the process; the kernel needs milliseconds."""


class TrainingJobs:
    """Trainings of the served model.

    Args:
        served: The model; a training starts from it and replaces it.
        state: Folder for the training's files.
        on_end: Called, in a thread of its own, when a training that `start` began is over.
    """

    def __init__(
        self,
        served: ServedModel,
        state: Path,
        on_end: Callable[[TrainingRecord], None] | None = None,
    ) -> None:
        self._served = served
        self._state = TrainingState(state, lambda: served.checkpoint_id)
        self._mutex = threading.Lock()
        self._closed = False
        self._on_end = on_end

    def record(self) -> TrainingRecord:
        """The current or last training, whoever started it."""
        return self._state.record()

    def start(self, request: Mapping[str, Any], datastore: Datastore) -> TrainingRecord:
        """Train in a process of its own.

        Args:
            request: See `training_settings`.
            datastore: Where the final labels are.

        Returns:
            What is known of the new training.

        Raises:
            ConflictError: One is running, or the server ends.
            RequestError: The settings cannot be used, or there is no final label.
        """
        began = time.time()  # a label that is saved from here on is for the next one
        order = self._order(request, datastore)
        with self._mutex:
            if self._closed:
                raise ConflictError("the server is being shut down; train after its next start")
            lock = self._state.acquire()
            try:
                order.save(self._state.folder)
                record = self._begin(request, began)
                process = subprocess.Popen(
                    [sys.executable, "-m", "monailabel_app.lib.retraining", self._state.folder],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[lock],
                )
                self._state.name_owner(lock, process.pid)
                threading.Thread(
                    target=self._follow, args=(process,), name="training", daemon=True
                ).start()
            finally:
                # From here on the process alone holds it; without one, nobody does.
                os.close(lock)
        logger.info("training %s started on %d labels", record.id, len(order.labels))
        return record

    def run(self, request: Mapping[str, Any], datastore: Datastore) -> TrainingRecord:
        """Train here and now, for MONAI Label's own training process.

        Args:
            request: See `training_settings`.
            datastore: Where the final labels are.

        Returns:
            What is known of the finished training.

        Raises:
            ConflictError: One is running.
            RequestError: The settings cannot be used, or there is no final label.
            TrainingError: It went wrong; the served checkpoint is the one before.
        """
        began = time.time()
        order = self._order(request, datastore)
        lock = self._state.acquire()
        try:
            self._state.name_owner(lock, os.getpid())
            self._begin(request, began)
            carry_out(order, self._served, self._state)
            return self._state.record()
        finally:
            os.close(lock)

    def stop(self, reason: str | None = None) -> TrainingRecord | None:
        """End the training at once; the served checkpoint stays as it is.

        Args:
            reason: Why, for those who ask for the status.

        Returns:
            What became of it (`done` when it had just finished), or None when none was running.

        Raises:
            ConflictError: Its process does not end.
        """
        with self._mutex:
            owner = self._state.owner()
            if owner is None:
                return None
            with suppress(ProcessLookupError):
                os.kill(owner, signal.SIGKILL)
            self._wait_until_gone()
            record = self._state.conclude_stopped(reason)
        logger.info("training %s: %s", record.id, record.status)
        return record

    def close(self, reason: str) -> None:
        """End the training, if one runs, and start none any more.

        Args:
            reason: Why, for those who ask for the status.

        Raises:
            ConflictError: Its process does not end.
        """
        with self._mutex:
            self._closed = True
        self.stop(reason)

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the end of a training, so that it is no zombie either."""
        process.wait()
        if self._on_end is not None:
            self._on_end(self.record())

    def _wait_until_gone(self) -> None:
        end = time.monotonic() + STOP_SECONDS
        while self._state.locked():
            if time.monotonic() > end:
                raise ConflictError(
                    "the training process was killed but has not ended; it waits for a disk or a "
                    "graphics card; try again"
                )
            time.sleep(0.01)

    def _begin(self, request: Mapping[str, Any], began: float) -> TrainingRecord:
        settings = training_settings(request)
        record = TrainingRecord(
            status="running",
            mode=settings["mode"],
            id=str(uuid.uuid4()),
            started=began,
            request={"model": MODEL_NAME, **settings},
        )
        self._state.write(record)
        return record

    def _order(self, request: Mapping[str, Any], datastore: Datastore) -> TrainingOrder:
        settings = training_settings(request)
        labels = ordered_labels(datastore, self._served.learned_until())
        if not labels:
            raise RequestError("expected final labels to learn from; there is none; save one first")
        return TrainingOrder(base=self._served.base.resolve(), labels=labels, **settings)


def ordered_labels(datastore: Datastore, since: float = 0.0) -> list[OrderedLabel]:
    """All final labels of a datastore whose files are there, ordered by image id.

    Args:
        datastore: The studies.
        since: Labels saved later than this, in seconds since 1970, are marked as new.
    """
    tag = DefaultLabelTag.FINAL
    labels = []
    for image_id in sorted(datastore.get_labeled_images()):
        label = datastore.get_label_uri(image_id, tag)
        image = datastore.get_image_uri(image_id)
        saved = _saved_at(label)
        if image and saved is not None:
            info = datastore.get_label_info(image_id, tag)
            known = datastore.image_metadata(image_id)
            labels.append(
                OrderedLabel(
                    id=image_id,
                    image=image,
                    label=label,
                    label_info=info.get("label_info"),
                    structures=_structures(info.get(STRUCTURES_KEY)),
                    new=saved >= since,
                    pixel_size_mm=known.pixel_size_mm,
                    group=known.group,
                )
            )
    return labels


def _saved_at(label: str) -> float | None:
    """When a label file was saved, seconds since 1970; None when it is gone, unnoticed so far."""
    try:
        return Path(label).stat().st_mtime if label else None
    except FileNotFoundError:
        return None


def _structures(kept: object) -> dict[str, int] | None:
    """Class number by name as it was kept with a label, None for anything else."""
    try:
        return _STRUCTURES.validate_python(kept)
    except ValidationError:
        return None
