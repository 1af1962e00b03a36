"""Measurements of coherent samples: the reference that the closed form is tested against.

Weights of the head and the shared noise of the logits are drawn once an image, so that every sample
is one possible outline, traced and measured like any other. A pixel's own noise is left out: it
would fray the outline into islands and adds next to nothing to a length (`LinearVariance.own`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfusion.measurement.measure import measure_maps
from lfusion.model.distribution import LogitDistribution
from lfusion.types import PixelSize
from lfusion.uncertainty.covariance import Covariance
from lfusion.uncertainty.curvature import with_bias


def sample_quantities(
    labels: Mapping[str, int],
    pixel_size_mm: PixelSize | None,
    size: tuple[int, int],
    logits: LogitDistribution,
    features: Tensor,
    covariance: Covariance,
    *,
    samples: int = 32,
    generator: torch.Generator | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Draw outlines on the feature grid and measure each.

    Args:
        labels: name → class number.
        pixel_size_mm: (row, column) of the image, or None when unknown.
        size: (rows, columns) of the image in native pixels.
        logits: of one image.
        features: φ [1, dim, height, width] that the mean logits were made from.
        covariance: of the head's weights, in the dtype and on the device of `features`.
        samples: how many to draw.
        generator: source of randomness, on the device of `features`.

    Returns:
        Quantity (`Measurement`) → its values, of the samples on which it could be measured.
    """
    mean, factor = logits.mean[0], logits.factor[0]
    heads = covariance.sample(samples, generator)
    noise = torch.randn(
        samples, factor.shape[1], generator=generator, dtype=mean.dtype, device=mean.device
    )
    phi = with_bias(features)
    cells = [pixels / count for pixels, count in zip(size, mean.shape[1:], strict=True)]
    unit = pixel_size_mm or (1.0, 1.0)
    cell_mm = (cells[0] * unit[0], cells[1] * unit[1])
    found: dict[str, list[float]] = {}
    for head, shared in zip(heads, noise, strict=True):
        drawn = mean + (phi @ head.T).T.view_as(mean) + torch.einsum("crhw,r->chw", factor, shared)
        shares = drawn.softmax(0).cpu().numpy()
        maps = {name: shares[number] for name, number in labels.items()}
        measured = measure_maps(maps, cell_mm).values
        for name, value in measured.items():
            area = name.startswith("area ")
            found.setdefault(name, []).append(value * cells[0] * cells[1] if area else value)
    return {name: np.array(values) for name, values in found.items()}
