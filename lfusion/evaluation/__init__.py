"""How good a model is: figures of merit and the report over a data set."""

from __future__ import annotations

from lfusion.evaluation.metrics import (
    Reliability,
    brier_score,
    dice,
    expected_calibration_error,
    hausdorff95_px,
    negative_log_likelihood,
    normalised_surface_dice,
)

__all__ = [
    "Reliability",
    "brier_score",
    "dice",
    "expected_calibration_error",
    "hausdorff95_px",
    "negative_log_likelihood",
    "normalised_surface_dice",
]
