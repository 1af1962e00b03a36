"""Ultrasound foundation models: which architecture their published weights are for.

None of the weights is shipped or fetched: their licences ask the user to agree, so they come from
a file. `lfusion encoders` says where to get them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from lfusion._optional import require
from lfusion.model.encoders.encoder import Encoder, EncoderConfig
from lfusion.model.encoders.transformers import build_transformer

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def build_fetalclip(config: EncoderConfig) -> Encoder:
    """Build the image tower of FetalCLIP, an open_clip ViT-L/14.

    Source: `FetalCLIP_config.json` of BioMedIA-MBZUAI/FetalCLIP, read in its copy
    shaheer-suhaib/Fetal-Clip (width 1024, 24 layers, patch 14, 224 px; open_clip's defaults are
    exact GELU, heads of 64 and OpenAI's mean and standard deviation), and the modules of
    `open_clip.transformer.VisionTransformer` 3.3.
    """
    normalised = replace(config, mean=config.mean or _CLIP_MEAN, std=config.std or _CLIP_STD)
    return build_transformer("vit_large_patch14_clip_224", normalised)


def build_usfm(config: EncoderConfig) -> Encoder:
    """Build USFM, a BEiT-style ViT-B/16 with relative position biases and layer scale 0.1.

    Source: openmedlab/USFM, `usdsgen/modules/backbone/vision_transformer.py` (modules),
    `usdsgen/utils/modelutils.py` (the shared table of the pretrained file) and
    `USDSgen/data/datasets.py` (ImageNet normalisation).
    """
    normalised = replace(
        config, mean=config.mean or _IMAGENET_MEAN, std=config.std or _IMAGENET_STD
    )
    return build_transformer("beit_base_patch16_224", normalised)


def build_echocare(config: EncoderConfig) -> Encoder:
    """Build EchoCare's encoder: MONAI's Swin transformer with the convolutions of its version 2.

    Source: the FETUS 2026 challenge baseline (Cola-shao/FETUS-Challenge-ISBI2026, `Echocare.py`,
    read in its copy liujunyin1/main), which loads `echocare_encoder.pth` into just this class,
    drops `mask_token`, and feeds grey values in [0, 1] without normalisation. EchoCare's own
    repository shows no code.

    Raises:
        MissingExtraError: MONAI is not installed.
    """
    require("monai", extra="server")
    from monai.networks.nets.swin_unetr import SwinTransformer

    published: dict[str, Any] = {
        "in_chans": 3,
        "embed_dim": 128,
        "window_size": (8, 8),
        "patch_size": (2, 2),
        "depths": (2, 2, 18, 2),
        "num_heads": (4, 8, 16, 32),
        "spatial_dims": 2,
        "use_v2": True,
    }
    swin = SwinTransformer(**{**published, **dict(config.options)})
    return Encoder(
        swin,
        tuple(swin.embed_dim * 2**level for level in range(5)),
        tuple(2 ** (level + 1) for level in range(5)),
        config.mean or (0.0, 0.0, 0.0),
        config.std or (1.0, 1.0, 1.0),
        _same_keys,
    )


def _same_keys(state: Mapping[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
    del body
    return dict(state)
