"""U-Net decoder: feature pyramid in, penultimate features φ out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class _Block(nn.Module):
    """Upsample, join the skip, two 3×3 convolutions.

    GroupNorm rather than BatchNorm: it knows no batch, so one image and many give
    the same features and no running statistic goes stale in a quick retraining.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.GroupNorm(8, outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        up = functional.interpolate(coarse, skip.shape[-2:], mode="nearest")
        out: Tensor = self.layers(torch.cat((up, skip), 1))
        return out


class UNetDecoder(nn.Module):
    """Joins the pyramid from its coarsest to its finest map.

    Args:
        channels: channels of the pyramid, finest map first.
        feature_dim: D, channels of φ; a multiple of 8.
        dropout: rate of the channel dropout between the blocks, active in training only.
    """

    def __init__(self, channels: Sequence[int], feature_dim: int, dropout: float) -> None:
        super().__init__()
        skips = list(reversed(channels[:-1]))
        widths = [max(feature_dim, min(128, 8 * round(skip / 6) + 32)) for skip in skips]
        widths[-1] = feature_dim
        inputs = [channels[-1], *widths[:-1]]
        self.blocks = nn.ModuleList(
            _Block(i + s, w) for i, s, w in zip(inputs, skips, widths, strict=True)
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(
        self, pyramid: Sequence[Tensor], dropout: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return φ [B, D, h, w] on the grid of the finest map.

        Args:
            pyramid: finest map first.
            dropout: between the blocks in place of the module's own, whatever the mode.
        """
        drop = self.dropout if dropout is None else dropout
        features, *skips = reversed(pyramid)
        for level, (block, skip) in enumerate(zip(self.blocks, skips, strict=True)):
            features = block(drop(features) if level else features, skip)
        return features
