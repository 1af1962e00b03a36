"""Plain vision transformers of timm as sources of tokens for the pyramid."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
from timm.models.beit import Beit, gen_relative_position_index
from torch import Tensor, nn
from torch.nn import functional

from lfusion.errors import EncoderError
from lfusion.model.encoders.encoder import Encoder, EncoderConfig
from lfusion.model.encoders.neck import STRIDES, TokenPyramid, spread_blocks

_ANY_SIZE = ("vision_transformer", "eva", "deit")
"""timm modules whose models take any size that the patch divides: ViT, DINOv2/3, CLIP, SigLIP."""


def is_plain_transformer(name: str) -> bool:
    """Whether timm's model `name` is a plain transformer that the pyramid can be built on."""
    return bool(timm.models.is_model_in_modules(name, (*_ANY_SIZE, "beit")))


def build_transformer(name: str, config: EncoderConfig, *, pretrained: bool = False) -> Encoder:
    """Build timm's plain transformer `name` with a pyramid.

    Args:
        name: timm's name, with or without a tag.
        config: options and normalisation.
        pretrained: fetch the weights from timm's hub.
    """
    any_size = timm.models.is_model_in_modules(name, _ANY_SIZE)
    sizes = {"dynamic_img_size": True} if any_size else {}
    model: Any = timm.create_model(
        name, pretrained=pretrained, **{"num_classes": 0, **sizes, **dict(config.options)}
    )
    tokens = BeitTokens(model) if isinstance(model, Beit) else TransformerTokens(model)
    pyramid = TokenPyramid(tokens, int(model.embed_dim), int(model.patch_embed.patch_size[0]))
    defaults = cast("Mapping[str, Any]", model.pretrained_cfg)
    return Encoder(
        pyramid,
        pyramid.channels,
        STRIDES,
        config.mean or tuple(defaults["mean"]),
        config.std or tuple(defaults["std"]),
        beit_keys if isinstance(model, Beit) else transformer_keys,
    )


class TransformerTokens(nn.Module):
    """The tokens of four blocks of a timm transformer that takes any size."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit = vit
        self.blocks = spread_blocks(len(vit.blocks))
        vit.prune_intermediate_layers(self.blocks, prune_norm=True, prune_head=True)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps of four blocks, the earliest first."""
        maps = self.vit.forward_intermediates(image, self.blocks, intermediates_only=True)
        return cast("list[Tensor]", maps)


class BeitTokens(nn.Module):
    """The tokens of four blocks of a BEiT on any size.

    timm's BEiT works on the one size that its tables of relative position biases are for. Here
    the tables are held beside the transformer and are resampled for the grid at hand.
    """

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit = vit
        self.blocks = spread_blocks(len(vit.blocks))
        self.window: tuple[int, int] = tuple(vit.patch_embed.grid_size)
        self.tables = nn.ParameterList(
            block.attn.relative_position_bias_table for block in vit.blocks
        )
        for block in vit.blocks:
            block.attn.relative_position_bias_table = None
            block.attn.relative_position_index = None
        vit.patch_embed.strict_img_size = False
        vit.prune_intermediate_layers(self.blocks, prune_norm=True, prune_head=True)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the maps of four blocks, the earliest first."""
        height, width = self.vit.patch_embed.dynamic_feat_size(image.shape[-2:])
        index = gen_relative_position_index((height, width), device=image.device)
        x = self.vit.patch_embed(image)
        x = torch.cat((self.vit.cls_token.expand(len(x), -1, -1), x), 1)
        maps = []
        for number, (block, table) in enumerate(zip(self.vit.blocks, self.tables, strict=True)):
            bias = resample_bias(table, self.window, (height, width))[index].movedim(-1, 0)
            x = block(x, shared_rel_pos_bias=bias[None])
            if number in self.blocks:
                maps.append(x[:, 1:].transpose(1, 2).unflatten(2, (height, width)))
        return maps


def resample_bias(table: Tensor, window: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Resample a table of relative position biases from one grid of tokens to another.

    Args:
        table: [(2h − 1)(2w − 1) + 3, heads]; the last three rows are for the class token.
        window: (h, w) that the table is for.
        grid: (h', w') wanted.

    Returns:
        [(2h' − 1)(2w' − 1) + 3, heads]; the table itself when nothing changes.
    """
    if window == grid:
        return table
    offsets = table[:-3].T.reshape(-1, 2 * window[0] - 1, 2 * window[1] - 1)
    size = (2 * grid[0] - 1, 2 * grid[1] - 1)
    resampled = functional.interpolate(offsets[None], size, mode="bicubic", align_corners=False)[0]
    return torch.cat((resampled.flatten(1).T, table[-3:]))


def transformer_keys(state: Mapping[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    """Convert a file's keys to those of `TransformerTokens` with timm's own conversion.

    timm knows its own layout and those of open_clip (`visual.*`), DINOv2 and DINOv3, and resamples
    the position embedding of another image size.

    Raises:
        EncoderError: the tensors are not those of a transformer like `body`.
    """
    vit: Any = body.vit
    convert = sys.modules[type(vit).__module__].checkpoint_filter_fn
    try:
        converted = convert(dict(state), vit)
    except (RuntimeError, ValueError, KeyError, AssertionError) as error:
        raise EncoderError(
            f"the tensors are not those of a {type(vit).__name__} with "
            f"{len(vit.blocks)} blocks of width {vit.embed_dim}: {error}"
        ) from error
    return {f"vit.{key}": value for key, value in converted.items()}


def beit_keys(state: Mapping[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    """Convert a BEiT's keys to those of `BeitTokens`.

    A pretrained BEiT has one table of relative position biases for all blocks, a fine-tuned one
    has a table per block; the one is copied to every block.
    """
    shared = state.get("rel_pos_bias.relative_position_bias_table")
    converted = {f"vit.{key}": value for key, value in state.items()}
    for number in range(len(cast("Any", body).tables)):
        own = state.get(f"blocks.{number}.attn.relative_position_bias_table", shared)
        if own is not None:
            converted[f"tables.{number}"] = own
    return converted
