"""Logit distribution → posterior → uncertainty maps, in nats."""

from lfusion.uncertainty.calibration import Calibration
from lfusion.uncertainty.curvature import expected_curvature, full_ggn, softmax_curvature
from lfusion.uncertainty.decomposition import Decomposition, decompose
from lfusion.uncertainty.monte_carlo import decompose_monte_carlo, sample_weights
from lfusion.uncertainty.posterior import (
    LastLayerLaplace,
    contrast_covariance,
    fit_prior_precision,
)

__all__ = [
    "Calibration",
    "Decomposition",
    "LastLayerLaplace",
    "contrast_covariance",
    "decompose",
    "decompose_monte_carlo",
    "expected_curvature",
    "fit_prior_precision",
    "full_ggn",
    "sample_weights",
    "softmax_curvature",
]
