from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

pytest.importorskip("monai", reason="the example needs the extra 'server'")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "monai_unet.py"


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    table = capsys.readouterr().out
    for structure in ("full", "block", "kron", "diag", "prior_only"):
        assert structure in table
    assert "nan" not in table


def test_the_posterior_of_the_example_is_centred_on_the_network() -> None:
    from monai.networks.nets.basic_unet import BasicUNet

    from lfusion.uncertainty import LastLayerLaplace

    network = BasicUNet(spatial_dims=2, out_channels=3, features=(4, 4, 4, 4, 4, 4)).eval()
    images = torch.rand(2, 1, 32, 48)
    features = runpy.run_path(str(EXAMPLE))["features_before"](network.final_conv, network, images)
    head = network.final_conv
    posterior = LastLayerLaplace.fit(features, head.weight, head.bias)
    with torch.no_grad():
        torch.testing.assert_close(posterior.mean_logits(features), network(images))
    assert not head._forward_pre_hooks
