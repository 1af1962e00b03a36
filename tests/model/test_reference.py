from __future__ import annotations

import numpy as np
import pytest
import torch

from lfusion.image import as_ultrasound_image
from lfusion.model import EncoderConfig, build_encoder
from lfusion.model.reference import ReferenceConfig, ReferenceEncoder, appearance_of

NAMES = ["tiny", "timm:mobilenetv2_100", "timm:resnet18", "timm:vit_tiny_patch16_224"]


@pytest.mark.parametrize("name", NAMES)
def test_a_reference_sees_every_encoder_down_to_stride_16(name: str) -> None:
    config = EncoderConfig(name)
    torch.manual_seed(0)
    whole = build_encoder(config).eval()
    reference = ReferenceEncoder.of(whole, ReferenceConfig(config, 128))
    seen = reference(torch.rand(1, 1, 200, 300), torch.ones(1, 1, 50, 75))
    assert torch.isfinite(seen.statistics).all()
    assert seen.patches.shape[1:] == seen.sector.shape
    # 128 x 80 on the working grid, 16 px a cell; the tiny encoder ends at stride 8
    assert tuple(seen.sector.shape) == ((10, 16) if name == "tiny" else (5, 8))
    assert not any(weight.requires_grad for weight in reference.parameters())


def test_stages_that_no_map_needs_are_dropped() -> None:
    config = EncoderConfig("timm:mobilenetv2_100")
    whole = build_encoder(config)
    reference = ReferenceEncoder.of(whole, ReferenceConfig(config))
    sizes = [sum(w.numel() for w in module.parameters()) for module in (whole, reference)]
    assert sizes[1] < 0.4 * sizes[0]


def test_it_keeps_what_it_was_when_the_encoder_learns_on() -> None:
    config = EncoderConfig("tiny")
    encoder = build_encoder(config).eval()
    reference = ReferenceEncoder.of(encoder, ReferenceConfig(config, 64))
    image, sector = torch.rand(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    before = reference(image, sector).statistics
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(1.0)
    reference.train()
    assert not reference.training
    torch.testing.assert_close(reference(image, sector).statistics, before)


def test_statistics_are_those_of_the_sector() -> None:
    config = EncoderConfig("tiny")
    reference = ReferenceEncoder.of(build_encoder(config), ReferenceConfig(config, 128))
    pixels = np.zeros((128, 128), np.float32)
    pixels[:, 40:88] = np.random.default_rng(0).uniform(0.2, 0.8, (128, 48))
    scan = as_ultrasound_image(pixels)
    assert not scan.sector.all()
    seen = appearance_of(reference, scan)
    everything = reference(torch.from_numpy(pixels)[None, None], torch.ones(1, 1, 4, 4))
    assert not torch.allclose(seen.statistics, everything.statistics)
    assert seen.sector.mean() == pytest.approx(scan.sector.mean(), abs=0.15)


def test_an_empty_sector_counts_as_full() -> None:
    config = EncoderConfig("tiny")
    reference = ReferenceEncoder.of(build_encoder(config), ReferenceConfig(config, 64))
    seen = reference(torch.rand(1, 1, 64, 64), torch.zeros(1, 1, 64, 64))
    assert seen.sector.all()
