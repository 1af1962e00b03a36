"""Encoders by name: grey image in, feature pyramid out.

`timm:NAME` is any timm model with a feature pyramid; `tiny` is a three-stage
network for tests. Normalisation belongs to the encoder, because the right one
is a property of its weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lfusion.errors import EncoderError

GreyBatch = Float[Tensor, "batch 1 height width"]


@dataclass(frozen=True)
class EncoderConfig:
    """What identifies an encoder and how its input is prepared.

    Attributes:
        name: `timm:NAME` or `tiny`.
        options: keyword arguments for `timm.create_model`, for instance
            `{"pad_type": "same"}` for weights that come from TensorFlow.
        mean: per RGB channel, subtracted from an image in [0, 1]; `None` takes timm's value.
        std: per RGB channel, divided by; `None` takes timm's value.
    """

    name: str = "timm:mobilenetv2_100"
    options: Mapping[str, Any] = field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class Encoder(nn.Module):
    """A backbone with its input normalisation; its norm layers never leave eval mode.

    Attributes:
        channels: channels of each map, finest first.
        reductions: stride of each map against the input, finest first.
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
    ) -> None:
        """Wrap `backbone`, a module that maps [B, 3, H, W] to a list of maps."""
        super().__init__()
        self.backbone = backbone
        self.channels = channels
        self.reductions = reductions
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

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


def build_encoder(config: EncoderConfig, *, pretrained: bool = False) -> Encoder:
    """Build the encoder that `config` names.

    Args:
        config: name, options and normalisation.
        pretrained: fetch the weights from timm's hub; needs a network connection.

    Raises:
        EncoderError: unknown name, a model without a feature pyramid, or no network.
    """
    if config.name == "tiny":
        tiny = _TinyBackbone()
        half = (0.5, 0.5, 0.5)
        return Encoder(tiny, tiny.channels, (2, 4, 8), config.mean or half, config.std or half)
    kind, _, name = config.name.partition(":")
    if kind != "timm" or not name:
        raise EncoderError(
            f"expected an encoder named 'timm:NAME' or 'tiny', got {config.name!r}; "
            "timm.list_models() lists the names"
        )
    try:
        backbone = timm.create_model(
            name, pretrained=pretrained, features_only=True, **dict(config.options)
        )
    except OSError as error:
        raise EncoderError(
            f"the weights of {name!r} could not be fetched from the hub ({error}); "
            "give a local file with --encoder-weights"
        ) from error
    except (RuntimeError, TypeError, AttributeError, AssertionError) as error:
        raise EncoderError(f"timm cannot make a feature pyramid of {name!r}: {error}") from error
    info = cast("timm.models.FeatureInfo", backbone.feature_info)
    defaults = cast("Mapping[str, Any]", backbone.pretrained_cfg)
    return Encoder(
        backbone,
        tuple(info.channels()),
        tuple(info.reduction()),
        config.mean or tuple(defaults["mean"]),
        config.std or tuple(defaults["std"]),
    )


def load_encoder_weights(encoder: Encoder, path: Path) -> None:
    """Load backbone weights from a local file (safetensors, or a weights-only torch file).

    Keys of a full classifier are accepted: what the pyramid does not use is left out,
    and `stages.0.` finds its flattened form `stages_0.`.

    Raises:
        EncoderError: unreadable file, or a pyramid weight that is missing or of another shape.
    """
    state = {_flat(key): value for key, value in _read_state(path).items()}
    wanted = encoder.backbone.state_dict()
    missing = [key for key in wanted if _flat(key) not in state and "num_batches" not in key]
    if missing:
        raise EncoderError(
            f"{path.name} lacks {len(missing)} of the encoder's {len(wanted)} tensors, "
            f"first {missing[0]!r}; expected the weights of exactly this architecture"
        )
    found = {key: state[_flat(key)] for key in wanted if _flat(key) in state}
    try:
        encoder.backbone.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise EncoderError(f"{path.name} does not fit the encoder: {error}") from error


def _flat(key: str) -> str:
    return re.sub(r"^([A-Za-z]\w*)\.(\d+)\.", r"\1_\2.", key)


def _read_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise EncoderError(f"expected a file with encoder weights, found none at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights_only refuses to execute anything a pickle may carry
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise EncoderError(f"{path.name} is not a readable weights file: {error}") from error
    except UnpicklingError as error:
        raise EncoderError(
            f"{path.name} holds more than weights and is not opened: {error}; "
            "convert it to safetensors"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict):
        raise EncoderError(f"{path.name} holds a {type(state).__name__}, expected a state dict")
    return cast("dict[str, Tensor]", state)


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
