"""The Laplace posterior over the mean head: Σ = (G/κ + τI)⁻¹, in closed form.

The head is linear in its weights, so the predictive covariance of the logits needs neither
linearisation nor sampling: V_i[a, b] = φ̃_iᵀ Σ_ab φ̃_i. G is a sum over images; a new or corrected
image is an addition, and the posterior after it that of a full refit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import NotFittedError, PosteriorError
from lfusion.uncertainty.covariance import Covariance
from lfusion.uncertainty.decomposition import Decomposition, decompose
from lfusion.uncertainty.ggn import FullCurvature
from lfusion.uncertainty.observation import Observation, observe
from lfusion.uncertainty.structure import Curvature, Structure

DEFAULT_POSTERIOR_TEMPERATURE = 100.0
"""κ: neighbouring pixels are no independent observations; about the pixels of one speckle patch."""


@dataclass(frozen=True, eq=False)
class LastLayerLaplace:
    """Gaussian posterior over the weights of a linear head. Immutable, so threads may share it.

    Attributes:
        weight: MAP weights W [C, D + 1] with the bias as last column, float64.
        curvature: G in one of the structures, float64; no prior in it.
        prior_precision: τ > 0.
        posterior_temperature: κ > 0, divides G; above 1 for pixels that are not independent.
    """

    weight: Float[Tensor, "classes dim"]
    curvature: Curvature
    prior_precision: float = 1.0
    posterior_temperature: float = DEFAULT_POSTERIOR_TEMPERATURE

    def __post_init__(self) -> None:
        """Check shapes and positivity.

        Raises:
            PosteriorError: shapes do not belong together, or a value is not finite or positive.
        """
        size = self.weight.numel()
        if self.curvature.parameters != size:
            raise PosteriorError(
                f"expected a curvature of {size} weights for a head of "
                f"{self.weight.shape[0]}×{self.weight.shape[1]}, got {self.curvature.parameters}"
            )
        values = (self.weight, *self.curvature.tensors())
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise PosteriorError("the curvature or the head's weights are not finite")
        if not (self.prior_precision > 0 and self.posterior_temperature > 0):
            raise PosteriorError(
                "expected a positive prior precision and posterior temperature, got "
                f"{self.prior_precision} and {self.posterior_temperature}"
            )

    @classmethod
    def fit(
        cls,
        observations: Iterable[Observation | Tensor] | Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *,
        structure: Structure | str = Structure.FULL,
        prior_precision: float = 1.0,
        posterior_temperature: float = DEFAULT_POSTERIOR_TEMPERATURE,
        pixels: int | None = None,
        seed: int = 0,
    ) -> LastLayerLaplace:
        """Fit the posterior of any network that ends in a linear head.

        One pass over the images, which may be a generator: nothing of them is kept but the sum.

        Args:
            observations: features φ [batch, D, height, width] before the head, batch by batch, or
                `Observation`s where pixels have weights or the head is stochastic.
            weight: of the head, [C, D], or of its 1×1 convolution, [C, D, 1, 1]; C ≥ 2.
            bias: [C]; None gives the head one of zero, which the posterior may then move.
            structure: how much of the curvature is kept.
            prior_precision: τ; `fit_prior_precision` and `fit_held_out` choose it afterwards.
            posterior_temperature: κ.
            pixels: most pixels of an image to use, drawn at random; all by default.
            seed: image k of the stream, from 0, is drawn with `seed + k` (see `observe`).

        Raises:
            NotFittedError: no images.
            PosteriorError: a head or features that do not fit or are not finite.
        """
        head = head_matrix(weight, bias)
        kept = Structure(structure)
        total: Curvature | None = None
        images = 0
        for batch in (observations,) if isinstance(observations, Tensor) else observations:
            part = observe(batch, head, kept, pixels=pixels, seed=seed + images)
            images += len(batch if isinstance(batch, Tensor) else batch.features)
            total = part if total is None else total + part
        if total is None:
            raise NotFittedError("expected the features of at least one image, got none to fit on")
        return cls(head, total, prior_precision, posterior_temperature)

    @property
    def classes(self) -> int:
        """C, background included."""
        return int(self.weight.shape[0])

    @property
    def structure(self) -> Structure:
        """How much of the curvature is kept."""
        return self.curvature.structure

    @property
    def ggn(self) -> Tensor:
        """G [C·(D + 1), C·(D + 1)].

        Raises:
            PosteriorError: the structure is not full.
        """
        if not isinstance(self.curvature, FullCurvature):
            raise PosteriorError(
                f"expected a posterior of the structure full, which keeps the whole curvature, got "
                f"{self.structure}: fit it with structure='full'"
            )
        return self.curvature.matrix

    def with_prior_precision(self, prior_precision: float) -> LastLayerLaplace:
        """Return the posterior with another τ."""
        return replace(self, prior_precision=prior_precision)

    def contribution(
        self, observation: Observation | Tensor, *, pixels: int | None = None, seed: int = 0
    ) -> Curvature:
        """Return what images add to the curvature, in this posterior's structure.

        Keep it, or make it again from the same features, weights and seed, to take it away.

        Raises:
            PosteriorError: see `observe`.
        """
        return observe(observation, self.weight, self.structure, pixels=pixels, seed=seed)

    def add(self, contribution: Curvature) -> LastLayerLaplace:
        """Return the posterior that has seen the images of a `contribution` too."""
        return replace(self, curvature=self.curvature + contribution)

    def remove(self, contribution: Curvature) -> LastLayerLaplace:
        """Return the posterior that has never seen the images of a `contribution`."""
        return replace(self, curvature=self.curvature - contribution)

    def replace(self, old: Curvature, new: Curvature) -> LastLayerLaplace:
        """Return the posterior with one contribution in place of another."""
        return replace(self, curvature=self.curvature - old + new)

    @cached_property
    def covariance(self) -> Covariance:
        """Σ, factorised once.

        Raises:
            PosteriorError: G/κ + τI is not positive definite.
        """
        return self.curvature.covariance(
            self.classes, self.prior_precision, self.posterior_temperature
        )

    def mean_logits(
        self, features: Float[Tensor, "batch dim height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Return Wφ̃ in the dtype of φ."""
        weight = self.weight.to(features)
        logits = torch.einsum("bdhw,cd->bchw", features, weight[:, :-1])
        return logits + weight[:, -1, None, None]

    def predict(
        self, features: Float[Tensor, "batch dim height width"], aleatoric: Tensor | None = None
    ) -> Decomposition:
        """Return the predictive mean and the terms of the uncertainty at each pixel.

        Args:
            features: φ.
            aleatoric: covariance of the logits between class contrasts, as `decompose` takes it;
                none by default, for a deterministic network.
        """
        epistemic = self.covariance.to(features).contrasts(features)
        return decompose(
            self.mean_logits(features),
            epistemic,
            torch.zeros_like(epistemic) if aleatoric is None else aleatoric,
        )


def head_matrix(weight: Tensor, bias: Tensor | None) -> Float[Tensor, "classes dim"]:
    """Return W [C, D + 1], the bias last, float64, of a linear layer or 1×1 convolution.

    Raises:
        PosteriorError: another kind of layer, one class only, or a bias that does not fit.
    """
    if weight.dim() < 2 or any(size != 1 for size in weight.shape[2:]):
        raise PosteriorError(
            "expected the weight [C, D] of a linear head or [C, D, 1, 1] of a 1×1 convolution, "
            f"got {list(weight.shape)}"
        )
    if len(weight) < 2:
        raise PosteriorError(
            "expected a head of at least 2 classes, got 1: write a sigmoid's weight w and bias b "
            "as the softmax of the rows 0 and w with the biases 0 and b"
        )
    if bias is None:
        bias = weight.new_zeros(len(weight))
    if tuple(bias.shape) != (len(weight),):
        raise PosteriorError(f"expected a bias of {len(weight)} classes, got {list(bias.shape)}")
    return torch.cat((weight.flatten(1), bias[:, None]), 1).detach().double().cpu()
