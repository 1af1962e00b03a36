"""How far an image is from the normal ones, and what a known artefact would look like.

The density of the frozen encoder's features answers "is this the kind of image I know?"; the
posterior over the head answers "can I segment it?" (method.md §7). Both are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import NotFittedError

DENSITY = "unfamiliar"
"""Name of the density's signal; the other signals are named after the artefact they know."""

RIDGE = 0.1
"""Added to the within-class covariance, as a share of its mean variance."""


@dataclass(frozen=True, eq=False)
class NormalDensity:
    """A Gaussian of feature vectors of normal images.

    Attributes:
        mean: μ.
        whitening: W with WWᵀ = Σ⁻¹, or its best approximation of rank `rank`; its columns have
            falling variance when it was fitted with a rank.
    """

    mean: Float[Tensor, " features"]
    whitening: Float[Tensor, "features rank"]

    @classmethod
    def fit(
        cls, samples: Float[Tensor, "samples features"], rank: int | None = None
    ) -> NormalDensity:
        """Fit mean and covariance.

        Args:
            samples: feature vectors, in any number above 1.
            rank: principal components to keep. All by default, for samples that are few against
                their features: the covariance of standardised features then shrinks towards a
                multiple of the identity.

        Raises:
            NotFittedError: fewer than two samples.

        Source:
            O. Ledoit and M. Wolf, A well-conditioned estimator for large-dimensional covariance
            matrices, J. Multivariate Analysis 88 (2004), doi:10.1016/S0047-259X(03)00096-4.
        """
        if len(samples) < 2:
            raise NotFittedError(f"expected two normal images or more, got {len(samples)}")
        values = samples.double()
        mean = values.mean(0)
        centred = values - mean
        if rank is not None:
            variances, axes = torch.linalg.eigh(centred.T @ centred / len(values))
            largest = torch.arange(len(variances) - 1, len(variances) - 1 - rank, -1)
            scale = variances[largest].clamp_min(1e-8 * variances[-1]).sqrt()
            return cls(mean, axes[:, largest] / scale)
        deviation = centred.std(0, correction=0)
        deviation = deviation.clamp_min(1e-6 * deviation.max() + 1e-12)
        lower = torch.linalg.cholesky(torch.linalg.inv(_shrunk(centred / deviation)))
        return cls(mean, lower / deviation[:, None])

    def to(self, like: Tensor) -> NormalDensity:
        """Return the same density in the dtype and on the device of `like`."""
        return NormalDensity(self.mean.to(like), self.whitening.to(like))

    def whitened(
        self, values: Float[Tensor, "*samples features"]
    ) -> Float[Tensor, "*samples rank"]:
        """Return Wᵀ(x − μ), independent and of unit variance for normal images."""
        return (values - self.mean) @ self.whitening

    def distance(self, values: Float[Tensor, "*samples features"]) -> Float[Tensor, " *samples"]:
        """Return the Mahalanobis distance over √rank, about 1 for a normal image."""
        return self.whitened(values).square().mean(-1).sqrt()


@dataclass(frozen=True, eq=False)
class NormativeModel:
    """What normal images look like, and in which direction each known artefact moves them.

    Attributes:
        image: density of the statistics of whole images.
        patch: density of the patches inside the sector.
        directions: artefact → discriminant direction in the statistics.
    """

    image: NormalDensity
    patch: NormalDensity
    directions: Mapping[str, Float[Tensor, " features"]]

    def signals(self, statistics: Float[Tensor, " features"]) -> dict[str, float]:
        """Return one number per question, larger for a more unusual image.

        Args:
            statistics: of one image (`Appearance.statistics`).
        """
        values = statistics.to(self.image.mean)
        found = {name: float(values @ way) for name, way in self.directions.items()}
        return {DENSITY: float(self.image.distance(values).log()), **found}

    def unfamiliarity(
        self, patches: Float[Tensor, "channels height width"]
    ) -> Float[Tensor, "height width"]:
        """Return the Mahalanobis distance of each patch over √rank, about 1 in normal images."""
        return self.patch.distance(patches.movedim(0, -1).to(self.patch.mean))


def fit_normative(
    statistics: Float[Tensor, "images features"],
    patches: Float[Tensor, "cells channels"],
    spoilt: Mapping[str, Float[Tensor, "_ features"]],
    patch_rank: int = 96,
) -> NormativeModel:
    """Fit densities and artefact directions.

    Args:
        statistics: of normal images.
        patches: of normal images, cells inside the sector.
        spoilt: artefact → statistics of normal images with that artefact.
        patch_rank: principal components of the patches to keep, at most.

    Raises:
        NotFittedError: fewer than two normal images.
    """
    return NormativeModel(
        image=NormalDensity.fit(statistics),
        patch=NormalDensity.fit(patches, min(patch_rank, patches.shape[1], len(patches) - 1)),
        directions={name: discriminant(statistics, values) for name, values in spoilt.items()},
    )


def discriminant(
    normal: Float[Tensor, "normal features"], spoilt: Float[Tensor, "spoilt features"]
) -> Float[Tensor, " features"]:
    """Return the direction that tells two groups apart best, larger for the second.

    Args:
        normal: feature vectors of the first group.
        spoilt: of the second group.

    Source:
        R. A. Fisher, The use of multiple measurements in taxonomic problems, Annals of Eugenics 7
        (1936), doi:10.1111/j.1469-1809.1936.tb02137.x; with a ridge, on standardised features.
    """
    first, second = normal.double(), spoilt.double()
    deviation = first.std(0, correction=0)
    deviation = deviation.clamp_min(1e-6 * deviation.max() + 1e-12)
    first, second = first / deviation, second / deviation
    groups = [group - group.mean(0) for group in (first, second)]
    total = sum(len(group) for group in groups)
    within = torch.stack([group.T @ group for group in groups]).sum(0) / total
    size = len(within)
    ridge = RIDGE * within.trace() / size * torch.eye(size, dtype=within.dtype)
    way: Tensor = torch.linalg.solve(within + ridge, second.mean(0) - first.mean(0))
    return way / deviation


def _shrunk(centred: Float[Tensor, "samples features"]) -> Float[Tensor, "features features"]:
    """Return the Ledoit–Wolf covariance of centred samples."""
    samples, features = centred.shape
    covariance = centred.T @ centred / samples
    level = covariance.trace() / features
    identity = torch.eye(features, dtype=centred.dtype)
    dispersion = (covariance - level * identity).square().sum()
    error = (centred.square().sum(1).square().mean() - covariance.square().sum()) / samples
    weight = float((error / dispersion.clamp_min(1e-300)).clamp(0.0, 1.0))
    shrunk: Tensor = (1 - weight) * covariance + weight * level * identity
    return shrunk
