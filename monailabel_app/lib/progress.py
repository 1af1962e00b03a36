"""From the steps of a training to the record that everybody reads."""

from __future__ import annotations

import time
from typing import Any

from lfusion.protocol import TrainingPoint
from lfusion.training import TrainingProgress
from monailabel_app.lib.training_state import TrainingState

MAX_POINTS = 200
"""Of the curve; beyond, every second point goes."""

WRITE_SECONDS = 0.2
"""Between two writes of the record, each of which waits for the disk."""


class ProgressWriter:
    """Writes how far the training is; for the holder of the training's lock.

    Args:
        state: Where it is written; holds the record of this run.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self._record = state.record()
        self._curve: list[TrainingPoint] = []
        self._stride = 1
        self._dice: float | None = None
        self._written = 0.0
        self._stage_began = self._record.started

    def report(self, progress: TrainingProgress) -> None:
        """Pass a step on to whoever asks.

        Args:
            progress: Where the training stands.
        """
        if progress.stage == "fit":
            self._keep_point(progress)
        new_stage = progress.stage != self._record.stage
        changes: dict[str, Any] = {
            "stage": progress.stage,
            "step": progress.step,
            "steps": progress.steps,
            "loss": progress.loss,
            "seconds_left": progress.seconds_left,
            "history": list(self._curve),
        }
        if progress.best_dice is not None:
            changes["dice"] = progress.best_dice
        last = progress.step == progress.steps
        if new_stage or last or time.monotonic() - self._written > WRITE_SECONDS:
            self.change(**changes)

    def change(self, **changes: Any) -> None:
        """Change some fields of the record, on disk at once."""
        now = time.time()
        changes.setdefault("seconds", now - self._record.started)
        if changes.get("stage", self._record.stage) != self._record.stage:
            changes["stages"] = self._stages(now)
            self._stage_began = now
        self._record = self._record.model_copy(update=changes)
        self.state.write(self._record)
        self._written = time.monotonic()

    def end(self, **changes: Any) -> None:
        """Write how it ended."""
        now = time.time()
        changes |= {"seconds": now - self._record.started, "stages": self._stages(now)}
        self._record = self._record.ending(**changes)
        self.state.write(self._record)

    def _stages(self, now: float) -> dict[str, float]:
        """Seconds by stage, the present one included."""
        known, stage = self._record.stages, self._record.stage or "start"
        return {**known, stage: known.get(stage, 0.0) + now - self._stage_began}

    def _keep_point(self, progress: TrainingProgress) -> None:
        """Add a step to the curve; when it is long, every second one, but every measured Dice."""
        measured = progress.dice if progress.dice != self._dice else None
        self._dice = progress.dice
        if measured is None and progress.step % self._stride and progress.step != progress.steps:
            return
        self._curve.append(TrainingPoint(step=progress.step, loss=progress.loss, dice=measured))
        if len(self._curve) > MAX_POINTS:
            self._stride *= 2
            self._curve = [
                point
                for point in self._curve
                if point.dice is not None or point.step % self._stride == 0
            ]
