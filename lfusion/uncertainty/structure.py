"""How much of the curvature of a linear head is kept: five structures, one interface.

Every structure is a sum over pixels and images in float64, so the contribution of an image can be
added and taken away, and holds only the numbers that it needs (C classes, d = D + 1 weights each).
The structures themselves are in `ggn`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from lfusion.errors import PosteriorError
from lfusion.uncertainty.covariance import Covariance

Spectrum = Float[Tensor, " parameters"]


class Structure(StrEnum):
    """Which part of G = Σ_i Λ_i ⊗ φ̃_i φ̃_iᵀ a posterior keeps, and what that costs."""

    FULL = "full"
    """All of it: exact; (C·d)² numbers, (C·d)³ operations a refit."""
    BLOCK = "block"
    """The blocks of one class each: C·d² numbers, C·d³ operations."""
    KRON = "kron"
    """B ⊗ A, B = Σ_i Λ_i, A = Σ_i φ̃_i φ̃_iᵀ / N: C² + d² numbers, C³ + d³ operations."""
    DIAG = "diag"
    """The diagonal: C·d numbers and operations."""
    PRIOR_ONLY = "prior_only"
    """Nothing: the covariance of the prior, V ∝ ‖φ̃‖²/τ."""


@dataclass(frozen=True, eq=False)
class Curvature(ABC):
    """G in one structure, no prior in it."""

    structure: ClassVar[Structure]

    @classmethod
    @abstractmethod
    def of_pixels(
        cls,
        phi: Float[Tensor, "pixels dim"],
        probabilities: Float[Tensor, "sample pixels classes"],
        weight: Float[Tensor, " pixels"],
    ) -> Curvature:
        """Sum over pixels.

        Args:
            phi: φ̃, float64.
            probabilities: softmax of the sampled logits, float64; Λ is averaged over the samples.
            weight: how much each pixel counts, float64.
        """

    @property
    @abstractmethod
    def parameters(self) -> int:
        """C·d, the number of weights of the head."""

    @abstractmethod
    def spectrum(self, posterior_temperature: float) -> Spectrum:
        """Return the C·d eigenvalues of G/κ."""

    @abstractmethod
    def covariance(
        self, classes: int, prior_precision: float, posterior_temperature: float
    ) -> Covariance:
        """Return (G/κ + τI)⁻¹.

        Raises:
            PosteriorError: G/κ + τI is not positive definite.
        """

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the numbers that are kept."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def to(self, like: Tensor) -> Curvature:
        """Return the same curvature on the device of `like`; it stays float64."""
        return type(self)(*(value.to(like.device) for value in self.tensors()))

    def __add__(self, other: Curvature) -> Curvature:
        """Return the curvature of both sets of images."""
        return self._combined(other, 1)

    def __sub__(self, other: Curvature) -> Curvature:
        """Return the curvature without the images of `other`."""
        return self._combined(other, -1)

    def _combined(self, other: Curvature, sign: int) -> Curvature:
        mine, others = self.tensors(), other.tensors()
        if type(self) is not type(other) or any(
            a.shape != b.shape for a, b in zip(mine, others, strict=True)
        ):
            raise PosteriorError(
                f"expected a {self.structure} curvature of {self.parameters} weights, got "
                f"{other.structure} of {other.parameters}: contributions must be made for the "
                "posterior that they change"
            )
        return type(self)(*(a + sign * b for a, b in zip(mine, others, strict=True)))
