"""From logits to outlines: how far a contour moves when the logits around it change.

The outline of class k is where its log-odds ℓ_k = z_k − ln Σ_{j≠k} e^{z_j} cross 0. If they change
by δℓ there, it moves outwards by δℓ / |∂ℓ/∂n|; ∂ℓ_k/∂z_j is 1 for j = k and −softmax_{j≠k} else. A
measurement that owes g(s) to each outline point s (`biometry.sensitivity`) is then linear in the
logits of the feature grid, between which the points interpolate.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.biometry.sensitivity import Sensitivity

MIN_SLOPE = 0.1
"""Of the median slope along the outline: a flat spot must not move without bound, where first
order no longer holds."""


def displacement_weights(
    sensitivity: Sensitivity,
    mean: Float[Tensor, "classes height width"],
    number: int,
    size: tuple[int, int],
) -> Float[Tensor, "measurements classes height width"]:
    """Return how measurements of an outline follow the logits of the feature grid.

    Args:
        sensitivity: of the measurements, in native pixels.
        mean: μ.
        number: of the class that the outline belongs to.
        size: (rows, columns) of the image in native pixels.

    Returns:
        w, for `linear_variance`; 0 away from the outline, and Σ_c w_ic = 0.
    """
    grid = mean.shape[1:]
    scale = mean.new_tensor([cells / pixels for cells, pixels in zip(grid, size, strict=True)])
    points, step, gain = (
        torch.from_numpy(values).to(mean)
        for values in (sensitivity.points, sensitivity.step_px, sensitivity.gain)
    )
    cells, shares = _corners((points + 0.5) * scale - 0.5, grid)
    evidence, derivative = _log_odds(mean, number)
    gradients = torch.stack([part.flatten() for part in torch.gradient(evidence)])
    at_points = (gradients[:, cells] * shares).sum(-1) * scale[:, None]
    slope = (at_points.T * step).sum(1).abs()
    moved = gain / slope.clamp_min(MIN_SLOPE * slope.median())
    flat = mean.new_zeros(len(gain), evidence.numel())
    flat.index_add_(1, cells.flatten(), (moved[:, :, None] * shares).flatten(1))
    return flat.view(-1, 1, *grid) * derivative


def _log_odds(mean: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """Return ℓ_k [height, width] and ∂ℓ_k/∂z [classes, height, width]."""
    others = [other for other in range(len(mean)) if other != number]
    derivative = torch.ones_like(mean)
    derivative[others] = -mean[others].softmax(0)
    return mean[number] - mean[others].logsumexp(0), derivative


def _corners(places: Tensor, grid: torch.Size) -> tuple[Tensor, Tensor]:
    """Return the four cells around each place [points, 4] and their bilinear shares."""
    last = places.new_tensor(grid) - 1
    places = places.clamp_min(0).minimum(last)
    low = places.floor().minimum((last - 1).clamp_min(0))
    high, part = (low + 1).minimum(last), places - low
    cells, shares = [], []
    for row, row_share in ((low[:, 0], 1 - part[:, 0]), (high[:, 0], part[:, 0])):
        for column, share in ((low[:, 1], 1 - part[:, 1]), (high[:, 1], part[:, 1])):
            cells.append((row * grid[1] + column).long())
            shares.append(row_share * share)
    return torch.stack(cells, 1), torch.stack(shares, 1)
