"""Low-rank adapters: train a few numbers of a large encoder, keep plain weights.

Source: LoRA (arXiv:2106.09685), from the peft library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from lfusion._optional import require
from lfusion.errors import TrainingError
from lfusion.model import Encoder

_ATTENTION = r"(.*\.)?attn\.(qkv|q_proj|k_proj|v_proj|proj)"
"""The linear layers of attention in timm's and MONAI's transformers."""


@contextmanager
def low_rank_adapters(encoder: Encoder, rank: int) -> Iterator[None]:
    """Train `encoder` by adapters for as long as the block runs.

    Adapted are the linear layers of its attention or, without attention, its 1×1 convolutions and
    linear layers, which hold most of a modern convolutional network. Its other pretrained weights
    stand still; the neck of a transformer is trained as ever. At the end of the block the adapters
    are added into the weights, so that nothing of them is left.

    Args:
        encoder: changed in place.
        rank: of each adapter; 0 leaves the encoder as it is.

    Raises:
        TrainingError: the encoder has no such layer.
        MissingExtraError: peft is not installed.
    """
    if rank == 0:
        yield
        return
    body = encoder.body
    targets = _attention(body) or _pointwise(body)
    if not targets:
        raise TrainingError(
            "expected an encoder with attention, 1×1 convolutions or linear layers, such as a ViT "
            f"or a MobileNet, for low-rank adapters of rank {rank}; this one has none, train it "
            "with rank 0"
        )
    require("peft", extra="torch")
    from peft import LoraConfig, LoraModel

    # such an attention takes the weight out of its layer, and so would pass by the adapter
    fused = [m for m in body.modules() if getattr(m, "qkv_bias_separate", None) is False]
    _separate_bias(fused, True)
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets)
    adapted = LoraModel(body, config, "default")
    try:
        yield
    finally:
        adapted.merge_and_unload()
        body.requires_grad_(True)
        _separate_bias(fused, False)


def _attention(body: nn.Module) -> list[str]:
    return [name for name, _ in body.named_modules() if re.fullmatch(_ATTENTION, name)]


def _pointwise(body: nn.Module) -> list[str]:
    return [
        name
        for name, m in body.named_modules()
        if isinstance(m, nn.Linear)
        or (isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.groups == 1)
    ]


def _separate_bias(attentions: list[nn.Module], separate: bool) -> None:
    for attention in attentions:
        attention.qkv_bias_separate = separate  # type: ignore[assignment]
