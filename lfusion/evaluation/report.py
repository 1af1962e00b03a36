"""What an evaluation found: one row an image, and the figures over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class ImageResult:
    """One image; means over the foreground classes where there are several.

    Attributes:
        id: of the image.
        dice: overlap, in [0, 1].
        hd95_px: 95th percentile Hausdorff distance.
        nsd: normalised surface Dice at 2 px.
        nll: mean negative log-likelihood of the reference, nats per pixel.
        brier: mean squared error of the probabilities.
        hc_mm: measured head circumference; None when refused or when there is no head model.
        hc_reference_mm: the sonographer's, None when unknown or when there is no head model.
        hc_refusal: why there is no `hc_mm`.
        seconds: time of the prediction.
        scores: image scores, `TERM_AGGREGATION` → nats.
    """

    id: str
    dice: float
    hd95_px: float
    nsd: float
    nll: float
    brier: float
    hc_mm: float | None
    hc_reference_mm: float | None
    hc_refusal: str | None
    seconds: float
    scores: Mapping[str, float]

    @property
    def hc_error_mm(self) -> float | None:
        """Measured minus reference; None when one of the two is missing."""
        if self.hc_mm is None or self.hc_reference_mm is None:
            return None
        return self.hc_mm - self.hc_reference_mm

    @property
    def hc_refused(self) -> bool:
        """Whether there was a head circumference to be found, and none was measured."""
        return self.hc_reference_mm is not None and self.hc_mm is None

    def as_dict(self) -> dict[str, Any]:
        """Return the row in plain JSON types, `hc_error_mm` included."""
        return asdict(self) | {"hc_error_mm": self.hc_error_mm}


@dataclass(frozen=True)
class EvaluationReport:
    """All labelled images of one data set under one checkpoint.

    Attributes:
        images: one row each, in the data set's order; at least one.
        ece: expected calibration error over the pixels of all images.
        unlabelled: images of the data set that have no mask and were not looked at.
        labels: name → class number.
        checkpoint_id: of the model.
    """

    images: tuple[ImageResult, ...]
    ece: float
    unlabelled: int
    labels: Mapping[str, int]
    checkpoint_id: str

    def summary(self) -> dict[str, float | int | None]:
        """Return the figures over all images.

        `dice_p05` is the 5th percentile (linear interpolation). `hc_mae_mm` and `hc_bias_mm`
        (mean of measured minus reference) are over the `hc_n` images with a reference whose
        head could be measured, None when there are none; `hc_refused` counts those with a
        reference that could not.
        """
        dices = [image.dice for image in self.images]
        errors = [e for image in self.images if (e := image.hc_error_mm) is not None]
        return {
            "n": len(self.images),
            "unlabelled": self.unlabelled,
            "dice_mean": float(np.mean(dices)),
            "dice_p05": float(np.percentile(dices, 5)),
            "hd95_px": float(np.mean([image.hd95_px for image in self.images])),
            "nsd": float(np.mean([image.nsd for image in self.images])),
            "hc_mae_mm": float(np.mean(np.abs(errors))) if errors else None,
            "hc_bias_mm": float(np.mean(errors)) if errors else None,
            "hc_n": len(errors),
            "hc_refused": sum(image.hc_refused for image in self.images),
            "ece": self.ece,
            "nll": float(np.mean([image.nll for image in self.images])),
            "brier": float(np.mean([image.brier for image in self.images])),
            "seconds_per_image": float(np.mean([image.seconds for image in self.images])),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, the model and all rows, in plain JSON types."""
        return self.summary() | {
            "checkpoint_id": self.checkpoint_id,
            "labels": dict(self.labels),
            "images": [image.as_dict() for image in self.images],
        }
