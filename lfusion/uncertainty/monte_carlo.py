"""The sampled decomposition: the reference that the closed form is tested against."""

from __future__ import annotations

import torch
from torch import Tensor

from lfusion.model.distribution import LogitDistribution
from lfusion.uncertainty.curvature import with_bias
from lfusion.uncertainty.decomposition import Decomposition, entropy, floored_log
from lfusion.uncertainty.posterior import LastLayerLaplace


def sample_weights(
    posterior: LastLayerLaplace, n: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw `n` heads from N(W, Σ), [n, C, D + 1], without touching any module."""
    return posterior.weight + posterior.covariance.sample(n, generator)


def decompose_monte_carlo(
    features: Tensor,
    distribution: LogitDistribution,
    posterior: LastLayerLaplace,
    *,
    theta_samples: int,
    eta_samples: int,
    generator: torch.Generator | None = None,
) -> Decomposition:
    """Estimate the three terms and the disagreement by nested sampling.

    Weights are drawn once per image, so each draw is a coherent mask, and every draw of the
    weights meets the same η noise: a posterior without variance gives zero epistemic. The
    disagreement is that of two different draws (n − 1 in the denominator), summed by Welford's
    updates; one draw has none.

    Args:
        features: φ [batch, D, height, width].
        distribution: of the logits on the same grid; its `mean` is replaced by the drawn heads'.
        posterior: over the head.
        theta_samples: draws of the weights.
        eta_samples: draws of the logits per head; even.
        generator: source of randomness, on the device of `features`.
    """
    batch, _, height, width = features.shape
    phi = with_bias(features)
    noise = distribution.sample(eta_samples, generator) - distribution.mean
    heads = sample_weights(posterior, theta_samples, generator).to(phi)
    probability = expected = residual = torch.zeros((), device=phi.device)
    log_mean = kl = variance = probability
    for drawn, head in enumerate(heads, start=1):
        logits = (phi @ head.T).view(batch, height, width, -1).movedim(-1, 1)
        p = (logits + noise).softmax(2)
        conditional = p.mean(0, dtype=torch.float64)  # small differences of large sums follow
        log = floored_log(conditional)
        deviation = conditional - probability
        probability = probability + deviation / drawn
        log_mean = log_mean + (log - log_mean) / drawn
        kl = kl + (deviation * (log - log_mean)).sum(1)
        variance = variance + (deviation * (conditional - probability)).sum(1)
        expected = expected + entropy(conditional, 1) / theta_samples
        residual = residual + entropy(p, 2).mean(0, dtype=torch.float64) / theta_samples
    terms = (
        probability,
        (entropy(probability, 1) - expected).clamp_min(0),
        (expected - residual).clamp_min(0),
        residual.clamp_min(0),
        (kl / max(theta_samples - 1, 1)).clamp_min(0),
        variance / max(theta_samples - 1, 1),
    )
    return Decomposition(*(term.to(features.dtype) for term in terms))
