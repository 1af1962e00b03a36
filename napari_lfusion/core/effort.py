"""How much work a case was: active time, strokes, clicks, edited pixels; one JSON line a case."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from lfusion.types import LabelMap

IDLE_AFTER_S = 30.0
"""A pause longer than this was not spent on the case; of it, this much still counts."""

Outcome = Literal["submitted", "skipped", "flagged", "released"]


@dataclass(frozen=True)
class Effort:
    """Work on one case so far; times in seconds of a monotonic clock.

    Attributes:
        active_s: Time spent on it, without pauses.
        strokes: Brush, eraser and fill strokes.
        clicks: Points and scribbles sent to the model.
        adopted: Alternatives taken over.
        undos: Steps undone or redone.
        touched_px: Pixels changed by strokes, summed; painting a pixel twice counts twice.
        last_at: Last sign of activity, None before the first.
    """

    active_s: float = 0.0
    strokes: int = 0
    clicks: int = 0
    adopted: int = 0
    undos: int = 0
    touched_px: int = 0
    last_at: float | None = None

    def active(self, now: float) -> Effort:
        """A sign of activity: a move over the canvas, a key, a scroll."""
        pause = 0.0 if self.last_at is None else max(0.0, now - self.last_at)
        return replace(self, active_s=self.active_s + min(pause, IDLE_AFTER_S), last_at=now)

    def stroke(self, now: float, changed_px: int) -> Effort:
        """A stroke that changed so many pixels."""
        then = self.active(now)
        return replace(then, strokes=then.strokes + 1, touched_px=then.touched_px + changed_px)

    def click(self, now: float) -> Effort:
        """A point or scribble was sent to the model."""
        then = self.active(now)
        return replace(then, clicks=then.clicks + 1)

    def adopt(self, now: float) -> Effort:
        """An alternative was taken over."""
        then = self.active(now)
        return replace(then, adopted=then.adopted + 1)

    def undo(self, now: float) -> Effort:
        """A step was undone or redone."""
        then = self.active(now)
        return replace(then, undos=then.undos + 1)

    def resumed(self) -> Effort:
        """The same in another process, whose clock began elsewhere."""
        return replace(self, last_at=None)


class EffortRecord(BaseModel):
    """One line of the log.

    Attributes:
        image_id: Of the image.
        client_id: Who worked.
        checkpoint_id: Whose proposal was corrected, None when not known.
        strategy: That brought the case, None when it was chosen by hand.
        outcome: How the case ended.
        ended_at: Seconds since 1970 UTC.
        effort: What it took.
        edited_px: Pixels where the mask differs from the proposal at the end.
        dice_to_proposal: Of the foreground at the end and the proposal's; 1 when nothing changed.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    image_id: str
    client_id: str
    checkpoint_id: str | None = None
    strategy: str | None = None
    outcome: Outcome
    ended_at: float
    effort: Effort
    edited_px: int
    dice_to_proposal: float


def edit_distance(mask: LabelMap, proposal: LabelMap) -> tuple[int, float]:
    """How far a mask is from its proposal.

    Args:
        mask: [height, width] class numbers.
        proposal: [height, width] class numbers.

    Returns:
        Pixels that differ; and the Dice of the two, over pixels that agree in a class other than
        background: 2·|agreeing foreground| / (|foreground| + |foreground|), 1 for two empty masks.

    Example:
        >>> edit_distance(np.uint8([[1, 1, 0, 0]]), np.uint8([[0, 1, 1, 0]]))
        (2, 0.5)
    """
    edited = int(np.count_nonzero(mask != proposal))
    drawn = int(np.count_nonzero(mask)) + int(np.count_nonzero(proposal))
    agreed = int(np.count_nonzero((mask == proposal) & (mask > 0)))
    return edited, 1.0 if drawn == 0 else 2 * agreed / drawn


def append_record(log: Path, record: EffortRecord) -> None:
    """Add one line to the log; it is on disk afterwards.

    A line that a crash cut off is ended first, so that it cannot spoil the next one.
    """
    line = record.model_dump_json().encode() + b"\n"
    with log.open("a+b") as file:
        if file.seek(0, os.SEEK_END) > 0:
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
