"""What inference is asked and what it answers."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from lfusion.protocol.message import Message


class Latencies(Message):
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


RegionKind: TypeAlias = Literal["unfamiliar", "unlearned", "ambiguous"]


class UnusualRegion(Message):
    """Where an image is unusual.

    Attributes:
        kind: `unfamiliar` (it looks like nothing in normal images), `unlearned` (epistemic: more
            labels of this kind would settle the mask here) or `ambiguous` (aleatoric: the image
            itself leaves the mask open).
        box: First row, first column, last row, last column in pixels, the last ones excluded.
        area_px: Pixels of the region.
        score: Summed map: nats, or distance for `unfamiliar`.
        p_value: Share of normal calibration images that have a region at least as strong.
    """

    kind: RegionKind
    box: tuple[int, int, int, int]
    area_px: int
    score: float
    p_value: float


class Abnormality(Message):
    """How unusual an image is among the normal images that the model was calibrated on.

    Attributes:
        p_value: Conformal, of all signals together: at most this share of normal images is as
            unusual.
        false_alarm_rate: The rate at which normal images are called unusual.
        unusual: Whether this one is: `p_value <= false_alarm_rate`.
        p_values: Conformal p-value of each signal by name.
        sentence: The same for people.
    """

    p_value: float
    false_alarm_rate: float
    unusual: bool
    p_values: dict[str, float]
    sentence: str


class InferResult(Message):
    """The scalars of one prediction.

    Attributes:
        label_names: Class number in the mask by name; 0 is background.
        scores: Image scores, `<term>_<aggregation>`, from nats.
        percentiles: Share (0 to 100) of the calibration images below each score.
        biometry: The measured head (`lfusion.biometry.HeadBiometry.as_dict`),
            or None when the model does not segment one.
        angle: The angle of progression (`AngleOfProgression.as_dict`), or None.
        areas: Area of each structure (`lfusion.measurement.Area.as_dict`).
        pixel_size_mm: Size of a pixel along (row, column), or None when unknown.
        calibration_note: Reason why a file with a calibration gives no pixel size.
        checkpoint_id: Which checkpoint predicted this.
        unlearned: Structures that no label has shown it yet, of which the mask holds nothing.
        maps: Datastore tag by map name (nats, float32, native pixels); empty
            when the image is not in the datastore, so that nothing was stored.
        abnormality: How unusual the image is; None when the checkpoint is not calibrated for it.
        regions: Where it is unusual, the strongest first.
        latencies: Where the time went.
    """

    label_names: dict[str, int]
    scores: dict[str, float]
    percentiles: dict[str, float]
    biometry: dict[str, Any] | None
    angle: dict[str, Any] | None = None
    areas: dict[str, dict[str, Any]] = Field(default_factory=dict)
    pixel_size_mm: tuple[float, float] | None
    calibration_note: str | None = None
    checkpoint_id: str
    unlearned: list[str] = Field(default_factory=list)
    maps: dict[str, str]
    abnormality: Abnormality | None = None
    regions: list[UnusualRegion] = Field(default_factory=list)
    latencies: Latencies


class AlternativeResult(InferResult):
    """The scalars of another segmentation.

    Attributes:
        density_ratio: Density of the logits over that of the mean; None for a sample.
        tail_probability: Probability to be this far along the mode or farther, either way; None
            for a sample.
        variance_shares: Part of the image's variance by mode, the largest first; as many as
            there are modes.
    """

    density_ratio: float | None = None
    tail_probability: float | None = None
    variance_shares: list[float] = Field(default_factory=list)


class Clicks(BaseModel):
    """What was said by hand about an image, in the image's pixels, as 3D Slicer sends clicks.

    Attributes:
        foreground: Points [x, y] or [x, y, 0] of the first label (or see `labels`).
        background: Points of the background.
        labels: Points by label name, for more than one structure; `background` is a name too.
    """

    model_config = ConfigDict(extra="allow")

    foreground: list[list[float]] = []
    background: list[list[float]] = []
    labels: dict[str, list[list[float]]] = {}


class Alternative(BaseModel):
    """Which other segmentation to return.

    Attributes:
        kind: `mode` walks along a principal mode, `sample` draws a coherent mask.
        mode: Number of the mode, the largest first, from 0.
        t: Standard deviations along the mode.
        seed: Of the sample.
    """

    model_config = ConfigDict(extra="allow")

    kind: Literal["mode", "sample"] = "mode"
    mode: int = 0
    t: float = 0.0
    seed: int = 0
