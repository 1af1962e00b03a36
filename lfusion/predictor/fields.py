"""What the network says about one image, on its own grid."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lfusion.model.distribution import LogitDistribution
from lfusion.model.reference import Appearance
from lfusion.uncertainty import Decomposition, decompose


@dataclass(frozen=True, eq=False)
class Fields:
    """One forward pass.

    Attributes:
        features: what the posterior sees, φ [1, D, h, w], followed by the appearance features of
            a distance-aware head.
        logits: distribution of the logits on the same grid.
        sector: [1, 1, h, w], 1 inside the ultrasound fan.
        appearance: to the frozen encoder; None where the checkpoint has none.
    """

    features: Tensor
    logits: LogitDistribution
    sector: Tensor
    appearance: Appearance | None


@dataclass(frozen=True, eq=False)
class LogitMoments:
    """Mean and both covariances of the logits on the feature grid, before calibration.

    Attributes:
        mean: μ [1, C, h, w].
        epistemic: V between class contrasts [1, C − 1, C − 1, h, w].
        aleatoric: PPᵀ + diag(d) between class contrasts, same shape.
    """

    mean: Tensor
    epistemic: Tensor
    aleatoric: Tensor

    def decompose(self, temperature: float) -> Decomposition:
        """Return the decomposition of the logits divided by the calibration temperature."""
        return decompose(
            self.mean / temperature,
            self.epistemic / temperature**2,
            self.aleatoric / temperature**2,
        )
