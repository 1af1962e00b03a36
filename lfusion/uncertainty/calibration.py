"""What held-out images say about the predictive: its temperature and what scores are usual."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from lfusion.errors import NotFittedError
from lfusion.uncertainty.quality import QualityModel

FALSE_ALARM_RATE = 0.05
"""Share of normal images that are called unusual, by default."""

BANDS = (0.95, 0.99)
"""Quantiles of a map over the pixels of normal images where "unsure" and "very unsure" begin."""


@dataclass(frozen=True)
class Calibration:
    """Fitted on held-out images and stored with the weights.

    Attributes:
        temperature: divides logits (and, squared, their covariance); 1 leaves them alone.
        reference: per image score, its sorted values on the held-out images.
        bands: per map, its `BANDS` quantiles over the pixels of the held-out images, nats.
        quality: what overlap to expect; None without enough labelled held-out images.
        errors: per measured quantity, |value − truth| / σ on the held-out images.
    """

    temperature: float = 1.0
    reference: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    quality: QualityModel | None = None
    errors: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def held_out(self) -> bool:
        """Whether it comes from images that the model has not learned from."""
        return self.temperature != 1.0 or bool(self.errors)

    def percentile(self, name: str, value: float) -> float:
        """Return the share (0 to 100) of held-out images with a lower score; ties count half.

        Raises:
            NotFittedError: no reference for this score.
        """
        values = self._values(name)
        below = np.searchsorted(values, value, "left")
        upto = np.searchsorted(values, value, "right")
        return float(100 * (below + upto) / 2 / len(values))

    def p_value(self, name: str, value: float) -> float:
        """Return the conformal p-value of a score: (1 + number of as large ones) / (n + 1).

        A normal image gets a p-value of at most α with a probability of at most α, whatever the
        distribution, as long as it is exchangeable with the held-out images.

        Raises:
            NotFittedError: no reference for this score.

        Source:
            V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World, 2005;
            for outliers: Bates et al., Testing for outliers with conformal p-values, Annals of
            Statistics 51 (2023), arXiv 2104.08279.

        Example:
            >>> Calibration(reference={"u": np.array([1.0, 2.0, 3.0])}).p_value("u", 2.5)
            0.5
        """
        values = self._values(name)
        as_large = len(values) - int(np.searchsorted(values, value, "left"))
        return (1 + as_large) / (len(values) + 1)

    def standardised(self, name: str, value: float) -> float:
        """Return by how many standard deviations of the held-out images a score is high.

        Raises:
            NotFittedError: no reference for this score.
        """
        values = self._values(name)
        return float((value - values.mean()) / max(values.std(), 1e-12))

    def _values(self, name: str) -> NDArray[np.float64]:
        values = self.reference.get(name)
        if values is None or not len(values):
            raise NotFittedError(
                f"no reference values for the score {name!r}; fitted are "
                f"{', '.join(sorted(self.reference)) or 'none'}: run `lfusion calibrate`"
            )
        return values


def reference_scores(images: Sequence[Mapping[str, float]]) -> dict[str, NDArray[np.float64]]:
    """Return the sorted values of each score over held-out images."""
    names = images[0].keys() if images else ()
    return {name: np.sort([scores[name] for scores in images]) for name in names}


def fit_temperature(negative_log_likelihood: Callable[[float], float]) -> float:
    """Return the temperature between 0.2 and 5 that minimises a held-out loss.

    Args:
        negative_log_likelihood: temperature → mean loss over the held-out pixels, nats.

    Source:
        Guo et al., On calibration of modern neural networks, ICML 2017, arXiv 1706.04599.
    """
    best = minimize_scalar(
        lambda log_temperature: negative_log_likelihood(float(np.exp(log_temperature))),
        bounds=(np.log(0.2), np.log(5.0)),
        method="bounded",
        options={"xatol": 1e-3},
    )
    return float(np.exp(best.x))
