"""Lower precision where it pays, and only there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lfusion.training.config import Precision


@contextmanager
def reduced_precision(network: nn.Module, precision: Precision) -> Iterator[None]:
    """Compute forward passes in lower precision for as long as the block runs.

    Strided depthwise convolutions stay in float32: on a CPU their backward pass takes several
    times as long in bfloat16, up to a quarter of a training step (`docs/evidence/retraining.md`).

    Args:
        network: not to be copied inside the block.
        precision: "float32" changes nothing.
    """
    if precision == "float32":
        yield
        return
    kept = [m for m in network.modules() if _is_strided_depthwise(m)]
    for convolution in kept:
        convolution.forward = _in_float32(convolution.forward)
    device = next(network.parameters()).device
    try:
        with torch.autocast(device.type, torch.bfloat16):
            yield
    finally:
        for convolution in kept:
            del convolution.forward  # the method of the class is seen again


def _is_strided_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups > 1 and max(module.stride) > 1


def _in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def wide(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return forward(x.float())

    return wide
