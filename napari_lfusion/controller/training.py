"""Retraining: on demand or every few submissions, followed to the new ranking."""

from __future__ import annotations

import time
from collections.abc import Callable

from psygnal import Signal

from lfusion.errors import LFusionError
from lfusion.protocol import ScoringStatus, TrainingStatus
from napari_lfusion.controller.link import Link
from napari_lfusion.core import session as steps
from napari_lfusion.core.case import BackendInfo
from napari_lfusion.core.errors import NotOfferedError
from napari_lfusion.core.session import Connecting, Disconnected

POLL_S = 1.0
"""Between two looks at a training or a scoring that runs."""


class TrainingController:
    """Starts, watches and stops trainings.

    Args:
        link: The connection.
        clock: Seconds, monotonic.
    """

    changed = Signal(object)
    """`TrainingStatus`."""
    scoring_changed = Signal(object)
    """`ScoringStatus`."""
    reranked = Signal(str)
    """The pool is scored by a new checkpoint, with this id."""

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self.latest = TrainingStatus()
        self.scoring = ScoringStatus()
        self.every = 0
        """Submissions after which a training starts by itself; 0 for never."""
        self.submitted = 0
        """Submissions since the last training."""
        self._link = link
        self._clock = clock
        self._next_at: float | None = None

    def begin(self) -> None:
        """Connected: a training may be running already."""
        self.submitted = 0
        self._look()

    def clear(self) -> None:
        """Nothing is connected."""
        self._next_at = None
        self._show(TrainingStatus())
        self.scoring = ScoringStatus()

    def start(self) -> None:
        """Train on all final labels."""
        self._link.ask("train", lambda backend: backend.train(), lambda _: self._started())

    def stop(self) -> None:
        """Stop the training; the served model stays as it was."""
        self._link.ask("stop", lambda backend: backend.stop_training(), lambda _: self._look())

    def count_submission(self) -> None:
        """One more label; starts a training when it is time for one."""
        self.submitted += 1
        info = self._link.info
        trainable = info is not None and info.trainable
        if trainable and 0 < self.every <= self.submitted and self.latest.status != "running":
            self.start()

    def tick(self) -> None:
        """Look when it is time; called every second or so."""
        if self._next_at is not None and self._clock() >= self._next_at:
            self._next_at = None
            if self.scoring.status == "running":
                self._look_at_scoring()
            else:
                self._look()

    def _started(self) -> None:
        self.submitted = 0
        self._look()

    def _look(self) -> None:
        backend = self._link.backend
        if backend is not None:
            # a look that fails is repeated; whoever cannot reach the server hears it elsewhere
            self._link.requests.ask("training", backend.training, self._show, self._later)

    def _look_at_scoring(self) -> None:
        backend = self._link.backend
        if backend is not None:
            self._link.requests.ask("scoring", backend.scoring, self._scored, self._later)

    def _later(self, error: LFusionError) -> None:
        if not isinstance(error, NotOfferedError):
            self._next_at = self._clock() + 10 * POLL_S

    def _show(self, status: TrainingStatus) -> None:
        was, self.latest = self.latest, status
        self.changed.emit(status)
        if status.status == "running":
            self._next_at = self._clock() + POLL_S
        elif was.status == "running":
            self._ended(status)

    def _ended(self, status: TrainingStatus) -> None:
        if status.status == "done":
            self._link.ask("info", lambda backend: backend.info(), self._refresh)
        elif status.error:
            self._link.failed.emit(f"the training failed: {status.error}")

    def _refresh(self, info: BackendInfo) -> None:
        if isinstance(self._link.state, Disconnected | Connecting):
            return
        self._link.state = steps.refreshed(self._link.state, info)
        self._link.ask("scoring", lambda backend: backend.score(), self._scored)

    def _scored(self, status: ScoringStatus) -> None:
        self.scoring = status
        self.scoring_changed.emit(status)
        if status.status == "running":
            self._next_at = self._clock() + POLL_S
        elif status.status == "failed":
            self._link.failed.emit(f"the pool could not be scored: {status.error}")
        else:
            self.reranked.emit(status.checkpoint_id or self.latest.checkpoint_id or "")
