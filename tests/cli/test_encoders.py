"""`lfusion encoders` and training with what it lists."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from typer.testing import CliRunner

from lfusion.checkpoint import Checkpoint
from lfusion.cli import app
from lfusion.model import EncoderConfig, build_encoder


def run(*arguments: str | Path) -> str:
    """Run `lfusion` and return what it printed on stdout."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_list_names_size_licence_and_origin(tmp_path: Path) -> None:
    shown = run("encoders", "--json", tmp_path / "encoders.json")
    entries = json.loads((tmp_path / "encoders.json").read_text())
    assert {"fetalclip", "usfm", "echocare"} <= {entry["name"] for entry in entries}
    for entry in entries:
        assert entry["name"] in shown
        assert f"{entry['parameters'] / 1e6:.1f} M" in shown
        assert entry["licence"]
        assert "https://" in entry["weights"]
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["echocare"]["licence"] == "not stated"


def test_training_takes_the_name_the_weights_and_the_rank(heads: Path, tmp_path: Path) -> None:
    name = "timm:test_vit"  # the smallest transformer of timm
    torch.manual_seed(7)
    weights = {
        k.removeprefix("vit."): v
        for k, v in build_encoder(EncoderConfig(name)).body.state_dict().items()
    }
    torch.save(weights, tmp_path / "weights.pth")
    out = tmp_path / "model.safetensors"
    options = ("--encoder", name, "--encoder-weights", tmp_path / "weights.pth", "--out", out)
    run("train", heads, *options, "--lora-rank", "2", "--steps", "1", "--long-side", "64")
    checkpoint = Checkpoint.load(out)
    assert checkpoint.fingerprint.config["lora_rank"] == 2
    state = checkpoint.network.encoder.body.state_dict()
    torch.testing.assert_close(
        state["vit.patch_embed.proj.weight"], weights["patch_embed.proj.weight"].half().float()
    )


def test_an_unknown_encoder_is_one_line(heads: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    arguments = ["train", str(heads), "--encoder", "fetalclip2", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.split("\n")[1:-1]  # after the progress bar's
    assert line.startswith("error: expected an encoder named 'timm:NAME' or one of tiny, fetal")
    assert not out.exists()
