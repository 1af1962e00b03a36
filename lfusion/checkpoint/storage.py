"""Tensors as a checkpoint keeps them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfusion.errors import CheckpointError


def half(name: str, tensor: Tensor) -> Tensor:
    """Return a weight in float16 on the CPU; integers as they are.

    Raises:
        CheckpointError: the weight does not fit.
    """
    if not tensor.is_floating_point():
        return tensor.cpu().contiguous()
    stored = tensor.detach().cpu().half().contiguous()
    if not torch.isfinite(stored).all():
        raise CheckpointError(f"the weights {name!r} are not finite in float16: training diverged")
    return stored


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def arrays(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float64]]:
    """Return the same as NumPy arrays."""
    return {name: value.numpy() for name, value in below(prefix, tensors).items()}
