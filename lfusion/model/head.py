"""The stochastic segmentation head: three 1×1 convolutions on φ."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lfusion.model.distribution import LogitDistribution

MIN_VARIANCE = 1e-5
"""ε, added once to exp(log d) inside the sector."""


class StochasticHead(nn.Module):
    """φ → N(μ, PPᵀ + diag(d)). Only the mean layer carries the Laplace posterior.

    Args:
        feature_dim: D, channels of φ.
        classes: C ≥ 2, background included.
        rank: R, columns of P.
        dropout: rate of the channel dropout on φ, active in training only.
    """

    def __init__(self, feature_dim: int, classes: int, rank: int, dropout: float) -> None:
        super().__init__()
        if classes < 2:
            raise ValueError(f"expected at least 2 classes (background included), got {classes}")
        self.classes, self.rank = classes, rank
        self.dropout = nn.Dropout2d(dropout)
        self.mean = nn.Conv2d(feature_dim, classes, 1)
        self.log_diag = nn.Conv2d(feature_dim, classes, 1)
        self.factor = nn.Conv2d(feature_dim, classes * rank, 1)
        # start close to a deterministic network: the mean learns first
        nn.init.constant_(self.log_diag.bias, -3.0)  # type: ignore[arg-type]
        nn.init.normal_(self.factor.weight, std=0.01)

    def forward(self, features: Tensor, sector: Tensor) -> LogitDistribution:
        """Return the logit distribution.

        Args:
            features: φ [batch, D, height, width].
            sector: [batch, 1, height, width], 1 inside the ultrasound fan and 0 outside, where
                there is no echo and so nothing to be uncertain about.
        """
        features = self.dropout(features)
        shape = (-1, self.classes, self.rank, *features.shape[-2:])
        # the exponent is capped where float32 would overflow in the variance of a sum
        diag = torch.exp(self.log_diag(features).clamp(max=20.0)) + MIN_VARIANCE
        return LogitDistribution(
            mean=self.mean(features),
            scale=diag.sqrt() * sector,
            factor=self.factor(features).view(shape) * sector[:, :, None],
        )
