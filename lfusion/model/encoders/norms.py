"""BatchNorm statistics of weights that come without them."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def recenter_batch_norm(module: nn.Module, batch: Tensor) -> None:
    """Give every BatchNorm the statistics of `batch` without changing the eval-mode function.

    Weights whose norm layers were folded away carry the identity as running statistics; training
    then starts from badly scaled parameters. Source: `shared/weights` model notes, our derivation.

    Args:
        module: any module; left in eval mode.
        batch: [B, 1 or 3, H, W], input of `module`.
    """
    module.eval()
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        (x,) = inputs
        seen[norm] = (x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False))

    handles = [norm.register_forward_pre_hook(note) for norm in norms]
    try:
        module(batch)
    finally:
        for handle in handles:
            handle.remove()
    for norm in norms:
        if norm.running_mean is None or norm.running_var is None:
            continue
        mean, variance = seen[norm]
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        norm.bias.add_(scale * (mean - norm.running_mean))
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def has_placeholder_norms(module: nn.Module) -> bool:
    """Whether every BatchNorm still carries mean 0 and variance 1, the statistics of no data."""
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    return bool(norms) and all(
        norm.running_mean is not None
        and norm.running_var is not None
        and bool((norm.running_mean == 0).all())
        and bool((norm.running_var == 1).all())
        for norm in norms
    )
