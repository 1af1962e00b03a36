"""A second opinion on one feature pyramid, for the time of a training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

DILATIONS = (1, 2, 4)
"""Of the residual blocks, in cells of the middle map."""


class _ResidualBlock(nn.Module):
    """x + what a dilated 3×3 convolution sees around it."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, bias=False),
            nn.GroupNorm(8, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = functional.relu(features + self.layers(features))
        return out


class SecondDecoder(nn.Module):
    """Reads the pyramid in another way than `UNetDecoder`, so that its errors are others.

    Where the U-Net climbs level by level (nearest neighbours, concatenated skips, plain blocks),
    this one brings the coarse maps to a middle stride, looks around in residual dilated blocks and
    comes down in one bilinear step to which only the finest map is added.

    Args:
        channels: channels of the pyramid, finest map first.
        feature_dim: D, channels of its features; a multiple of 8.
        classes: C, background included.

    Source:
        Our own, after DeepLabv3+ (Chen et al., ECCV 2018, arXiv 1802.02611).
    """

    def __init__(self, channels: Sequence[int], feature_dim: int, classes: int) -> None:
        super().__init__()
        self._middle = min(2, len(channels) - 1)
        width = 2 * feature_dim
        self.coarse = nn.Conv2d(sum(channels[self._middle :]), width, 1)
        self.blocks = nn.Sequential(*(_ResidualBlock(width, dilation) for dilation in DILATIONS))
        self.down = nn.Conv2d(width, feature_dim, 1)
        self.fine = nn.Conv2d(channels[0], feature_dim, 1)
        self.join = nn.Sequential(
            nn.GroupNorm(8, feature_dim),
            nn.ReLU(inplace=True),
            nn.Conv2d(feature_dim, feature_dim, 3, padding=1, bias=False),
            nn.GroupNorm(8, feature_dim),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Conv2d(feature_dim, classes, 1)

    def features(self, pyramid: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Return its features [batch, D, *grid] of a pyramid, finest map first, cut to a grid."""
        fine, middle = pyramid[0], pyramid[self._middle]
        coarse = torch.cat([_scaled(level, middle) for level in pyramid[self._middle :]], 1)
        context = self.down(self.blocks(functional.relu(self.coarse(coarse))))
        features: Tensor = self.join(_scaled(context, fine) + self.fine(fine))
        return features[..., : grid[0], : grid[1]]


def _scaled(values: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(values, like.shape[-2:], mode="bilinear", align_corners=False)
