"""Encoders by name: grey image in, feature pyramid out.

`timm:NAME` is any timm model with a feature pyramid or any plain vision transformer of timm;
`fetalclip`, `usfm` and `echocare` are ultrasound foundation models with weights of their own;
`tiny` is a three-stage network for tests. Normalisation belongs to the encoder, because the right
one is a property of its weights.
"""

from lfusion.model.encoders.build import build_encoder
from lfusion.model.encoders.catalogue import CATALOGUE, EncoderEntry
from lfusion.model.encoders.encoder import Encoder, EncoderConfig
from lfusion.model.encoders.norms import has_placeholder_norms, recenter_batch_norm
from lfusion.model.encoders.weights import load_encoder_weights

__all__ = [
    "CATALOGUE",
    "Encoder",
    "EncoderConfig",
    "EncoderEntry",
    "build_encoder",
    "has_placeholder_norms",
    "load_encoder_weights",
    "recenter_batch_norm",
]
