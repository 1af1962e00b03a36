"""The five structures of the generalised Gauss-Newton matrix, each at its own cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.uncertainty.covariance import (
    Covariance,
    DenseCovariance,
    RowCovariance,
    cholesky,
    inverse,
)
from lfusion.uncertainty.curvature import weighted_gram
from lfusion.uncertainty.structure import Curvature, Structure


@dataclass(frozen=True, eq=False)
class FullCurvature(Curvature):
    """The whole of G.

    Attributes:
        matrix: rows ordered class by class, the bias last within a class.
    """

    structure: ClassVar[Structure] = Structure.FULL
    matrix: Float[Tensor, "parameters parameters"]

    @classmethod
    def of_pixels(cls, phi: Tensor, probabilities: Tensor, weight: Tensor) -> Curvature:
        """Sum Λ ⊗ φ̃φ̃ᵀ, one pair of classes after the other."""
        mean = probabilities.mean(0)

        def curvature(a: int, b: int) -> Tensor:
            second = (probabilities[..., a] * probabilities[..., b]).mean(0)
            return weight * (mean[:, a] - second if a == b else -second)

        return cls(weighted_gram(phi, probabilities.shape[-1], curvature))

    @property
    def parameters(self) -> int:
        """C·d."""
        return len(self.matrix)

    def spectrum(self, posterior_temperature: float) -> Tensor:
        """Return the eigenvalues of the matrix."""
        return _eigenvalues(self.matrix / posterior_temperature)

    def covariance(
        self, classes: int, prior_precision: float, posterior_temperature: float
    ) -> Covariance:
        """Invert the matrix."""
        identity = torch.eye(len(self.matrix), dtype=self.matrix.dtype, device=self.matrix.device)
        precision = self.matrix / posterior_temperature + prior_precision * identity
        return DenseCovariance.of_precision(precision, classes)


@dataclass(frozen=True, eq=False)
class BlockCurvature(Curvature):
    """The diagonal blocks of G: classes know nothing of each other.

    Attributes:
        blocks: Σ_i Λ_i[c, c] φ̃_i φ̃_iᵀ, [C, d, d].
    """

    structure: ClassVar[Structure] = Structure.BLOCK
    blocks: Float[Tensor, "classes dim dim"]

    @classmethod
    def of_pixels(cls, phi: Tensor, probabilities: Tensor, weight: Tensor) -> Curvature:
        """Sum one weighted Gram matrix per class."""
        curvature = _diagonal_curvature(probabilities, weight)
        return cls(torch.stack([phi.T @ (phi * own[:, None]) for own in curvature.T]))

    @property
    def parameters(self) -> int:
        """C·d."""
        return self.blocks.shape[0] * self.blocks.shape[1]

    def spectrum(self, posterior_temperature: float) -> Tensor:
        """Return the eigenvalues of all blocks."""
        return _eigenvalues(self.blocks / posterior_temperature).flatten()

    def covariance(
        self, classes: int, prior_precision: float, posterior_temperature: float
    ) -> Covariance:
        """Invert each block: Σ_c = L⁻ᵀL⁻¹."""
        identity = torch.eye(
            self.blocks.shape[1], dtype=self.blocks.dtype, device=self.blocks.device
        )
        lower = cholesky(self.blocks / posterior_temperature + prior_precision * identity)
        root = torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False).mT
        return RowCovariance(root.new_ones(()).expand(root.shape[:2]), root)


@dataclass(frozen=True, eq=False)
class KronCurvature(Curvature):
    """G ≈ B ⊗ A with B = Σ_i Λ_i and A = Σ_i φ̃_i φ̃_iᵀ / N; exact when Λ is the same everywhere.

    Attributes:
        gram: N·A [d, d].
        classwise: B [C, C].
        pixels: N, the sum of the pixels' weights, a scalar.
    """

    structure: ClassVar[Structure] = Structure.KRON
    gram: Float[Tensor, "dim dim"]
    classwise: Float[Tensor, "classes classes"]
    pixels: Float[Tensor, ""]

    @classmethod
    def of_pixels(cls, phi: Tensor, probabilities: Tensor, weight: Tensor) -> Curvature:
        """Sum both factors."""
        weighted = probabilities * weight[:, None]
        first = weighted.sum(1).mean(0)
        second = torch.einsum("mpa,mpb->ab", weighted, probabilities) / len(probabilities)
        return cls(phi.T @ (phi * weight[:, None]), first.diag() - second, weight.sum())

    @property
    def parameters(self) -> int:
        """C·d."""
        return len(self.gram) * len(self.classwise)

    def _mean_gram(self) -> Tensor:
        # without a pixel both factors are zero, and so is their product
        return self.gram / self.pixels if self.pixels != 0 else self.gram

    def spectrum(self, posterior_temperature: float) -> Tensor:
        """Return the products of the factors' eigenvalues."""
        rows, columns = _eigenvalues(self.classwise), _eigenvalues(self._mean_gram())
        return (rows[:, None] * columns / posterior_temperature).flatten()

    def covariance(
        self, classes: int, prior_precision: float, posterior_temperature: float
    ) -> Covariance:
        """Invert in the eigenbasis of the factors, where τI stays what it is."""
        rows, mixing = torch.linalg.eigh(self.classwise)
        columns, root = torch.linalg.eigh(self._mean_gram())
        precision = rows[:, None] * columns / posterior_temperature + prior_precision
        return RowCovariance(inverse(precision), root[None], mixing)


@dataclass(frozen=True, eq=False)
class DiagCurvature(Curvature):
    """The diagonal of G.

    Attributes:
        diagonal: Σ_i Λ_i[c, c] φ̃_ik², [C, d].
    """

    structure: ClassVar[Structure] = Structure.DIAG
    diagonal: Float[Tensor, "classes dim"]

    @classmethod
    def of_pixels(cls, phi: Tensor, probabilities: Tensor, weight: Tensor) -> Curvature:
        """Sum the weighted squares."""
        return cls(_diagonal_curvature(probabilities, weight).T @ phi.square())

    @property
    def parameters(self) -> int:
        """C·d."""
        return self.diagonal.numel()

    def spectrum(self, posterior_temperature: float) -> Tensor:
        """Return the diagonal."""
        return (self.diagonal / posterior_temperature).flatten()

    def covariance(
        self, classes: int, prior_precision: float, posterior_temperature: float
    ) -> Covariance:
        """Invert each number."""
        return RowCovariance(inverse(self.diagonal / posterior_temperature + prior_precision))


@dataclass(frozen=True, eq=False)
class NoCurvature(Curvature):
    """No data at all: the prior, kept as a baseline.

    Attributes:
        shape: [C, d, 0]; nothing but its shape is known.
    """

    structure: ClassVar[Structure] = Structure.PRIOR_ONLY
    shape: Float[Tensor, "classes dim 0"]

    @classmethod
    def of_pixels(cls, phi: Tensor, probabilities: Tensor, weight: Tensor) -> Curvature:
        """Keep the shape."""
        return cls(phi.new_zeros(probabilities.shape[-1], phi.shape[1], 0))

    @property
    def parameters(self) -> int:
        """C·d."""
        return self.shape.shape[0] * self.shape.shape[1]

    def spectrum(self, posterior_temperature: float) -> Tensor:
        """Return zeros."""
        return self.shape.new_zeros(self.parameters)

    def covariance(
        self, classes: int, prior_precision: float, posterior_temperature: float
    ) -> Covariance:
        """Return that of the prior."""
        variance = self.shape.new_full((), 1 / prior_precision)
        return RowCovariance(variance.expand(self.shape.shape[:2]))


CURVATURES: dict[Structure, type[Curvature]] = {
    kind.structure: kind
    for kind in (FullCurvature, BlockCurvature, KronCurvature, DiagCurvature, NoCurvature)
}


def _diagonal_curvature(probabilities: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted diagonal of the mean Λ, [pixels, C]."""
    return (probabilities - probabilities.square()).mean(0) * weight[:, None]


def _eigenvalues(symmetric: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh(symmetric)
    return values
