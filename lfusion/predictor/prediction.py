"""What a prediction holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lfusion.biometry import AngleOfProgression, HeadBiometry
from lfusion.measurement import Area
from lfusion.protocol import Abnormality, UnusualRegion
from lfusion.types import FloatMap, LabelMap, PixelSize, Probabilities


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one image, in the image's own pixels.

    Attributes:
        mask: most probable class.
        probabilities: E_θ E_η p, background first.
        epistemic: I(y;θ), nats; what more labels would remove.
        aleatoric: E_θ H[E_η p], nats; what the image itself leaves open.
        total: predictive entropy, nats; epistemic + aleatoric.
        scores: `TERM_AGGREGATION` and others by name, the larger the worse.
        percentiles: score → share (0 to 100) of the calibration images below it; none with
            dropout passes, without which those images were scored.
        biometry: of the head, or None when the model does not segment one.
        labels: name → class number.
        pixel_size_mm: (row, column) where the structures lie, or None when unknown.
        calibration_note: reason why a file with a calibration gives no pixel size.
        checkpoint_id: of the model that said so.
        unfamiliarity: distance of each place from what normal images look like, about 1 where it
            is normal; None when the checkpoint has no frozen encoder.
        abnormality: how unusual the image is; None when the checkpoint is not calibrated for it.
        regions: where it is unusual, the least probable first.
        angle: angle of progression; None when the model lacks one of its two labels.
        areas: label name → area.
    """

    mask: LabelMap
    probabilities: Probabilities
    epistemic: FloatMap
    aleatoric: FloatMap
    total: FloatMap
    scores: Mapping[str, float]
    percentiles: Mapping[str, float]
    biometry: HeadBiometry | None
    labels: Mapping[str, int]
    pixel_size_mm: PixelSize | None
    checkpoint_id: str
    unfamiliarity: FloatMap | None = None
    abnormality: Abnormality | None = None
    regions: tuple[UnusualRegion, ...] = ()
    angle: AngleOfProgression | None = None
    areas: Mapping[str, Area] = field(default_factory=dict)
    calibration_note: str | None = None
