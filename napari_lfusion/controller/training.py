"""Retraining: on demand or every few submissions, followed to the new ranking."""

from __future__ import annotations

import time
from collections.abc import Callable

from psygnal import Signal

from lfusion.errors import LFusionError
from lfusion.protocol import Queue, ScoringStatus, TrainingStatus
from napari_lfusion.controller.link import Link
from napari_lfusion.core import session as steps
from napari_lfusion.core.case import BackendInfo
from napari_lfusion.core.errors import NotOfferedError
from napari_lfusion.core.session import Connecting, Disconnected

POLL_S = 1.0
"""Between two looks at a training or a scoring that runs."""
LOOK_S = 15.0
"""Between two looks whether the server, or somebody else, began a training."""


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
        self._training_at: float | None = None
        self._scoring_at: float | None = None
        self._queue_by: str | None = None
        """Checkpoint of the queue seen last."""

    def begin(self) -> None:
        """Connected: a training may be running already."""
        self.submitted = 0
        self._look()

    def clear(self) -> None:
        """Nothing is connected."""
        self._training_at = self._scoring_at = self._queue_by = None
        self.latest, self.scoring = TrainingStatus(), ScoringStatus()
        self.changed.emit(self.latest)

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

    def check(self, queue: Queue | None) -> None:
        """See from the queue whether another checkpoint is served, however it came to be.

        Args:
            queue: The latest one, None while there is none.
        """
        info = self._link.info
        if queue is None or info is None or info.capabilities is None:
            return
        # once for each checkpoint: an answer that was overtaken must not lead to more questions
        known = (info.capabilities.checkpoint_id, self._queue_by)
        self._queue_by = queue.checkpoint_id
        if queue.checkpoint_id not in known:
            self._ask_info()

    def tick(self) -> None:
        """Look when it is time; called every second or so."""
        now = self._clock()
        if self._training_at is not None and now >= self._training_at:
            self._training_at = None
            self._look()
        if self._scoring_at is not None and now >= self._scoring_at:
            self._scoring_at = None
            self._look_at_scoring()

    def _started(self) -> None:
        self.submitted = 0
        self._look()

    def _look(self) -> None:
        backend = self._link.backend
        if backend is not None:
            # a look that fails is repeated; whoever cannot reach the server hears it elsewhere
            self._link.requests.ask("training", backend.training, self._show, self._look_later)

    def _look_at_scoring(self) -> None:
        backend = self._link.backend
        if backend is not None:
            self._link.requests.ask("scoring", backend.scoring, self._scored, self._score_later)

    def _look_later(self, error: LFusionError) -> None:
        if not isinstance(error, NotOfferedError):
            self._training_at = self._clock() + LOOK_S

    def _score_later(self, error: LFusionError) -> None:
        if not isinstance(error, NotOfferedError):
            self._scoring_at = self._clock() + LOOK_S

    def _show(self, status: TrainingStatus) -> None:
        was, self.latest = self.latest, status
        running = status.status == "running"
        self._training_at = self._clock() + (POLL_S if running else LOOK_S)
        if status != was:
            self.changed.emit(status)
        if not running and (was.status == "running" or self._was_missed(was, status)):
            self._ended(status)

    def _was_missed(self, was: TrainingStatus, status: TrainingStatus) -> bool:
        """Whether a whole training took place between two looks."""
        info = self._link.info
        served = info.capabilities.checkpoint_id if info and info.capabilities else None
        return status.checkpoint_id not in (None, was.checkpoint_id, served)

    def _ended(self, status: TrainingStatus) -> None:
        if status.status == "done":
            self._ask_info()
        elif status.error:
            self._link.failed.emit(f"the training failed: {status.error}")

    def _ask_info(self) -> None:
        self._link.ask("info", lambda backend: backend.info(), self._refresh)

    def _refresh(self, info: BackendInfo) -> None:
        if isinstance(self._link.state, Disconnected | Connecting):
            return
        self._link.state = steps.refreshed(self._link.state, info)
        self._link.ask("scoring", lambda backend: backend.score(), self._scored)

    def _scored(self, status: ScoringStatus) -> None:
        self.scoring = status
        self.scoring_changed.emit(status)
        if status.status == "running":
            self._scoring_at = self._clock() + POLL_S
        elif status.status == "failed":
            self._link.failed.emit(f"the pool could not be scored: {status.error}")
        else:
            self.reranked.emit(status.checkpoint_id or self.latest.checkpoint_id or "")
