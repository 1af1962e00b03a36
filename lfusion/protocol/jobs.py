"""Scoring and training: stored results and progress."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lfusion.protocol.message import Message


class StoredScore(Message):
    """What is known of one image of the pool under one checkpoint.

    Attributes:
        checkpoint_id: The checkpoint that scored it; another one makes this stale.
        scores: As in `InferResult`; empty when the image could not be read.
        unreadable: Why the image cannot be scored, or None.
    """

    checkpoint_id: str
    scores: dict[str, float] = Field(default_factory=dict)
    unreadable: str | None = None


class ScoringStatus(Message):
    """How far the scoring of the pool is.

    Attributes:
        status: `idle` before the first run.
        checkpoint_id: The checkpoint it scores with.
        done: Images scored, or found to be scored already, or skipped.
        total: Images in the pool when the run began.
        skipped: Reason by image id, for images that cannot be read.
        error: Why the run failed.
    """

    status: Literal["idle", "running", "done", "failed"] = "idle"
    checkpoint_id: str | None = None
    done: int = 0
    total: int = 0
    skipped: dict[str, str] = Field(default_factory=dict)
    error: str | None = None


class TrainingPoint(Message):
    """One point of the training curve.

    Attributes:
        step: Optimiser step.
        loss: Running mean of the loss.
        dice: Mean validation Dice at this step, where it was measured.
    """

    step: int
    loss: float | None = None
    dice: float | None = None


class TrainingStatus(Message):
    """How far a training is.

    Attributes:
        status: `idle` before the first run.
        mode: `quick`, from the served checkpoint, or `full`, from the first one.
        stage: What it does now: `read`, `fit`, `posterior`, `calibration`, `swap`.
        step: Steps done in this stage.
        steps: Steps planned in this stage.
        loss: Running mean of the loss, or None outside of `fit`.
        dice: Best mean validation Dice so far, or None without validation.
        seconds_left: Estimate for this stage, or None when too early to tell.
        seconds: Time since the start.
        stages: Seconds by stage, of those that are over; `start` is what comes before the first.
        images: Ids of the images it learns from.
        skipped: Reason by image id, for labels that cannot be used.
        checkpoint_id: The new checkpoint, once it is served.
        error: Why the run failed; the served checkpoint is then the old one.
        history: The curve so far, at most a few hundred points.

    `stopped` was asked for, `interrupted` is a run whose process died; both leave the served
    checkpoint as it was.
    """

    status: Literal["idle", "running", "done", "failed", "stopped", "interrupted"] = "idle"
    mode: str = ""
    stage: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    dice: float | None = None
    seconds_left: float | None = None
    seconds: float = 0.0
    stages: dict[str, float] = Field(default_factory=dict)
    images: list[str] = Field(default_factory=list)
    skipped: dict[str, str] = Field(default_factory=dict)
    checkpoint_id: str | None = None
    error: str | None = None
    history: list[TrainingPoint] = Field(default_factory=list)
