"""Encoder → decoder → head: the network whose last layer the posterior is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lfusion.model.decoder import UNetDecoder
from lfusion.model.distribution import LogitDistribution
from lfusion.model.dropout import ChannelDropout
from lfusion.model.encoders import EncoderConfig, build_encoder
from lfusion.model.head import StochasticHead


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to build the network anew before its weights are loaded.

    Attributes:
        encoder: the encoder and its input normalisation.
        classes: C ≥ 2, background included.
        feature_dim: D, channels of the penultimate features φ; a multiple of 8.
        rank: R, rank of the logit covariance between pixels.
        dropout: training rate of the dropout in the decoder and before the head.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    classes: int = 2
    feature_dim: int = 32
    rank: int = 10
    dropout: float = 0.1

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready copy."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkConfig:
        """Invert `as_dict`."""
        encoder = dict(values["encoder"])
        for key in ("mean", "std"):
            encoder[key] = tuple(encoder[key]) if encoder[key] is not None else None
        return cls(**{**values, "encoder": EncoderConfig(**encoder)})


class SegmentationNetwork(nn.Module):
    """Grey image → features φ → logit distribution.

    Attributes:
        stride: pixels of the input per cell of the feature grid.
    """

    def __init__(self, config: NetworkConfig) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.config = config
        self.encoder = build_encoder(config.encoder)
        self.decoder = UNetDecoder(self.encoder.channels, config.feature_dim, config.dropout)
        self.head = StochasticHead(config.feature_dim, config.classes, config.rank, config.dropout)
        self.stride = self.encoder.reductions[0]
        self.to(memory_format=torch.channels_last)  # about a tenth faster on a CPU

    def features(self, image: Tensor) -> Tensor:
        """Return φ [batch, D, ⌈height/stride⌉, ⌈width/stride⌉] of [batch, 1, height, width].

        A size that the coarsest stride does not divide is padded by its border and cut back.
        """
        return self.decode(self.encode(image), self.grid(image))

    def grid(self, image: Tensor) -> tuple[int, int]:
        """Return the size of the feature grid of an image."""
        height, width = image.shape[-2:]
        return -(-height // self.stride), -(-width // self.stride)

    def encode(self, image: Tensor) -> Sequence[Tensor]:
        """Return the feature pyramid of the padded image, finest map first."""
        height, width = image.shape[-2:]
        coarsest = self.encoder.reductions[-1]
        padding = (0, -width % coarsest, 0, -height % coarsest)
        if any(padding):
            image = functional.pad(image, padding, mode="replicate")
        pyramid: Sequence[Tensor] = self.encoder(image)
        return pyramid

    def decode(self, pyramid: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Return φ of a pyramid, cut back to the grid of the image that it came from."""
        features: Tensor = self.decoder(pyramid)
        return features[..., : grid[0], : grid[1]]

    def dropout_features(
        self, pyramid: Sequence[Tensor], grid: tuple[int, int], generator: torch.Generator
    ) -> Tensor:
        """Return φ of one pass with the dropout of the decoder and of the head, in any mode.

        Nothing of the module changes, and the rate is that of the training.

        Args:
            pyramid: of `encode`; one serves any number of passes.
            grid: size to cut back to.
            generator: of the masks, on the CPU.
        """
        dropout = ChannelDropout(self.config.dropout, generator)
        features: Tensor = self.decoder(pyramid, dropout)
        return dropout(features)[..., : grid[0], : grid[1]]

    def forward(self, image: Tensor, sector: Tensor) -> LogitDistribution:
        """Return the logit distribution on the feature grid.

        Args:
            image: [batch, 1, height, width] in [0, 1].
            sector: [batch, 1, h, w] on the feature grid, 1 inside the ultrasound fan.
        """
        distribution: LogitDistribution = self.head(self.features(image), sector)
        return distribution
