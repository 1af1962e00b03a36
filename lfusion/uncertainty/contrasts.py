"""The logits of one image as a Gaussian over class contrasts, closed under conditioning.

c_i = m_i + A_i ε + E_i ξ_i with ε ~ N(0, I) shared by all pixels and ξ_i ~ N(0, I) a pixel's own.
This is the stochastic head's N(μ, PPᵀ + diag(d)) as softmax sees it: m = Uᵀμ, A = UᵀP and
E = Uᵀ diag(√d). A diagonal over three or more classes would not survive an observation; E does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import CounterfactualError
from lfusion.model.distribution import LogitDistribution
from lfusion.uncertainty.covariance import Covariance, DenseCovariance
from lfusion.uncertainty.curvature import with_bias
from lfusion.uncertainty.gauge import contrast_basis

WIDENING = 10.0
"""As good as 30 and better than 3 after one click on HC18 validation images."""


@dataclass(frozen=True, eq=False)
class ContrastDistribution:
    """Gaussian over the class contrasts of one image; 0 covariance outside the sector.

    Attributes:
        mean: m.
        factor: A, what pixels share.
        residual: E; EEᵀ is the covariance that a pixel shares with no other.
    """

    mean: Float[Tensor, "contrasts height width"]
    factor: Float[Tensor, "contrasts rank height width"]
    residual: Float[Tensor, "contrasts noise height width"]

    @classmethod
    def of(cls, distribution: LogitDistribution) -> ContrastDistribution:
        """Return the contrasts of the logits of one image, in their dtype.

        Raises:
            ValueError: the batch is not of one image.
        """
        images, classes = distribution.mean.shape[:2]
        if images != 1:
            raise ValueError(f"expected the logits of one image, got a batch of {images}")
        basis = contrast_basis(classes, distribution.mean)
        return cls(
            mean=torch.einsum("chw,ck->khw", distribution.mean[0], basis),
            factor=torch.einsum("crhw,ck->krhw", distribution.factor[0], basis),
            residual=torch.einsum("chw,ck->kchw", distribution.scale[0], basis),
        )

    @classmethod
    def of_weights(
        cls,
        distribution: LogitDistribution,
        features: Float[Tensor, "1 dim height width"],
        covariance: Covariance,
        widening: float = WIDENING,
    ) -> ContrastDistribution:
        """Return the contrasts with the weights of the head, not its factor, as what pixels share.

        A correction then moves the pixels whose features are like those of the corrected one: it
        refits the head to what was said. A is the root of V = φ̃ᵀΣφ̃, m and E are as in `of`.

        Args:
            distribution: of one image.
            features: φ that the distribution was made from.
            covariance: of the weights, in the structure `full`.
            widening: times the standard deviation of the posterior, by which the best head for
                one image differs from the best one for all.

        Raises:
            CounterfactualError: the covariance is of another structure.
            ValueError: the batch is not of one image.
        """
        if not isinstance(covariance, DenseCovariance):
            raise CounterfactualError(
                f"expected the covariance of a posterior of structure 'full', got a "
                f"{type(covariance).__name__}: fit it with structure='full'"
            )
        own = cls.of(distribution)
        weights = widening * covariance.factor.to(own.mean)
        factor = torch.einsum("pd,kdr->krp", with_bias(features.to(own.mean)), weights)
        inside = own.residual.any(1).any(0)
        return cls(own.mean, factor.view(*factor.shape[:2], *inside.shape) * inside, own.residual)

    @property
    def logits(self) -> Float[Tensor, "classes height width"]:
        """The mean as logits that sum to 0 at each pixel."""
        return self.as_logits(self.mean)

    @property
    def covariance(self) -> Float[Tensor, "contrasts contrasts height width"]:
        """AAᵀ + EEᵀ at each pixel; what `decompose` takes as aleatoric, one image of a batch."""
        roots = (self.factor, self.residual)
        shared, own = (torch.einsum("krhw,lrhw->klhw", root, root) for root in roots)
        return shared + own

    def as_logits(
        self, contrasts: Float[Tensor, "*batch contrasts height width"]
    ) -> Float[Tensor, "*batch classes height width"]:
        """Return Uc, the logits that sum to 0 and have these contrasts."""
        basis = contrast_basis(len(self.mean) + 1, contrasts)
        return torch.einsum("...khw,ck->...chw", contrasts, basis)

    def sample(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "sample classes height width"]:
        """Draw `n` coherent logit fields in antithetic pairs, so that their mean is exactly m.

        Args:
            n: number of samples; even.
            generator: source of randomness, for reproducible draws.

        Raises:
            ValueError: `n` is odd or not positive.
        """
        if n <= 0 or n % 2:
            raise ValueError(f"expected an even number of samples for antithetic pairs, got {n}")
        rank, noise = self.factor.shape[1], self.residual.shape[1:]
        shared = self._noise((n // 2, rank), generator)
        own = self._noise((n // 2, *noise), generator)
        deviation = torch.einsum("krhw,mr->mkhw", self.factor, shared)
        deviation += torch.einsum("kchw,mchw->mkhw", self.residual, own)
        return self.as_logits(torch.cat((self.mean + deviation, self.mean - deviation)))

    def _noise(self, size: Sequence[int], generator: torch.Generator | None) -> Tensor:
        mean = self.mean
        return torch.randn(size, generator=generator, device=mean.device, dtype=mean.dtype)
