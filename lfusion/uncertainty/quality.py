"""How good will the mask turn out? The overlap to expect, from the scores of one prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import NotFittedError

RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Tried, the one with the least error on images left out wins."""

SMALLEST = 1e-6
"""Added to a score before its logarithm, and the smallest error."""

MIN_IMAGES = 20
"""Fewer labelled images say nothing about a dozen scores."""


@dataclass(frozen=True)
class QualityModel:
    """A linear model of ln(1 − Dice) in the logarithms of image scores.

    Attributes:
        names: of the scores.
        mean: of their logarithms on the calibration images.
        scale: standard deviation of the same.
        weights: of the standardised logarithms.
        intercept: mean of ln(1 − Dice).
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def expected_loss(self, scores: Mapping[str, float]) -> float:
        """Return the expected 1 − Dice of an image, in 0 to 1.

        Args:
            scores: not negative; all of `names` among them.
        """
        logs = np.log([scores[name] + SMALLEST for name in self.names])
        standard = (logs - np.asarray(self.mean)) / np.asarray(self.scale)
        return min(math.exp(self.intercept + float(standard @ np.asarray(self.weights))), 1.0)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QualityModel:
        """Return the model that `dataclasses.asdict` wrote, through JSON or not."""
        lists = {name: tuple(values[name]) for name in ("names", "mean", "scale", "weights")}
        return cls(**lists, intercept=float(values["intercept"]))


def fit_quality(
    scores: Sequence[Mapping[str, float]], dice: Sequence[float], names: Sequence[str]
) -> QualityModel:
    """Fit the model by ridge regression.

    Args:
        scores: of held-out images.
        dice: of the same images, against their labels.
        names: of the scores to use; none is negative.

    Raises:
        NotFittedError: fewer than `MIN_IMAGES` images.

    Source:
        Leave-one-out errors in closed form: G. H. Golub, M. Heath and G. Wahba, Technometrics 21
        (1979), doi:10.1080/00401706.1979.10489751.
    """
    if len(scores) < MIN_IMAGES:
        raise NotFittedError(
            f"expected at least {MIN_IMAGES} labelled held-out images to learn what quality to "
            f"expect, got {len(scores)}"
        )
    logs = np.log([[values[name] + SMALLEST for name in names] for values in scores])
    mean, scale = logs.mean(0), logs.std(0)
    scale[scale < 1e-9] = 1.0
    standard = (logs - mean) / scale
    target = np.log(np.maximum(1.0 - np.asarray(dice), SMALLEST))
    centred = target - target.mean()
    weights = min(
        (_ridge(standard, centred, ridge) for ridge in RIDGES), key=lambda found: found[1]
    )[0]
    return QualityModel(
        names=tuple(names),
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights.tolist()),
        intercept=float(target.mean()),
    )


def _ridge(
    x: NDArray[np.float64], y: NDArray[np.float64], ridge: float
) -> tuple[NDArray[np.float64], float]:
    """Return the weights and the mean squared error on images left out one by one."""
    solve = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T)
    leverage = np.einsum("ij,ji->i", x, solve)
    weights: NDArray[np.float64] = solve @ y
    errors = (y - x @ weights) / (1.0 - leverage)
    return weights, float(np.mean(errors**2))
