"""The frozen encoder and what normal images look like to it, as part of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lfusion.checkpoint.storage import below, half
from lfusion.model.encoders import EncoderConfig
from lfusion.model.reference import Appearance, ReferenceConfig, ReferenceEncoder
from lfusion.uncertainty.normative import NormalDensity, NormativeModel

_DENSITIES = ("image", "patch")


@dataclass(frozen=True, eq=False)
class Reference:
    """What is normal, independent of the segmentation.

    Attributes:
        encoder: frozen, with its pretrained weights.
        normative: of the images that the model was trained on.
    """

    encoder: ReferenceEncoder
    normative: NormativeModel

    def to(self, like: Tensor) -> Reference:
        """Return the same on the device of `like`."""
        return Reference(self.encoder.to(like.device), self.normative)

    def distance_features(
        self, appearance: Appearance, count: int
    ) -> Float[Tensor, "1 count height width"]:
        """Return the first principal components of the patches, on their own coarse grid.

        Appended to φ with MAP weight zero they leave the mask alone and tell the posterior how
        far the look of a pixel is from the labelled images (method.md §7, distance-aware head).
        """
        patch = self.normative.patch.to(appearance.patches)
        leading = NormalDensity(patch.mean, patch.whitening[:, :count])
        return leading.whitened(appearance.patches.movedim(0, -1)).movedim(-1, 0)[None]


def reference_content(reference: Reference) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors to store."""
    state = reference.encoder.encoder.state_dict()
    tensors = {f"encoder.{name}": half(name, value) for name, value in state.items()}
    for name in _DENSITIES:
        density: NormalDensity = getattr(reference.normative, name)
        tensors[f"{name}.mean"] = density.mean.cpu().float().contiguous()
        tensors[f"{name}.whitening"] = density.whitening.cpu().float().contiguous()
    for name, way in reference.normative.directions.items():
        tensors[f"direction.{name}"] = way.cpu().float().contiguous()
    return asdict(reference.encoder.config), tensors


def restored_reference(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Reference:
    """Return what `reference_content` described."""
    described = dict(content["encoder"])
    for key in ("mean", "std"):
        described[key] = None if described[key] is None else tuple(described[key])
    config = ReferenceConfig(EncoderConfig(**described), int(content["long_side"]))
    encoder = ReferenceEncoder(config)
    encoder.encoder.load_state_dict(below("encoder.", tensors), strict=True)
    image, patch = (
        NormalDensity(tensors[f"{name}.mean"].double(), tensors[f"{name}.whitening"].double())
        for name in _DENSITIES
    )
    ways = below("direction.", tensors)  # safetensors keeps no order
    directions = {name: ways[name].double() for name in sorted(ways)}
    return Reference(encoder, NormativeModel(image, patch, directions))


@torch.no_grad()
def round_reference(encoder: ReferenceEncoder) -> None:
    """Round the weights to what a file keeps, so that the densities are fitted on just those."""
    for tensor in (*encoder.parameters(), *encoder.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
