"""Logit distribution → posterior → uncertainty maps, in nats."""

from lfusion.uncertainty.calibration import Calibration
from lfusion.uncertainty.covariance import Covariance
from lfusion.uncertainty.curvature import expected_curvature, full_ggn, softmax_curvature
from lfusion.uncertainty.decomposition import Decomposition, decompose
from lfusion.uncertainty.dropout import total_variance
from lfusion.uncertainty.gauge import gauge_projected
from lfusion.uncertainty.ggn import FullCurvature
from lfusion.uncertainty.monte_carlo import decompose_monte_carlo, sample_weights
from lfusion.uncertainty.observation import Observation
from lfusion.uncertainty.posterior import LastLayerLaplace
from lfusion.uncertainty.selection import (
    HeldOut,
    fit_held_out,
    fit_prior_precision,
    held_out_nll,
    log_marginal_likelihood,
)
from lfusion.uncertainty.structure import Curvature, Structure

__all__ = [
    "Calibration",
    "Covariance",
    "Curvature",
    "Decomposition",
    "FullCurvature",
    "HeldOut",
    "LastLayerLaplace",
    "Observation",
    "Structure",
    "decompose",
    "decompose_monte_carlo",
    "expected_curvature",
    "fit_held_out",
    "fit_prior_precision",
    "full_ggn",
    "gauge_projected",
    "held_out_nll",
    "log_marginal_likelihood",
    "sample_weights",
    "softmax_curvature",
    "total_variance",
]
