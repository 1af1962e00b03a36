"""Encoders worth trying, and what their published weights are and cost in rights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderEntry:
    """One encoder with published weights.

    Attributes:
        name: for `EncoderConfig` and `--encoder`.
        parameters: of `Encoder.body`, without neck, classifier or text tower.
        licence: of the weights, as their authors publish it.
        weights: where to get them.
    """

    name: str
    parameters: int
    licence: str
    weights: str


_HUB = "https://huggingface.co/timm/"

CATALOGUE = (
    EncoderEntry("timm:mobilenetv2_100", 1_811_712, "Apache-2.0", f"{_HUB}mobilenetv2_100.ra_in1k"),
    EncoderEntry(
        "timm:convnext_tiny", 27_818_592, "Apache-2.0", f"{_HUB}convnext_tiny.in12k_ft_in1k"
    ),
    EncoderEntry(
        "timm:vit_small_patch14_dinov2",
        22_055_424,
        "Apache-2.0",
        f"{_HUB}vit_small_patch14_dinov2.lvd142m",
    ),
    EncoderEntry(
        "timm:vit_small_patch16_dinov3",
        21_586_176,
        "DINOv3 License",
        f"{_HUB}vit_small_patch16_dinov3.lvd1689m",
    ),
    EncoderEntry(
        "timm:vit_base_patch16_clip_224",
        85_797_888,
        "Apache-2.0",
        f"{_HUB}vit_base_patch16_clip_224.laion2b_ft_in12k_in1k",
    ),
    EncoderEntry(
        "fetalclip",
        303_177_728,
        "CC BY-NC-ND 4.0 in the repository, CC BY-NC 4.0 on the model card; asked in its issue 4",
        "FetalCLIP_weights.pt, https://github.com/BioMedIA-MBZUAI/FetalCLIP",
    ),
    EncoderEntry(
        "usfm",
        85_760_448,
        "CC BY-NC 4.0",
        "USFM_latest.pth, https://github.com/openmedlab/USFM",
    ),
    EncoderEntry(
        "echocare",
        120_221_688,
        "not stated",
        "echocare_encoder.pth, https://github.com/CAIR-HKISI/EchoCare",
    ),
)
