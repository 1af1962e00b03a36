"""What an evaluation found: one row an image, and the totals over all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation.bootstrap import Statistic
from lfusion.evaluation.metrics import (
    Reliability,
    adaptive_calibration_error,
    expected_calibration_error,
    weighted_mean,
    weighted_quantile,
)


@dataclass(frozen=True)
class ScoredImage:
    """An image without a reference, of which only the scores are looked at.

    Attributes:
        id: of the image.
        group: examination or patient; None: of its own.
        scores: image scores, larger is worse.
    """

    id: str
    group: str | None
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ForeignSet:
    """Images that the model was not made for: out of distribution.

    Attributes:
        name: of the folder.
        images: at least one.
    """

    name: str
    images: tuple[ScoredImage, ...]


@dataclass(frozen=True, kw_only=True)
class ImageResult(ScoredImage):
    """One labelled image; means over the foreground classes where there are several.

    Attributes:
        id: of the image.
        group: examination or patient; None: of its own.
        scores: image scores, `TERM_AGGREGATION`, larger is worse.
        dice: overlap, in [0, 1].
        hd95_px: 95th percentile Hausdorff distance.
        hd95_mm: the same in mm; None without a pixel size.
        nsd: normalised surface Dice at 2 px.
        nsd_mm: normalised surface Dice at 1 mm; None without a pixel size.
        nll: mean negative log-likelihood of the reference, nats per pixel.
        brier: mean squared error of the probabilities.
        hc_mm: measured head circumference; None when refused or when there is no head model.
        hc_reference_mm: the sonographer's, None when unknown or when there is no head model.
        hc_refusal: why there is no `hc_mm`.
        seconds: time of the prediction.
        hc_interval_mm: (low, high) around `hc_mm`; None when the model gives none.
        interval_level: share of such intervals that should hold the reference.
        aop_deg: angle of progression of the predicted outlines; None when refused or when the model
            lacks one of the two structures.
        aop_reference_deg: that of the outlines of the reference, measured in the same way.
    """

    dice: float
    hd95_px: float
    hd95_mm: float | None
    nsd: float
    nsd_mm: float | None
    nll: float
    brier: float
    hc_mm: float | None
    hc_reference_mm: float | None
    hc_refusal: str | None
    seconds: float
    hc_interval_mm: tuple[float, float] | None = None
    interval_level: float | None = None
    aop_deg: float | None = None
    aop_reference_deg: float | None = None

    @property
    def aop_error_deg(self) -> float | None:
        """Measured minus reference; None when one of the two is missing."""
        if self.aop_deg is None or self.aop_reference_deg is None:
            return None
        return self.aop_deg - self.aop_reference_deg

    @property
    def hc_covered(self) -> float | None:
        """1 when the interval holds the reference, 0 when not; None when one is missing."""
        if self.hc_interval_mm is None or self.hc_reference_mm is None:
            return None
        low, high = self.hc_interval_mm
        return float(low <= self.hc_reference_mm <= high)

    @property
    def hc_width_mm(self) -> float | None:
        """Width of an interval that `hc_covered` looks at."""
        if self.hc_interval_mm is None or self.hc_reference_mm is None:
            return None
        return self.hc_interval_mm[1] - self.hc_interval_mm[0]

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
        """Return the row in plain JSON types, both errors included."""
        errors = {"hc_error_mm": self.hc_error_mm, "aop_error_deg": self.aop_error_deg}
        return asdict(self) | errors


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """All labelled images of one data set under one checkpoint.

    Attributes:
        images: one row each, in the data set's order; at least one.
        reliability: their pixels by confidence, in fine bins, [images, bins].
        unlabelled: images of the data set that have no mask and were not looked at.
        labels: name → class number.
        checkpoint_id: of the model.
        foreign: images from elsewhere, scored by the same model.
    """

    images: tuple[ImageResult, ...]
    reliability: Reliability
    unlabelled: int
    labels: Mapping[str, int]
    checkpoint_id: str
    foreign: tuple[ForeignSet, ...] = ()

    @property
    def ece(self) -> float:
        """Expected calibration error over the pixels of all images."""
        return float(expected_calibration_error(self.reliability.pooled()))

    @property
    def score_names(self) -> tuple[str, ...]:
        """The scores that every image has, in the order of the first one."""
        everywhere = [*self.images, *(image for part in self.foreign for image in part.images)]
        first, *others = (image.scores for image in everywhere)
        return tuple(name for name in first if all(name in scores for scores in others))

    def statistics(self) -> dict[str, Statistic]:
        """Return each figure over all images as a function of how often each image counts.

        `dice_p05` is the 5th percentile (linear interpolation). `hc_mae_mm` and `hc_bias_mm`
        (mean of measured minus reference) are over the images with a reference whose head could
        be measured, `hc_coverage` (share of intervals that hold the reference) and
        `hc_interval_width_mm` over those with an interval; `hd95_mm` and `nsd_mm` over those
        with a pixel size; `aop_mae_deg` and `aop_bias_deg` over those whose angle of progression
        could be measured in both outlines.
        """
        dices = self.column("dice")
        errors = self.column("hc_error_mm")
        return {
            "dice_mean": partial(_mean, dices),
            "dice_p05": lambda weights: weighted_quantile(dices, 0.05, weights),
            "hd95_px": partial(_mean, self.column("hd95_px")),
            "hd95_mm": partial(_mean, self.column("hd95_mm")),
            "nsd": partial(_mean, self.column("nsd")),
            "nsd_mm": partial(_mean, self.column("nsd_mm")),
            "hc_mae_mm": partial(_mean, np.abs(errors)),
            "hc_bias_mm": partial(_mean, errors),
            "hc_coverage": partial(_mean, self.column("hc_covered")),
            "hc_interval_width_mm": partial(_mean, self.column("hc_width_mm")),
            "aop_mae_deg": partial(_mean, np.abs(self.column("aop_error_deg"))),
            "aop_bias_deg": partial(_mean, self.column("aop_error_deg")),
            "ece": lambda weights: expected_calibration_error(self.reliability.pooled(weights)),
            "ace": lambda weights: adaptive_calibration_error(self.reliability.pooled(weights)),
            "nll": partial(_mean, self.column("nll")),
            "brier": partial(_mean, self.column("brier")),
        }

    def summary(self) -> dict[str, float | int | None]:
        """Return the figures over all images; None where there is nothing to average.

        `hc_n` and `aop_n` count the images of `hc_mae_mm` and `aop_mae_deg`, `hc_refused` those
        with a reference whose head could not be measured; for the rest see `statistics`.
        """
        once = np.ones(len(self.images))
        values = {name: float(figure(once)) for name, figure in self.statistics().items()}
        return {
            "n": len(self.images),
            "unlabelled": self.unlabelled,
            **{name: value if math.isfinite(value) else None for name, value in values.items()},
            "hc_n": sum(image.hc_error_mm is not None for image in self.images),
            "hc_refused": sum(image.hc_refused for image in self.images),
            "aop_n": sum(image.aop_error_deg is not None for image in self.images),
            "hc_interval_level": next(
                (i.interval_level for i in self.images if i.hc_covered is not None), None
            ),
            "seconds_per_image": float(self.column("seconds").mean()),
        }

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one value an image, NaN where it has none, [images]."""
        values = (getattr(image, name) for image in self.images)
        return np.array([math.nan if value is None else value for value in values])

    def scores(self, name: str) -> NDArray[np.float64]:
        """Return one image score, [images]."""
        return np.array([image.scores[name] for image in self.images])

    def as_dict(self) -> dict[str, Any]:
        """Return the summary, the model and all rows, in plain JSON types."""
        return self.summary() | {
            "checkpoint_id": self.checkpoint_id,
            "labels": dict(self.labels),
            "images": [image.as_dict() for image in self.images],
            "ood_images": {
                part.name: [asdict(image) for image in part.images] for part in self.foreign
            },
        }


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the images that have a value."""
    known = np.isfinite(values)
    return weighted_mean(values[known], weights[..., known])
