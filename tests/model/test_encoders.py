from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from lfusion.errors import EncoderError
from lfusion.model import EncoderConfig, build_encoder, load_encoder_weights
from lfusion.model.encoders import has_placeholder_norms, recenter_batch_norm


@pytest.mark.parametrize("name", ["timm:resnet18", "timm:mobilenetv2_100", "timm:convnext_atto"])
def test_any_timm_pyramid_has_the_strides_it_says(name: str) -> None:
    encoder = build_encoder(EncoderConfig(name)).eval()
    with torch.inference_mode():
        maps = encoder(torch.rand(1, 1, 64, 96))
    assert [m.shape[1] for m in maps] == list(encoder.channels)
    assert [(64 // m.shape[2], 96 // m.shape[3]) for m in maps] == [
        (r, r) for r in encoder.reductions
    ]


def test_a_grey_image_is_normalised_like_the_three_equal_channels_it_stands_for() -> None:
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    encoder = build_encoder(EncoderConfig("tiny", mean=mean, std=std)).eval()
    grey = torch.rand(2, 1, 16, 16)
    by_hand = torch.cat([(grey - m) / s for m, s in zip(mean, std, strict=True)], 1)
    for ours, theirs in zip(encoder(grey), encoder.backbone(by_hand), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_of_a_whole_classifier_fit_the_pyramid(tmp_path: Path, suffix: str) -> None:
    classifier = timm.create_model("convnext_atto", pretrained=False)
    path = tmp_path / f"weights{suffix}"
    state = classifier.state_dict()
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path)
    encoder = build_encoder(EncoderConfig("timm:convnext_atto"))
    load_encoder_weights(encoder, path)
    torch.testing.assert_close(
        encoder.backbone.state_dict()["stages_1.blocks.0.conv_dw.weight"],
        state["stages.1.blocks.0.conv_dw.weight"],
    )


def test_the_imagenet_weights_beside_the_repository_load(shared_weights: Path) -> None:
    config = EncoderConfig(
        "timm:mobilenetv2_100", {"pad_type": "same"}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    )
    encoder = build_encoder(config)
    before = encoder.backbone.get_parameter("conv_stem.weight").clone()
    load_encoder_weights(encoder, shared_weights / "mobilenetv2_100.imagenet.safetensors")
    assert not torch.equal(before, encoder.backbone.get_parameter("conv_stem.weight"))
    assert has_placeholder_norms(encoder)


class _Evil:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return print, ("executed",)


def test_a_pickle_that_would_execute_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pth"
    torch.save({"weight": _Evil()}, path)
    with pytest.raises(EncoderError, match="more than weights"):
        load_encoder_weights(build_encoder(EncoderConfig("tiny")), path)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "found none"), (b"", "not a readable"), (b"PK\x03\x04 no zip", "not a readable")],
)
def test_a_file_that_holds_no_weights_is_named(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EncoderError, match=message):
        load_encoder_weights(build_encoder(EncoderConfig("tiny")), path)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file(build_encoder(EncoderConfig("tiny")).backbone.state_dict(), path)
    with pytest.raises(EncoderError, match="lacks"):
        load_encoder_weights(build_encoder(EncoderConfig("timm:resnet18")), path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", "expected an encoder named"),
        ("timm:", "expected an encoder named"),
        ("timm:no_such_model", "cannot make a feature pyramid"),
    ],
)
def test_an_unknown_encoder_is_named(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        build_encoder(EncoderConfig(name))


def test_norm_layers_stay_in_eval_mode() -> None:
    encoder = build_encoder(EncoderConfig("tiny"))
    statistics = encoder.backbone.get_buffer("stages.0.1.running_mean").clone()
    encoder.train()
    encoder(torch.rand(4, 1, 16, 16))
    torch.testing.assert_close(encoder.backbone.get_buffer("stages.0.1.running_mean"), statistics)
    assert encoder.backbone.get_submodule("stages.0.0").training


def test_recentring_changes_the_statistics_but_not_the_function() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig("tiny")).eval()
    batch, other = torch.rand(8, 1, 32, 32), torch.rand(8, 1, 32, 32)
    assert has_placeholder_norms(encoder)
    with torch.inference_mode():
        before = encoder(other)
    recenter_batch_norm(encoder, batch)
    assert not has_placeholder_norms(encoder)
    with torch.inference_mode():
        for ours, theirs in zip(encoder(other), before, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    # the first norm now sees inputs of its own mean and variance
    mean = encoder.backbone.get_buffer("stages.0.1.running_mean")
    convolution = encoder.backbone.get_submodule("stages.0.0")
    inputs = convolution((batch.expand(-1, 3, -1, -1) - 0.5) / 0.5)
    torch.testing.assert_close(mean, inputs.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
