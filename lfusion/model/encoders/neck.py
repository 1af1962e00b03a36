"""From the tokens of a plain vision transformer to a feature pyramid.

Four blocks, evenly spaced over the depth, each give one level of strides 4, 8, 16 and 32: the
earliest block the finest. Every level normalises the tokens, narrows them and then brings them to
its stride by transposed convolutions or pooling.
Source: ViTDet's simple feature pyramid (arXiv:2203.16527) on intermediate blocks as in BEiT's
UPerNet (arXiv:2106.08254).

A patch size that is no power of two has no pyramid of integer strides. The image is then resampled
before the transformer so that one token covers 2^k pixels of the input: for patch 14 by 14/16.
"""

from __future__ import annotations

import math

from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from lfusion.model.input import resample

STRIDES = (4, 8, 16, 32)
_WIDTH = 256


def spread_blocks(depth: int) -> list[int]:
    """Return the four block indices whose outputs make the pyramid; the last is the deepest.

    Example:
        >>> spread_blocks(12), spread_blocks(24)
        ([2, 5, 8, 11], [5, 11, 17, 23])
    """
    if depth < len(STRIDES):
        raise ValueError(f"expected a transformer of at least {len(STRIDES)} blocks, got {depth}")
    return [depth * level // len(STRIDES) - 1 for level in range(1, len(STRIDES) + 1)]


class TokenPyramid(nn.Module):
    """Four maps of strides 4, 8, 16 and 32 from a transformer's tokens.

    Args:
        tokens: maps [B, 3, H, W], both sides multiples of `patch`, to four [B, `width`,
            H / patch, W / patch], the earliest block first.
        width: channels of the tokens.
        patch: pixels per side of a token.

    Attributes:
        channels: channels of the maps, finest first.
    """

    def __init__(self, tokens: nn.Module, width: int, patch: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.patch = patch
        self.stride = min(max(2 ** round(math.log2(patch)), STRIDES[0]), STRIDES[-1])
        levels = [_level(width, self.stride, stride) for stride in STRIDES]
        self.levels = nn.ModuleList(level for level, _ in levels)
        self.channels = tuple(channels for _, channels in levels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps of [B, 3, H, W].

        Raises:
            ValueError: a side is no multiple of 32.
        """
        height, width = image.shape[-2:]
        if height % STRIDES[-1] or width % STRIDES[-1]:
            raise ValueError(
                f"expected sides that are multiples of {STRIDES[-1]}, got {height} x {width}; "
                f"pad by {-height % STRIDES[-1]} and {-width % STRIDES[-1]}"
            )
        rows, columns = (side // self.stride * self.patch for side in (height, width))
        tokens = self.tokens(resample(image, (rows, columns)))
        return [level(x) for level, x in zip(self.levels, tokens, strict=True)]


def _level(width: int, source: int, target: int) -> tuple[nn.Module, int]:
    """One level of the pyramid and its number of channels; every doubling halves them."""
    channels = min(width, _WIDTH)
    layers: list[nn.Module] = [LayerNorm2d(width), nn.Conv2d(width, channels, 1)]
    for _ in range(int(math.log2(source // target)) if source > target else 0):
        layers += [nn.GELU(), nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)]
        channels //= 2
    if source < target:
        layers.append(nn.MaxPool2d(target // source))
    return nn.Sequential(*layers), channels
