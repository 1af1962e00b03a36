"""How good a model is: figures of merit and the report over a data set."""

from __future__ import annotations

from lfusion.evaluation.evaluate import evaluate, match_labels, predict_case
from lfusion.evaluation.metrics import (
    Reliability,
    brier_score,
    dice,
    expected_calibration_error,
    hausdorff95_px,
    negative_log_likelihood,
    normalised_surface_dice,
)
from lfusion.evaluation.report import EvaluationReport, ImageResult

__all__ = [
    "EvaluationReport",
    "ImageResult",
    "Reliability",
    "brier_score",
    "dice",
    "evaluate",
    "expected_calibration_error",
    "hausdorff95_px",
    "match_labels",
    "negative_log_likelihood",
    "normalised_surface_dice",
    "predict_case",
]
