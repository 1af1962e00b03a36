"""Published encoder weights from a local file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lfusion.errors import EncoderError
from lfusion.model.encoders.encoder import Encoder

_NESTS = ("state_dict", "model", "module")
"""Entries under which training scripts put the state dict."""
_PREFIXES = ("module.", "encoder.", "backbone.")
"""What wrappers put before every key of an encoder."""
_CONSTANT = ("num_batches_tracked", "relative_position_index")
"""Endings of entries that carry nothing learned; a file may leave them out."""


def load_encoder_weights(encoder: Encoder, path: Path) -> None:
    """Load published weights from a local file (safetensors, or a weights-only torch file).

    A file may hold more than the encoder uses, such as a classifier or a text tower.

    Raises:
        EncoderError: unreadable file, or a weight that is missing or of another shape.
    """
    state = _unwrap(_read(path), path.name)
    body = encoder.body
    try:
        converted = encoder.convert(state, body)
    except EncoderError as error:
        raise EncoderError(f"{path.name} does not fit the encoder: {error}") from error
    wanted = body.state_dict()
    missing = [key for key in wanted if key not in converted and not key.endswith(_CONSTANT)]
    if missing:
        raise EncoderError(
            f"{path.name} lacks {len(missing)} of the encoder's {len(wanted)} tensors, first "
            f"{missing[0]!r}; expected the weights of exactly this architecture, found "
            f"{len(state)} tensors, first {next(iter(state), 'none')!r}"
        )
    found = {key: converted[key] for key in wanted if key in converted}
    for key, tensor in found.items():
        if tensor.shape != wanted[key].shape:
            raise EncoderError(
                f"{path.name} does not fit the encoder: expected {key!r} of shape "
                f"{tuple(wanted[key].shape)}, found {tuple(tensor.shape)}"
            )
    body.load_state_dict(found, strict=False)


def pyramid_keys(state: Mapping[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    """Convert the keys of a timm classifier to those of its pyramid.

    `stages.0.` of the classifier is the flattened `stages_0.` of the pyramid.
    """
    flat = {_flat(key): value for key, value in state.items()}
    return {key: flat[_flat(key)] for key in body.state_dict() if _flat(key) in flat}


def _flat(key: str) -> str:
    return re.sub(r"^([A-Za-z]\w*)\.(\d+)\.", r"\1_\2.", key)


def _unwrap(content: Any, name: str) -> dict[str, Tensor]:
    """Find the state dict in what a training script saved."""
    for nest in _NESTS:
        if isinstance(content, dict) and isinstance(content.get(nest), dict):
            content = content[nest]
    if not isinstance(content, dict):
        raise EncoderError(f"{name} holds a {type(content).__name__}, expected a state dict")
    state = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    for prefix in _PREFIXES:
        within = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        state = within or state
    return state


def _read(path: Path) -> Any:
    if not path.is_file():
        raise EncoderError(f"expected a file with encoder weights, found none at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights_only refuses to execute anything a pickle may carry
        return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise EncoderError(f"{path.name} is not a readable weights file: {error}") from error
    except UnpicklingError as error:
        raise EncoderError(
            f"{path.name} holds more than weights and is not opened: {error}; "
            "convert it to safetensors"
        ) from error
