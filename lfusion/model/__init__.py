"""Image → features → logit distribution."""

from lfusion.model.distribution import LogitDistribution
from lfusion.model.encoders import Encoder, EncoderConfig, build_encoder, load_encoder_weights
from lfusion.model.network import NetworkConfig, SegmentationNetwork

__all__ = [
    "Encoder",
    "EncoderConfig",
    "LogitDistribution",
    "NetworkConfig",
    "SegmentationNetwork",
    "build_encoder",
    "load_encoder_weights",
]
