"""A pretrained encoder that no training touches: what an image looks like, whatever the task.

Fine-tuning teaches an encoder to ignore what the task does not need, and with it what is unusual
about an image (method.md §7). The frozen copy keeps that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lfusion.image import UltrasoundImage
from lfusion.model.encoders import Encoder, EncoderConfig, build_encoder
from lfusion.model.encoders.neck import TokenPyramid
from lfusion.model.encoders.transformers import is_plain_transformer
from lfusion.model.input import resample

COARSEST = 16
"""Pixels per cell of the coarsest map in use; deeper maps know objects, not appearance."""


@dataclass(frozen=True)
class ReferenceConfig:
    """How the frozen encoder sees an image.

    Attributes:
        encoder: with the weights it was pretrained with.
        long_side: length of the image's longer side for this encoder, in px.
    """

    encoder: EncoderConfig
    long_side: int = 256


@dataclass(frozen=True, eq=False)
class Appearance:
    """What an image looks like to the frozen encoder.

    Attributes:
        statistics: mean and standard deviation inside the sector of every channel of every map.
        patches: the two coarsest maps, smoothed over 3 × 3 cells, one vector per coarse cell.
        sector: 1 inside the ultrasound fan, 0 outside.
    """

    statistics: Float[Tensor, " features"]
    patches: Float[Tensor, "channels height width"]
    sector: Float[Tensor, "height width"]


class ReferenceEncoder(nn.Module):
    """The frozen encoder down to stride 16; always in eval mode, without gradients."""

    def __init__(self, config: ReferenceConfig) -> None:
        """Build the encoder with random weights."""
        super().__init__()
        self.config = config
        self.encoder = build_encoder(_truncated(config.encoder))
        self.eval()
        self._drop_unused()
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)

    @classmethod
    def of(cls, pretrained: Encoder, config: ReferenceConfig) -> ReferenceEncoder:
        """Return a copy of an encoder that has its pretrained weights still."""
        reference = cls(config)
        own = reference.encoder.state_dict()
        state = pretrained.state_dict()
        reference.encoder.load_state_dict({key: state[key].clone() for key in own})
        return reference

    @torch.inference_mode()
    def forward(
        self, image: Float[Tensor, "1 1 height width"], sector: Float[Tensor, "1 1 h w"]
    ) -> Appearance:
        """Return the appearance of one image.

        Args:
            image: in [0, 1], in native pixels: resampled twice it would look blurred.
            sector: 1 inside the ultrasound fan, on any grid; an empty one counts as full.
        """
        height, width = image.shape[-2:]
        scale = self.config.long_side / max(height, width)
        rows, columns = (
            max(round(side * scale / COARSEST), 1) * COARSEST for side in (height, width)
        )
        maps = self._maps(resample(image, (rows, columns)))
        grid = maps[-1].shape[-2:]
        sector = resample(sector, (maps[0].shape[-2], maps[0].shape[-1]))
        inside = [_inside(sector, m) for m in maps]
        smooth = [nn.functional.avg_pool2d(m, 3, 1, 1) for m in maps[-2:]]
        return Appearance(
            statistics=torch.cat([_moments(m, i) for m, i in zip(maps, inside, strict=True)]),
            patches=torch.cat([resample(m, (grid[0], grid[1])) for m in smooth], 1)[0],
            sector=inside[-1],
        )

    def train(self, mode: bool = True) -> ReferenceEncoder:
        """Stay in eval mode."""
        return super().train(False)

    @torch.enable_grad()
    def _drop_unused(self) -> None:
        """Replace what no map depends on; some of timm's networks keep all their stages."""
        side = 4 * COARSEST
        maps = self._maps(torch.zeros(1, 1, side, side))
        torch.autograd.backward([m.sum() for m in maps])
        for name, module in list(self.encoder.named_modules()):
            weights = list(module.parameters())
            if name and weights and all(weight.grad is None for weight in weights):
                parent, _, child = name.rpartition(".")
                setattr(self.encoder.get_submodule(parent), child, nn.Identity())
        self.zero_grad(set_to_none=True)

    def _maps(self, image: Tensor) -> list[Tensor]:
        backbone = self.encoder.backbone
        if isinstance(backbone, TokenPyramid):  # its neck is not pretrained
            stride = backbone.stride
            rows, columns = (side // stride * backbone.patch for side in image.shape[-2:])
            rgb = resample(image, (rows, columns)).expand(-1, 3, -1, -1)
            return list(backbone.tokens((rgb - self.encoder.mean) / self.encoder.std))
        strides = self.encoder.reductions
        maps = self.encoder(image)
        return [m for m, stride in zip(maps, strides, strict=True) if stride <= COARSEST]


def appearance_of(encoder: ReferenceEncoder, image: UltrasoundImage) -> Appearance:
    """Return what an image looks like to the frozen encoder."""
    weight = next(encoder.parameters())
    pixels, sector = (
        torch.from_numpy(plane.astype(np.float32))[None, None].to(weight)
        for plane in (image.pixels, image.sector)
    )
    found: Appearance = encoder(pixels, sector)
    return found


def _truncated(config: EncoderConfig) -> EncoderConfig:
    """Leave out the stages beyond stride 16 where timm can."""
    kind, _, name = config.name.partition(":")
    if kind != "timm" or is_plain_transformer(name):
        return config
    reductions = build_encoder(config).reductions
    kept = [index for index, stride in enumerate(reductions) if stride <= COARSEST]
    return replace(config, options={**config.options, "out_indices": kept})


def _inside(sector: Tensor, values: Tensor) -> Tensor:
    height, width = values.shape[-2:]
    inside = (resample(sector, (height, width))[0, 0] > 0.5).to(values)
    return inside if inside.any() else torch.ones_like(inside)


def _moments(values: Tensor, inside: Tensor) -> Tensor:
    """Return mean and standard deviation [2 · channels] over the cells inside."""
    cells = values[0].movedim(0, -1)[inside > 0]  # rows lie together in channels-last memory
    variance, mean = torch.var_mean(cells, 0, correction=0)
    return torch.cat((mean, variance.sqrt()))
