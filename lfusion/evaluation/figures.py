"""All figures of an evaluation with their bootstrap intervals, drawn by examination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation.bootstrap import LEVEL, REPLICATES, Estimate, estimate, resample_weights
from lfusion.evaluation.metrics import (
    Agreement,
    Reliability,
    aurc,
    auroc,
    excess_aurc,
    fpr_at_tpr,
    limits_of_agreement,
    spearman,
)
from lfusion.evaluation.results import EvaluationReport, ForeignSet

WORST_SHARE = 0.15
"""Share of the images, those of lowest Dice, that a score should find."""


@dataclass(frozen=True)
class FailureFigures:
    """How well one image score tells which masks are poor; risk is 1 - Dice.

    Attributes:
        spearman: rank correlation with Dice; -1 is best.
        auroc_worst: chance that one of the worst 15 % outscores one of the others.
        aurc: area under the risk-coverage curve; 0 is best.
        e_aurc: what of it a perfect order would save.
    """

    spearman: Estimate
    auroc_worst: Estimate
    aurc: Estimate
    e_aurc: Estimate


@dataclass(frozen=True)
class OodFigures:
    """How well one image score tells foreign images from the evaluated ones.

    Attributes:
        auroc: chance that a foreign image outscores an evaluated one.
        fpr95: share of evaluated images flagged when 95 % of the foreign ones are.
    """

    auroc: Estimate
    fpr95: Estimate


@dataclass(frozen=True, eq=False)
class Figures:
    """What there is to say about a model on a data set.

    Attributes:
        overall: the figures of `EvaluationReport.statistics`.
        failure: by image score.
        ood: by foreign set, then by image score.
        hc_agreement: limits of agreement of the head circumference, mm; None below two pairs.
        reliability: 15 bins of equal width.
        reliability_equal_mass: 15 bins of equal numbers of pixels.
        exams: number of examinations that were resampled.
    """

    overall: Mapping[str, Estimate]
    failure: Mapping[str, FailureFigures]
    ood: Mapping[str, Mapping[str, OodFigures]]
    hc_agreement: Agreement | None
    reliability: Reliability
    reliability_equal_mass: Reliability
    exams: int

    @classmethod
    def of(cls, report: EvaluationReport, replicates: int = REPLICATES, seed: int = 0) -> Figures:
        """Compute all figures.

        Args:
            report: the rows.
            replicates: resamples of the bootstrap.
            seed: of the draws; the same seed gives the same intervals.
        """
        groups = [image.group for image in report.images]
        weights = resample_weights(groups, replicates, seed)
        pooled = report.reliability.pooled()
        return cls(
            overall={
                name: estimate(figure, weights) for name, figure in report.statistics().items()
            },
            failure={name: _failure(report, name, weights) for name in report.score_names},
            ood={
                part.name: _ood(report, part, weights, seed + number)
                for number, part in enumerate(report.foreign, start=1)
            },
            hc_agreement=_hc_agreement(report),
            reliability=pooled.equal_width(),
            reliability_equal_mass=pooled.equal_mass(),
            exams=len(set(groups) - {None}) + groups.count(None),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything in plain JSON types; an estimate is {value, low, high}."""
        return {
            "intervals": {name: figure.interval for name, figure in self.overall.items()},
            "interval_level": LEVEL,
            "exams": self.exams,
            "failure": {name: asdict(figure) for name, figure in self.failure.items()},
            "ood": {
                name: {score: asdict(figure) for score, figure in scores.items()}
                for name, scores in self.ood.items()
            },
            "hc_agreement_mm": None if self.hc_agreement is None else asdict(self.hc_agreement),
            "reliability": _bins(self.reliability),
            "reliability_equal_mass": _bins(self.reliability_equal_mass),
        }


def is_worst(dice: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which images are among the worst 15 %: their Dice is at most that quantile."""
    return np.asarray(dice <= np.quantile(dice, WORST_SHARE))


def _failure(report: EvaluationReport, name: str, weights: NDArray[np.float64]) -> FailureFigures:
    scores, dice = report.scores(name), report.column("dice")
    return FailureFigures(
        spearman=estimate(partial(spearman, scores, dice), weights),
        auroc_worst=estimate(partial(auroc, scores, is_worst(dice)), weights),
        aurc=estimate(partial(aurc, 1 - dice, scores), weights),
        e_aurc=estimate(partial(excess_aurc, 1 - dice, scores), weights),
    )


def _ood(
    report: EvaluationReport, part: ForeignSet, weights: NDArray[np.float64], seed: int
) -> dict[str, OodFigures]:
    """Both sides are resampled, each by its own examinations."""
    others = resample_weights([image.group for image in part.images], len(weights), seed)
    both = np.concatenate([weights, others], axis=1)
    foreign = np.arange(both.shape[1]) >= weights.shape[1]
    found = {}
    for name in report.score_names:
        outside = np.array([image.scores[name] for image in part.images])
        scores = np.concatenate([report.scores(name), outside])
        found[name] = OodFigures(
            auroc=estimate(partial(auroc, scores, foreign), both),
            fpr95=estimate(partial(fpr_at_tpr, scores, foreign), both),
        )
    return found


def _hc_agreement(report: EvaluationReport) -> Agreement | None:
    measured, reference = report.column("hc_mm"), report.column("hc_reference_mm")
    known = np.isfinite(measured) & np.isfinite(reference)
    return limits_of_agreement(measured[known], reference[known])


def _bins(reliability: Reliability) -> list[dict[str, float | int | None]]:
    """Pixels, mean confidence and accuracy of each bin; None for a mean of nothing."""
    rows = zip(reliability.pixels, reliability.confidence, reliability.correct, strict=True)
    return [
        {
            "pixels": int(n),
            "confidence": float(confidence / n) if n else None,
            "accuracy": float(correct / n) if n else None,
        }
        for n, confidence, correct in rows
    ]
