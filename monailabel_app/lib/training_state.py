"""What is known of the current or last training, in two files that its processes share.

The training process holds a lock on one of them for as long as it lives, whatever ends it; so
"running" is never believed of a process that is gone.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from lfusion.image.write import atomic_path
from lfusion.protocol import TrainingStatus
from monailabel_app.lib.errors import ConflictError

_ACQUIRE_SECONDS = 0.2
"""Another process that only looks at the lock holds it for microseconds."""

_TASK_STATES = {
    "running": "RUNNING",
    "done": "DONE",
    "failed": "ERROR",
    "stopped": "STOPPED",
    "interrupted": "ERROR",
}


class TrainingRecord(TrainingStatus):
    """The status, and what only the server needs of it.

    Attributes:
        id: Of this run.
        started: Seconds since 1970.
        ended: The same, or None.
        request: What was asked for.
        swap: Id of the checkpoint that is about to be served; tells a run that died during the
            swap whether it had happened.
    """

    id: str = ""
    started: float = 0.0
    ended: float | None = None
    request: dict[str, Any] = Field(default_factory=dict)
    swap: str | None = None

    def public(self) -> TrainingStatus:
        """What clients get."""
        return TrainingStatus.model_validate(
            self.model_dump(include=set(TrainingStatus.model_fields))
        )

    def ending(self, **changes: Any) -> TrainingRecord:
        """The record of a run that is over now."""
        return self.model_copy(update={"ended": time.time(), "seconds_left": None, **changes})

    def task(self) -> dict[str, Any]:
        """The same as MONAI Label's clients read it on `/train/`."""
        times = {"start_ts": self.started, "end_ts": self.ended}
        return {
            "id": self.id,
            "status": _TASK_STATES[self.status],
            "request": self.request,
            **{key: _local_time(value) for key, value in times.items() if value is not None},
            "details": [self.error] if self.error else [],
        }

    def stats(self) -> dict[str, Any]:
        """The same as MONAI Label's clients read it in `train_stats`, ours under `progress`."""
        if self.status == "idle":
            return {}
        passed = str(datetime.timedelta(seconds=int(self.seconds)))
        return {
            "epoch": self.step,
            "total_epochs": self.steps,
            "current_time" if self.status == "running" else "total_time": passed,
            "best_metric": self.dice or 0.0,
            "progress": self.public().model_dump(),
        }


class TrainingState:
    """The files of the training.

    Args:
        folder: Where they are.
        served_id: Gives the id of the checkpoint that is served.
    """

    def __init__(self, folder: Path, served_id: Callable[[], str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._file = folder / "training.json"
        self._lock_file = folder / "training.lock"
        self._served_id = served_id
        self._looking = threading.Lock()

    def record(self) -> TrainingRecord:
        """The current or last training, `interrupted` when its process is gone."""
        record = self._read()
        if record.status != "running" or self.locked():
            return record
        # It may have ended properly, and another begun, since it was read.
        again = self._read()
        return self._concluded(again) if again.id == record.id else again

    def acquire(self) -> int:
        """Become the one training.

        Returns:
            A file descriptor; the lock ends when every process that has it closed it or died.

        Raises:
            ConflictError: A training runs.
        """
        end = time.monotonic() + _ACQUIRE_SECONDS
        descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        while True:
            with self._looking:
                if _flock(descriptor, fcntl.LOCK_EX):
                    return descriptor
            if time.monotonic() > end:
                os.close(descriptor)
                raise ConflictError("a training is running; wait for it or stop it first")
            time.sleep(0.01)

    def locked(self) -> bool:
        """Whether a training process lives."""
        with self._looking, self._lock_file.open("ab") as file:
            return not _flock(file.fileno(), fcntl.LOCK_SH)

    def name_owner(self, descriptor: int, pid: int) -> None:
        """Say which process holds the lock.

        Args:
            descriptor: The lock.
            pid: Its owner from now on.
        """
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(pid).encode(), 0)

    def owner(self) -> int | None:
        """The process that runs the training, or None; never one that only had the same number."""
        text = self._lock_file.read_text() if self.locked() else ""
        return int(text) if text.isdigit() else None

    def write(self, record: TrainingRecord) -> None:
        """Replace what is known; only for the holder of the lock.

        Args:
            record: All of it.

        Raises:
            OSError: It cannot be written; what was known is still there.
        """
        with atomic_path(self._file) as temporary:
            temporary.write_text(record.model_dump_json(), encoding="utf-8")

    def conclude_stopped(self, reason: str | None) -> TrainingRecord:
        """Record that the training, whose process is gone, was stopped.

        Args:
            reason: Why, or None.

        Returns:
            What is known now: `done` when it had finished first.

        Raises:
            ConflictError: Another training runs already.
        """
        descriptor = self.acquire()
        try:
            record = self._read()
            if record.status == "running":
                record = self._concluded(record, status="stopped", error=reason)
                self.write(record)
            return record
        finally:
            os.close(descriptor)

    def _concluded(self, record: TrainingRecord, **changes: Any) -> TrainingRecord:
        """What a run whose process is gone came to."""
        if record.status != "running":
            return record
        if record.swap is not None and record.swap == self._served_id():
            return record.ending(status="done", checkpoint_id=record.swap)
        lost = "the training process ended by itself; the served model is the one before"
        return record.ending(**{"status": "interrupted", "error": lost, **changes})

    def _read(self) -> TrainingRecord:
        try:
            return TrainingRecord.model_validate_json(self._file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return TrainingRecord()


def _flock(descriptor: int, kind: int) -> bool:
    """Take a lock when that needs no waiting."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _local_time(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
