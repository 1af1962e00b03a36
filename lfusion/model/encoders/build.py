"""From an encoder's name to the encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import timm
from torch import Tensor, nn

from lfusion.errors import EncoderError
from lfusion.model.encoders.encoder import Encoder, EncoderConfig
from lfusion.model.encoders.foundation import build_echocare, build_fetalclip, build_usfm
from lfusion.model.encoders.transformers import build_transformer, is_plain_transformer
from lfusion.model.encoders.weights import pyramid_keys


class _TinyBackbone(nn.Module):
    """Three strided convolutions: enough to test everything around an encoder."""

    channels = (8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *self.channels[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(i, o, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()
            )
            for i, o in zip(inputs, self.channels, strict=True)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def _build_tiny(config: EncoderConfig) -> Encoder:
    tiny = _TinyBackbone()
    half = (0.5, 0.5, 0.5)
    return Encoder(
        tiny, tiny.channels, (2, 4, 8), config.mean or half, config.std or half, pyramid_keys
    )


_NAMED: Mapping[str, Callable[[EncoderConfig], Encoder]] = {
    "tiny": _build_tiny,
    "fetalclip": build_fetalclip,
    "usfm": build_usfm,
    "echocare": build_echocare,
}


def build_encoder(config: EncoderConfig, *, pretrained: bool = False) -> Encoder:
    """Build the encoder that `config` names.

    Args:
        config: name, options and normalisation.
        pretrained: fetch the weights from timm's hub; needs a network connection.

    Raises:
        EncoderError: unknown name, a model without a feature pyramid, or no network.
        MissingExtraError: the encoder needs a package that is not installed.
    """
    kind, _, name = config.name.partition(":")
    if config.name not in _NAMED and (kind != "timm" or not name):
        raise EncoderError(
            f"expected an encoder named 'timm:NAME' or one of {', '.join(_NAMED)}, got "
            f"{config.name!r}; `lfusion encoders` and timm.list_models() list the names"
        )
    if config.name in _NAMED and pretrained:
        raise EncoderError(
            f"the weights of {config.name!r} are on no hub; give a local file with "
            "--encoder-weights, `lfusion encoders` says where to get it"
        )
    try:
        if config.name in _NAMED:
            return _NAMED[config.name](config)
        if is_plain_transformer(name):
            return build_transformer(name, config, pretrained=pretrained)
        return _build_pyramid(name, config, pretrained)
    except OSError as error:
        raise EncoderError(
            f"the weights of {config.name!r} could not be fetched from the hub ({error}); "
            "give a local file with --encoder-weights"
        ) from error
    except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise EncoderError(f"cannot make a feature pyramid of {config.name!r}: {error}") from error


def _build_pyramid(name: str, config: EncoderConfig, pretrained: bool) -> Encoder:
    """Any timm model that gives maps of several strides."""
    backbone = timm.create_model(
        name, pretrained=pretrained, features_only=True, **dict(config.options)
    )
    info = cast("timm.models.FeatureInfo", backbone.feature_info)
    reductions = tuple(info.reduction())
    if len(set(reductions)) == 1:
        raise EncoderError(
            f"expected a model with maps of several strides, {name!r} has stride "
            f"{reductions[0]} only and is no ViT, DINO, CLIP or BEiT of timm"
        )
    defaults = cast("Mapping[str, Any]", backbone.pretrained_cfg)
    return Encoder(
        backbone,
        tuple(info.channels()),
        reductions,
        config.mean or tuple(defaults["mean"]),
        config.std or tuple(defaults["std"]),
        pyramid_keys,
    )
