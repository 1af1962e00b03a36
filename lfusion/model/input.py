"""From native pixels to the grid the network works on.

An image is resampled, antialiased, so that its longer side has a fixed length and its shape is
kept; both sides are multiples of the feature stride, so that the feature grid covers exactly the
image and one linear resampling leads back to native pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lfusion.types import BoolMap, GreyImage


@dataclass(frozen=True)
class InputSpec:
    """How an image is brought to the network.

    Attributes:
        long_side: length of the longer side on the working grid, in px.
    """

    long_side: int = 320

    def working_size(self, height: int, width: int, stride: int) -> tuple[int, int]:
        """Return (height, width) on the working grid, multiples of `stride`.

        Example:
            >>> InputSpec(320).working_size(540, 800, 2)
            (216, 320)
        """
        scale = self.long_side / max(height, width)
        rows, columns = (max(1, round(side * scale / stride)) * stride for side in (height, width))
        return rows, columns

    def prepare(
        self, pixels: GreyImage, sector: BoolMap, stride: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Return the image on the working grid and the sector on the feature grid.

        Args:
            pixels: [H, W] in [0, 1].
            sector: [H, W].
            stride: working pixels per cell of the feature grid.
            device: where the tensors go.

        Returns:
            [1, 1, h, w] in [0, 1] and [1, 1, h/stride, w/stride] in {0, 1}.
        """
        rows, columns = pixels.shape
        height, width = self.working_size(rows, columns, stride)
        image = resample(torch.from_numpy(pixels).to(device)[None, None], (height, width))
        cells = (height // stride, width // stride)
        inside = torch.from_numpy(sector).to(device, torch.float32)[None, None]
        return image.clamp(0.0, 1.0), (resample(inside, cells) > 0.5).float()


def resample(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resample [batch, channel, height, width] linearly, antialiased when it gets smaller."""
    if tuple(values.shape[-2:]) == size:
        return values
    smaller = size[0] < values.shape[-2] or size[1] < values.shape[-1]
    return functional.interpolate(
        values, size, mode="bilinear", align_corners=False, antialias=smaller
    )
