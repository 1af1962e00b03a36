"""What server and clients say to each other, as a schema.

MONAI Label's routes carry files plus one JSON object. These models say what our
server puts into the JSON; a client needs this module and nothing else of the
method. Nothing here needs torch.

* `POST /infer/lfusion`: the field `params` is an `InferResult`; the file is the
  mask; each map is fetched by `GET /datastore/label?label=ID&tag=TAG`, with the
  tags of `InferResult.maps`.
* `GET /datastore/?output=all` and every next sample: the info of an image holds
  a `StoredScore` under the key `INFO_KEY`.
* `GET /scoring/` is a `ScoringStatus`; `train_stats.lfusion.progress` of
  `GET /info/` is a `TrainingStatus`.
* Every error is an `ErrorBody`.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

MODEL_NAME = "lfusion"
"""Name of the infer model and of the trainer."""

INFO_KEY = "lfusion"
"""Key of a `StoredScore` in the info of an image."""

MAP_TAGS = ("epistemic", "aleatoric", "total")
"""Datastore tags of the uncertainty maps; total = epistemic + aleatoric at each pixel."""


MAP_SUFFIX = ".nii"
"""Format of the maps: float32 NIfTI keeps the image's place in space and opens in 3D Slicer and
napari; compressing three maps would take longer (0.1 s for 800 x 540) than most predictions."""


class _Message(BaseModel):
    """Base of all messages: immutable, and never NaN or infinity on the wire."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Latencies(_Message):
    """Where the time of one inference went.

    Attributes:
        read: Image file to array, in seconds.
        predict: The method itself, in seconds.
        write: Mask and maps to files, in seconds.
        total: All of it, in seconds.
    """

    read: float
    predict: float
    write: float
    total: float


class InferResult(_Message):
    """The scalars of one prediction.

    Attributes:
        label_names: Class number in the mask by name; 0 is background.
        scores: Image scores, `<term>_<aggregation>`, from nats.
        percentiles: Share (0 to 100) of the calibration images below each score.
        biometry: The measured head (`lfusion.biometry.HeadBiometry.as_dict`),
            or None when the model does not segment one.
        pixel_size_mm: Size of a pixel along (row, column), or None when unknown.
        checkpoint_id: Which checkpoint predicted this.
        maps: Datastore tag by map name (nats, float32, native pixels); empty
            when the image is not in the datastore, so that nothing was stored.
        latencies: Where the time went.
    """

    label_names: dict[str, int]
    scores: dict[str, float]
    percentiles: dict[str, float]
    biometry: dict[str, Any] | None
    pixel_size_mm: tuple[float, float] | None
    checkpoint_id: str
    maps: dict[str, str]
    latencies: Latencies


class StoredScore(_Message):
    """What is known of one image of the pool under one checkpoint.

    Attributes:
        checkpoint_id: The checkpoint that scored it; another one makes this stale.
        scores: As in `InferResult`; empty when the image could not be read.
        unreadable: Why the image cannot be scored, or None.
    """

    checkpoint_id: str
    scores: dict[str, float] = {}
    unreadable: str | None = None


class ScoringStatus(_Message):
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
    skipped: dict[str, str] = {}
    error: str | None = None


class TrainingStatus(_Message):
    """How far a training is.

    Attributes:
        status: `idle` before the first run.
        stage: What it does now: `fit`, then `posterior` and `calibration`.
        step: Steps done in this stage.
        steps: Steps planned in this stage.
        loss: Running mean of the loss, or None outside of `fit`.
        dice: Best mean validation Dice so far, or None without validation.
        seconds_left: Estimate for this stage, or None when too early to tell.
        seconds: Time since the start.
        images: Ids of the images it learns from.
        skipped: Reason by image id, for labels that cannot be used.
        checkpoint_id: The new checkpoint, once it is served.
        error: Why the run failed; the served checkpoint is then the old one.
    """

    status: Literal["idle", "running", "done", "failed"] = "idle"
    stage: str = ""
    step: int = 0
    steps: int = 0
    loss: float | None = None
    dice: float | None = None
    seconds_left: float | None = None
    seconds: float = 0.0
    images: list[str] = []
    skipped: dict[str, str] = {}
    checkpoint_id: str | None = None
    error: str | None = None


class ErrorBody(_Message):
    """The JSON body of every answer with a status of 400 or more.

    Attributes:
        code: For programs: `not_found`, `bad_request`, `bad_image`, `bad_label`,
            `conflict`, `failed` (the model or its checkpoint), `internal`.
        message: For people: what was expected, what came, what to do.
    """

    code: str
    message: str
