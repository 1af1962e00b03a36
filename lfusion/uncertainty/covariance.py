"""The posterior of a head as a predictor needs it: factorised once, applied to every image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import PosteriorError
from lfusion.uncertainty.curvature import with_bias
from lfusion.uncertainty.gauge import contrast_basis


@dataclass(frozen=True, eq=False)
class Covariance(ABC):
    """Σ of the weights of a head [C, d], d = D + 1 with the bias last, in factorised form."""

    def to(self, like: Tensor) -> Covariance:
        """Return the same covariance in the dtype and on the device of `like`."""
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(None if value is None else value.to(like) for value in values))

    @abstractmethod
    def contrasts(
        self, features: Float[Tensor, "batch dim height width"]
    ) -> Float[Tensor, "batch contrasts contrasts height width"]:
        """Return the epistemic covariance V of the class contrasts at each pixel.

        Args:
            features: φ, in the dtype and on the device of this covariance.

        Returns:
            Positive semi-definite over the two contrast axes by construction.
        """

    @abstractmethod
    def contrast_factor(self) -> Float[Tensor, "weights weights"]:
        """Return F with F Fᵀ = (Uᵀ ⊗ I) Σ (U ⊗ I), [(C − 1)·d, (C − 1)·d]."""

    @abstractmethod
    def sample(
        self, n: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "sample classes dim"]:
        """Draw `n` deviations from the MAP weights, from N(0, Σ)."""

    @abstractmethod
    def quadratic(
        self, gradient: Float[Tensor, "functionals classes dim"]
    ) -> Float[Tensor, " functionals"]:
        """Return gᵀΣg, the variance of functionals that change by ⟨g, δW⟩.

        Args:
            gradient: g, blind to the gauge as softmax is: Σ_c g_c = 0.
        """


@dataclass(frozen=True, eq=False)
class DenseCovariance(Covariance):
    """Every weight may correlate with every other.

    Attributes:
        lower: Cholesky factor L of the precision LLᵀ = Σ⁻¹, [C·d, C·d].
        factor: F with (Uᵀ ⊗ I) Σ (U ⊗ I) = F Fᵀ, [C − 1, d, (C − 1)·d].
    """

    lower: Float[Tensor, "parameters parameters"]
    factor: Float[Tensor, "contrasts dim rank"]

    @classmethod
    def of_precision(
        cls, precision: Float[Tensor, "parameters parameters"], classes: int
    ) -> DenseCovariance:
        """Factorise a precision whose rows are ordered class by class.

        Raises:
            PosteriorError: it is not positive definite.
        """
        lower = cholesky(precision)
        dim = len(precision) // classes
        basis = contrast_basis(classes, precision)
        sigma = torch.cholesky_inverse(lower).reshape(classes, dim, classes, dim)
        contrasts = torch.einsum("aibj,ak,bl->kilj", sigma, basis, basis)
        size = (classes - 1) * dim
        factor = torch.linalg.cholesky(contrasts.reshape(size, size))
        return cls(lower, factor.reshape(classes - 1, dim, size))

    def contrasts(self, features: Tensor) -> Tensor:
        """Return V = (φ̃F)(φ̃F)ᵀ at each pixel."""
        batch, _, height, width = features.shape
        contrasts = len(self.factor)
        rows = features.movedim(1, 0).flatten(1)
        phi = torch.cat((rows, rows.new_ones(1, rows.shape[1])))  # pixels last: sums run along them
        dim = len(phi)
        # F is lower triangular: block k of it ends after k + 1 blocks of columns
        projected = [self.factor[k, :, : (k + 1) * dim].T @ phi for k in range(contrasts)]
        covariance = phi.new_empty(contrasts, contrasts, phi.shape[1])
        for k, left in enumerate(projected):
            for other in range(k, contrasts):
                shared = (left * projected[other][: (k + 1) * dim]).sum(0)
                covariance[k, other] = covariance[other, k] = shared
        return covariance.view(contrasts, contrasts, batch, height, width).movedim(2, 0)

    def contrast_factor(self) -> Tensor:
        """Return what was factorised at once."""
        return self.factor.flatten(0, 1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw L⁻ᵀε, whose covariance is (LLᵀ)⁻¹."""
        lower = self.lower
        noise = torch.randn(
            len(lower), n, generator=generator, dtype=lower.dtype, device=lower.device
        )
        drawn: Tensor = torch.linalg.solve_triangular(lower.T, noise, upper=True)
        return drawn.T.reshape(n, -1, self.factor.shape[1])

    def quadratic(self, gradient: Tensor) -> Tensor:
        """Return ‖Fᵀ(Uᵀg)‖²."""
        basis = contrast_basis(gradient.shape[1], gradient)
        contrasts = torch.einsum("ncd,ck->nkd", gradient, basis)
        return torch.einsum("nkd,kdr->nr", contrasts, self.factor).square().sum(1)


@dataclass(frozen=True, eq=False)
class RowCovariance(Covariance):
    """The weights are W = M Y, and the rows of Y are independent: Cov[y_c] = R_c diag(s_c) R_cᵀ.

    Attributes:
        variance: s [C, d].
        root: R [C, d, d], [1, d, d] when all rows share theirs, None for the identity.
        mixing: M [C, C], None for the identity.
    """

    variance: Float[Tensor, "classes dim"]
    root: Float[Tensor, "rows dim dim"] | None = None
    mixing: Float[Tensor, "classes classes"] | None = None

    def contrasts(self, features: Tensor) -> Tensor:
        """Return V = Uᵀ M diag(v) Mᵀ U with v_c = Σ_k s_ck (R_cᵀφ̃)_k²."""
        batch, _, height, width = features.shape
        basis = contrast_basis(len(self.variance), features)
        mixed = basis if self.mixing is None else self.mixing.T @ basis
        variance = self._row_variances(with_bias(features))
        covariance = torch.einsum("pc,ck,cl->klp", variance, mixed, mixed)
        contrasts = basis.shape[1]
        return covariance.view(contrasts, contrasts, batch, height, width).movedim(2, 0)

    def contrast_factor(self) -> Tensor:
        """Factorise Σ_c (Mᵀu)_ca (Mᵀu)_cb R_c diag(s_c) R_cᵀ."""
        variance = self.variance
        root = torch.eye(variance.shape[1]).to(variance)[None] if self.root is None else self.root
        rows = (root * variance[:, None]) @ root.mT
        basis = contrast_basis(len(variance), variance)
        mixed = basis if self.mixing is None else self.mixing.T @ basis
        sigma = torch.einsum("ca,cij,cb->aibj", mixed, rows, mixed).flatten(0, 1).flatten(1)
        return cholesky(sigma)

    def _row_variances(self, phi: Tensor) -> Tensor:
        """Return v [pixels, C]."""
        if self.root is None:
            return phi.square() @ self.variance.T
        if len(self.root) == 1:
            return (phi @ self.root[0]).square() @ self.variance.T
        rows = zip(self.root, self.variance, strict=True)
        return torch.stack([(phi @ root).square() @ variance for root, variance in rows], 1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw M R √s ε."""
        variance = self.variance
        drawn = variance.sqrt() * torch.randn(
            n, *variance.shape, generator=generator, dtype=variance.dtype, device=variance.device
        )
        if self.root is not None:
            drawn = torch.einsum("cij,ncj->nci", self.root.expand(len(variance), -1, -1), drawn)
        if self.mixing is not None:
            drawn = torch.einsum("ab,nbi->nai", self.mixing, drawn)
        return drawn

    def quadratic(self, gradient: Tensor) -> Tensor:
        """Return Σ_ck s_ck (R_cᵀ(Mᵀg)_c)_k²."""
        if self.mixing is not None:
            gradient = torch.einsum("ab,nad->nbd", self.mixing, gradient)
        if self.root is not None:
            rows = self.root.expand(len(self.variance), -1, -1)
            gradient = torch.einsum("nci,cij->ncj", gradient, rows)
        return (self.variance * gradient.square()).sum((1, 2))


def cholesky(precision: Float[Tensor, "*rows dim dim"]) -> Float[Tensor, "*rows dim dim"]:
    """Return the lower Cholesky factor.

    Raises:
        PosteriorError: not positive definite.
    """
    lower, info = torch.linalg.cholesky_ex(precision)
    if info.any():
        raise _not_positive_definite()
    factor: Tensor = lower
    return factor


def inverse(precision: Float[Tensor, "classes dim"]) -> Float[Tensor, "classes dim"]:
    """Return 1 / precision.

    Raises:
        PosteriorError: not positive.
    """
    if not (precision > 0).all():
        raise _not_positive_definite()
    return precision.reciprocal()


def _not_positive_definite() -> PosteriorError:
    """Return the error of a precision that belongs to no posterior."""
    return PosteriorError(
        "G/κ + τI is not positive definite: the curvature is no sum of Λ ⊗ φ̃φ̃ᵀ (was more removed "
        "than had been added?), or the prior precision is too small for float64"
    )
