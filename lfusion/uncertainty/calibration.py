"""What held-out images say about the predictive: its temperature and the usual range of scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from lfusion.errors import NotFittedError


@dataclass(frozen=True)
class Calibration:
    """Fitted on held-out images and stored with the weights.

    Attributes:
        temperature: divides logits (and, squared, their covariance); 1 leaves them alone.
        reference: per image score, its sorted values on the held-out images.
    """

    temperature: float = 1.0
    reference: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def percentile(self, name: str, value: float) -> float:
        """Return the share (0 to 100) of held-out images with a lower score; ties count half.

        Raises:
            NotFittedError: no reference for this score.
        """
        values = self.reference.get(name)
        if values is None or not len(values):
            raise NotFittedError(
                f"no reference values for the score {name!r}; fitted are "
                f"{', '.join(sorted(self.reference)) or 'none'}: retrain with validation images"
            )
        below = np.searchsorted(values, value, "left")
        upto = np.searchsorted(values, value, "right")
        return float(100 * (below + upto) / 2 / len(values))


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
