"""The encoder: a backbone, its pyramid, and how its input is normalised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lfusion.model.encoders.neck import TokenPyramid

GreyBatch = Float[Tensor, "batch 1 height width"]
Rgb: TypeAlias = tuple[float, float, float]
KeyConversion: TypeAlias = Callable[[Mapping[str, Tensor], nn.Module], dict[str, Tensor]]
"""(state dict of a published file, `Encoder.body`) → state dict of the body."""


@dataclass(frozen=True)
class EncoderConfig:
    """What identifies an encoder and how its input is prepared.

    Attributes:
        name: `timm:NAME`, `fetalclip`, `usfm`, `echocare` or `tiny`.
        options: keyword arguments for the model's constructor, for instance
            `{"pad_type": "same"}` for timm weights that come from TensorFlow.
        mean: per RGB channel, subtracted from an image in [0, 1]; `None` takes the encoder's.
        std: per RGB channel, divided by; `None` takes the encoder's.
    """

    name: str = "timm:mobilenetv2_100"
    options: Mapping[str, Any] = field(default_factory=dict)
    mean: Rgb | None = None
    std: Rgb | None = None


class Encoder(nn.Module):
    """A backbone with its input normalisation; its norm layers never leave eval mode.

    Attributes:
        channels: channels of each map, finest first.
        reductions: stride of each map against the input, finest first.
        convert: from the keys of a published weights file to those of `body`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        channels: tuple[int, ...],
        reductions: tuple[int, ...],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        convert: KeyConversion,
    ) -> None:
        """Wrap `backbone`, a module that maps [B, 3, H, W] to a sequence of maps."""
        super().__init__()
        self.backbone = backbone
        self.channels = channels
        self.reductions = reductions
        self.convert = convert
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def body(self) -> nn.Module:
        """The part that published weights are for: all but the neck of a transformer."""
        return self.backbone.tokens if isinstance(self.backbone, TokenPyramid) else self.backbone

    def forward(self, image: GreyBatch) -> list[Tensor]:
        """Return the pyramid of a grey image in [0, 1], finest map first."""
        maps = self.backbone((image.expand(-1, 3, -1, -1) - self.mean) / self.std)
        return cast("list[Tensor]", list(maps))

    def train(self, mode: bool = True) -> Encoder:
        """Set the mode, but keep norm layers in eval: a handful of images is no statistic."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self
