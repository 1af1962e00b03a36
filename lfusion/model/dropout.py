"""Dropout without a mode: where the masks come from is an argument, not a state of the module."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.errors import DropoutError

DROPOUT_SEED = 0
"""Of the masks of every image: a prediction repeats, and images are compared on equal terms."""


@dataclass(frozen=True, eq=False)
class ChannelDropout:
    """What `nn.Dropout2d` does in training, with masks of one's own generator.

    The module draws from the global generator, and only after `train()`: neither can be had while
    other threads predict with the same network.

    Attributes:
        rate: share of the channels that are set to zero, below 1.
        generator: on the CPU, so that every device sees the same masks; each call moves it on.
    """

    rate: float
    generator: torch.Generator

    def __call__(
        self, features: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the features with some channels at zero and the others scaled up for them."""
        keep = torch.rand(features.shape[:2], generator=self.generator) >= self.rate
        return features * (keep.to(features) / (1 - self.rate))[:, :, None, None]


def fixed_masks() -> torch.Generator:
    """Return the source of masks of a prediction, at its beginning."""
    return torch.Generator().manual_seed(DROPOUT_SEED)


def checked_passes(passes: int, rate: float) -> int:
    """Return the number of dropout passes of a network trained at this rate.

    Raises:
        DropoutError: 1 or a negative number, or above 0 with a rate of 0.
    """
    if passes < 0 or passes == 1:
        raise DropoutError(f"expected 0 dropout passes (off) or at least 2, got {passes}")
    if passes and not rate > 0:
        raise DropoutError(
            f"{passes} dropout passes were asked of a network trained without dropout, which knows "
            "nothing of it; use 0 passes, or train with a dropout rate above 0"
        )
    return passes
