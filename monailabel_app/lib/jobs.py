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
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag

from lfusion.protocol import MODEL_NAME
from lfusion.training import TrainingConfig
from monailabel_app.lib.errors import ConflictError, RequestError
from monailabel_app.lib.retraining import OrderedLabel, TrainingOrder, carry_out
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.training_state import TrainingRecord, TrainingState

logger = logging.getLogger(__name__)

MAX_STEPS = 10_000
"""Of one retraining; more is a job for `lfusion train`."""
MAX_VAL_SPLIT = 0.5

STOP_SECONDS = 2.0
"""From the signal to the end of the process; the kernel needs milliseconds."""


class TrainingJobs:
    """Trainings of the served model.

    Args:
        served: The model; a training starts from it and replaces it.
        state: Folder for the training's files.
    """

    def __init__(self, served: ServedModel, state: Path) -> None:
        self._served = served
        self._state = TrainingState(state, lambda: served.checkpoint_id)
        self._mutex = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def record(self) -> TrainingRecord:
        """The current or last training, whoever started it."""
        self._reap()
        return self._state.record()

    def start(self, request: Mapping[str, Any], datastore: Datastore) -> TrainingRecord:
        """Train in a process of its own.

        Args:
            request: See `training_settings`.
            datastore: Where the final labels are.

        Returns:
            What is known of the new training.

        Raises:
            ConflictError: One is running.
            RequestError: The settings cannot be used, or there is no final label.
        """
        order = self._order(request, datastore)
        with self._mutex:
            lock = self._state.acquire()
            try:
                order.save(self._state.folder)
                record = self._begin(request)
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "monailabel_app.lib.retraining", self._state.folder],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[lock],
                )
                self._state.name_owner(lock, self._process.pid)
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
        order = self._order(request, datastore)
        lock = self._state.acquire()
        try:
            self._state.name_owner(lock, os.getpid())
            self._begin(request)
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

    def _wait_until_gone(self) -> None:
        end = time.monotonic() + STOP_SECONDS
        while self._state.locked():
            self._reap()
            if time.monotonic() > end:
                raise ConflictError(
                    "the training process was killed but has not ended; it waits for a disk or a "
                    "graphics card; try again"
                )
            time.sleep(0.01)
        self._reap()

    def _reap(self) -> None:
        """Let an ended process go, so that it is no zombie."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None

    def _begin(self, request: Mapping[str, Any]) -> TrainingRecord:
        settings = {"model": MODEL_NAME, **training_settings(request)}
        record = TrainingRecord(
            status="running", id=str(uuid.uuid4()), started=time.time(), request=settings
        )
        self._state.write(record)
        return record

    def _order(self, request: Mapping[str, Any], datastore: Datastore) -> TrainingOrder:
        settings = training_settings(request)
        labels = ordered_labels(datastore)
        if not labels:
            raise RequestError("expected final labels to learn from; there is none; save one first")
        return TrainingOrder(base=self._served.base.resolve(), labels=labels, **settings)


def ordered_labels(datastore: Datastore) -> list[OrderedLabel]:
    """All final labels of a datastore, ordered by image id."""
    tag = DefaultLabelTag.FINAL
    labels = []
    for image_id in sorted(datastore.get_labeled_images()):
        label = datastore.get_label_uri(image_id, tag)
        image = datastore.get_image_uri(image_id)
        if label and image:
            info = datastore.get_label_info(image_id, tag).get("label_info")
            labels.append(OrderedLabel(id=image_id, image=image, label=label, label_info=info))
    return labels


def training_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    """What a client may decide about a training, checked.

    Args:
        request: The client's parameters; those that are not ours are left out.

    Returns:
        `steps`, and `val_split`: the share of the labels that is not learned from but used to
        measure Dice.

    Raises:
        RequestError: One of them is no number in the allowed range.
    """
    steps = request.get("steps", TrainingConfig.quick().steps)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise RequestError(f"expected steps from 1 to {MAX_STEPS}; got {str(steps)[:80]!r}")
    share = request.get("val_split", 0.0)
    if (
        isinstance(share, bool)
        or not isinstance(share, int | float)
        or not 0 <= share <= MAX_VAL_SPLIT
    ):
        raise RequestError(f"expected val_split from 0 to {MAX_VAL_SPLIT}; got {str(share)[:80]!r}")
    return {"steps": steps, "val_split": float(share)}
