"""Whether the probabilities of pixels are right: proper scores and calibration errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lfusion.types import Probabilities

Labels: TypeAlias = NDArray[np.uint8]
"""[height, width], class number a pixel; of any size, as the metrics refuse a misfit."""

CALIBRATION_BINS = 15
_PARTS_PER_BIN = 4
_PARTS_OF_LAST_BIN = 64
_CLOSEST_TO_ONE = 1e-7


def negative_log_likelihood(probabilities: Probabilities, reference: Labels) -> float:
    """Return the mean over pixels of -log p(reference class), nats; 0 is perfect.

    A probability of 0 counts as the smallest positive float32, so that the result is finite.

    Args:
        probabilities: [classes, H, W].
        reference: class numbers.

    Raises:
        ValueError: the shapes differ or the reference holds a class without probability.

    Source:
        I. J. Good, J. R. Stat. Soc. B 14 (1952) 107. doi:10.1111/j.2517-6161.1952.tb00104.x
    """
    p = _probability_of(probabilities, reference)
    return float(np.mean(-np.log(np.maximum(p, np.finfo(np.float32).tiny))))


def brier_score(probabilities: Probabilities, reference: Labels) -> float:
    """Return the mean over pixels of Σ_c (p_c - [reference = c])², in [0, 2]; 0 is perfect.

    Args:
        probabilities: [classes, H, W].
        reference: class numbers.

    Raises:
        ValueError: the shapes differ or the reference holds a class without probability.

    Source:
        G. W. Brier, Mon. Weather Rev. 78 (1950) 1.
        doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2
    """
    p = _probability_of(probabilities, reference)
    return float(np.mean((probabilities.astype(np.float64) ** 2).sum(axis=0) - 2 * p + 1))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Pixels counted by the confidence of their predicted class.

    `of` counts them in fine bins, from which `equal_width` and `equal_mass` make a few: so one
    pass over the images, a few kilobytes each, serves both calibration errors and any weights.

    Attributes:
        pixels: [..., bins], how many.
        confidence: sum of their confidences, same shape.
        correct: how many of them were predicted rightly, same shape.
    """

    pixels: NDArray[np.float64]
    confidence: NDArray[np.float64]
    correct: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: Probabilities, reference: Labels) -> Reliability:
        """Count the pixels of one image in fine bins.

        Args:
            probabilities: [classes, H, W].
            reference: class numbers.

        Raises:
            ValueError: the shapes differ or the reference holds a class without probability.
        """
        _require_comparable(probabilities, reference)
        right = (probabilities.argmax(axis=0) == reference).ravel()
        confidence = probabilities.max(axis=0).ravel().astype(np.float64)
        index = np.searchsorted(_INNER_EDGES, confidence)
        weights = (np.ones_like(confidence), confidence, right)
        bins = len(_INNER_EDGES) + 1
        return cls(*(np.bincount(index, w, bins).astype(np.float64) for w in weights))

    @classmethod
    def stack(cls, images: Sequence[Reliability]) -> Reliability:
        """Put images together on a leading axis, [images, bins]."""
        return cls(
            np.stack([image.pixels for image in images]),
            np.stack([image.confidence for image in images]),
            np.stack([image.correct for image in images]),
        )

    def pooled(self, weights: NDArray[np.float64] | None = None) -> Reliability:
        """Pool the pixels of images on the leading axis.

        Args:
            weights: [..., images], how often each image counts; by default once.
        """
        w = np.ones(len(self.pixels)) if weights is None else weights
        return Reliability(w @ self.pixels, w @ self.confidence, w @ self.correct)

    def equal_width(self) -> Reliability:
        """Return 15 bins; bin k of K holds confidences in (k/K, (k+1)/K]."""
        starts = np.arange(CALIBRATION_BINS) * _PARTS_PER_BIN
        return Reliability(
            np.add.reduceat(self.pixels, starts, axis=-1),
            np.add.reduceat(self.confidence, starts, axis=-1),
            np.add.reduceat(self.correct, starts, axis=-1),
        )

    def equal_mass(self) -> Reliability:
        """Return 15 bins of as equal numbers of pixels as fine bins, taken whole, allow."""
        total = np.maximum(self.pixels.sum(axis=-1, keepdims=True), 1.0)
        middle = (np.cumsum(self.pixels, axis=-1) - self.pixels / 2) / total
        index = np.minimum((middle * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
        member = index[..., None] == np.arange(CALIBRATION_BINS)
        return Reliability(
            np.einsum("...f,...fk->...k", self.pixels, member),
            np.einsum("...f,...fk->...k", self.confidence, member),
            np.einsum("...f,...fk->...k", self.correct, member),
        )


def expected_calibration_error(reliability: Reliability) -> NDArray[np.float64]:
    """Return Σ_k n_k/N · |accuracy_k - confidence_k| over 15 bins of equal width, in [0, 1].

    Without pixels: 0.

    Args:
        reliability: fine bins, images pooled before the error is taken; leading axes are kept.

    Source:
        C. Guo et al., ICML 2017. doi:10.48550/arXiv.1706.04599
    """
    return _weighted_gap(reliability.equal_width())


def adaptive_calibration_error(reliability: Reliability) -> NDArray[np.float64]:
    """Return Σ_k n_k/N · |accuracy_k - confidence_k| over 15 bins of equal mass, in [0, 1].

    Most pixels of a segmentation are surer than the last bin of equal width can tell apart;
    these bins can. Of the predicted class only. Without pixels: 0.

    Args:
        reliability: fine bins, images pooled before the error is taken; leading axes are kept.

    Source:
        J. Nixon et al., CVPR Workshops 2019. doi:10.48550/arXiv.1904.01685
    """
    return _weighted_gap(reliability.equal_mass())


def _weighted_gap(bins: Reliability) -> NDArray[np.float64]:
    pixels = np.maximum(bins.pixels.sum(axis=-1), 1.0)
    return np.asarray(np.abs(bins.correct - bins.confidence).sum(axis=-1) / pixels)


def _inner_edges() -> NDArray[np.float64]:
    """Edges of the fine bins: parts of equal width, in the last bin ever finer towards one."""
    last = (CALIBRATION_BINS - 1) * _PARTS_PER_BIN
    even = np.arange(1, last + 1) / (CALIBRATION_BINS * _PARTS_PER_BIN)
    towards_one = 1 - np.geomspace(1 / CALIBRATION_BINS, _CLOSEST_TO_ONE, _PARTS_OF_LAST_BIN)[1:]
    return np.concatenate([even, towards_one])


_INNER_EDGES = _inner_edges()


def _probability_of(probabilities: Probabilities, reference: Labels) -> NDArray[np.float64]:
    """Probability of the reference class, [H, W]."""
    _require_comparable(probabilities, reference)
    index = reference[None].astype(np.intp)
    return np.asarray(np.take_along_axis(probabilities, index, axis=0)[0], np.float64)


def _require_comparable(probabilities: Probabilities, reference: Labels) -> None:
    classes, *shape = probabilities.shape
    if tuple(shape) != reference.shape:
        raise ValueError(f"expected a reference of shape {tuple(shape)}, got {reference.shape}")
    if reference.size and int(reference.max()) >= classes:
        raise ValueError(f"expected classes below {classes}, got class {int(reference.max())}")
