"""Figures of merit as pure functions of arrays, one module a topic."""

from lfusion.evaluation.metrics.agreement import (
    Agreement,
    interval_coverage,
    limits_of_agreement,
)
from lfusion.evaluation.metrics.calibration import (
    Reliability,
    adaptive_calibration_error,
    brier_score,
    expected_calibration_error,
    negative_log_likelihood,
)
from lfusion.evaluation.metrics.detection import auroc, fpr_at_tpr
from lfusion.evaluation.metrics.segmentation import (
    SurfaceDistances,
    dice,
    hausdorff95,
    normalised_surface_dice,
)
from lfusion.evaluation.metrics.selective import aurc, excess_aurc, risk_coverage, spearman
from lfusion.evaluation.metrics.weighted import weighted_mean, weighted_quantile

__all__ = [
    "Agreement",
    "Reliability",
    "SurfaceDistances",
    "adaptive_calibration_error",
    "aurc",
    "auroc",
    "brier_score",
    "dice",
    "excess_aurc",
    "expected_calibration_error",
    "fpr_at_tpr",
    "hausdorff95",
    "interval_coverage",
    "limits_of_agreement",
    "negative_log_likelihood",
    "normalised_surface_dice",
    "risk_coverage",
    "spearman",
    "weighted_mean",
    "weighted_quantile",
]
