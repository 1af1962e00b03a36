"""The logit distribution of a stochastic segmentation network: N(μ, PPᵀ + diag(d)).

Source: Monteiro et al., Stochastic Segmentation Networks, NeurIPS 2020, arXiv 2006.06015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LogitDistribution:
    """Gaussian over all logits of an image: correlated between pixels through `factor`.

    Attributes:
        mean: μ [batch, classes, height, width].
        scale: √d ≥ 0, same shape; 0 outside the ultrasound sector. Held as a root, because that of
            zero has no gradient.
        factor: P [batch, classes, rank, height, width]; 0 outside the sector.
    """

    mean: Float[Tensor, "batch classes height width"]
    scale: Float[Tensor, "batch classes height width"]
    factor: Float[Tensor, "batch classes rank height width"]

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw `n` coherent logit fields in antithetic pairs, so that their mean is exactly μ.

        Args:
            n: number of samples; even.
            generator: source of randomness, for reproducible draws.

        Returns:
            [n, batch, classes, height, width].

        Raises:
            ValueError: `n` is odd or not positive.
        """
        if n <= 0 or n % 2:
            raise ValueError(f"expected an even number of samples for antithetic pairs, got {n}")
        half, (batch, _, rank, *_) = n // 2, self.factor.shape
        shared = self._noise((half, batch, rank), generator)
        own = self._noise((half, *self.mean.shape), generator)
        noise = torch.einsum("bcrhw,mbr->mbchw", self.factor, shared) + self.scale * own
        return torch.cat((self.mean + noise, self.mean - noise))

    def _noise(self, size: Sequence[int], generator: torch.Generator | None) -> Tensor:
        mean = self.mean
        return torch.randn(size, generator=generator, device=mean.device, dtype=mean.dtype)

    def contrast_covariance(self, basis: Tensor) -> Tensor:
        """Return the per-pixel covariance of the class contrasts.

        Args:
            basis: U [classes, classes − 1], orthonormal and orthogonal to the all-ones vector.

        Returns:
            Uᵀ(PPᵀ + diag(d))U at each pixel, [batch, classes − 1, classes − 1, height, width].
        """
        factor = torch.einsum("bcrhw,ck->bkrhw", self.factor, basis)
        covariance = torch.einsum("bchw,ck,cl->bklhw", self.scale.square(), basis, basis)
        # pair by pair: einsum would copy the factor into one small matrix for each pixel
        for k in range(factor.shape[1]):
            for other in range(k, factor.shape[1]):
                shared = (factor[:, k] * factor[:, other]).sum(1)
                covariance[:, k, other] += shared
                if other > k:
                    covariance[:, other, k] += shared
        return covariance
