"""Every command does what its help says, with a real tiny model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

import lfusion
from lfusion.biometry import measure_head
from lfusion.cli import app
from lfusion.image import read_image, read_mask


def run(*arguments: str | Path) -> str:
    """Run `lfusion` and return what it printed on stdout."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout


class TestProgram:
    def test_version(self) -> None:
        assert run("--version").strip() == f"lfusion {lfusion.__version__}"

    @pytest.mark.parametrize(
        "command", ["predict", "evaluate", "rank", "train", "phantom", "serve", "demo"]
    )
    def test_every_command_has_help(self, command: str) -> None:
        assert "Usage: lfusion " + command in " ".join(run(command, "--help").split())

    def test_importing_it_loads_nothing_heavy(self) -> None:
        heavy = {"torch", "monai", "monailabel", "timm", "skimage", "SimpleITK", "scipy"}
        code = f"import lfusion.cli, sys; print(sorted({heavy!r} & set(sys.modules)))"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert shown.stdout.decode().strip() == "[]"


@pytest.fixture(scope="module")
def predicted(heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predict") / "new" / "folder"
    images: list[str | Path] = [heads / "images" / f"head{n}.png" for n in (10, 11)]
    options: list[str | Path] = [
        "--out",
        out,
        "--checkpoint",
        tiny_checkpoint,
        "--pixel-size",
        "0.5",
    ]
    assert "2 of 2 images" in run("predict", *images, *options)
    return out


class TestPredict:
    def test_writes_five_files_an_image(self, predicted: Path) -> None:
        parts = ("_aleatoric.tif", "_epistemic.tif", "_mask.png", "_total.tif", ".json")
        expected = sorted(f"head{n}{part}" for n in (10, 11) for part in parts)
        assert sorted(path.name for path in predicted.iterdir()) == expected

    def test_maps_are_float32_nats_that_add_up(self, predicted: Path) -> None:
        epistemic, aleatoric, total = (
            tifffile.imread(predicted / f"head10_{name}.tif")
            for name in ("epistemic", "aleatoric", "total")
        )
        for values in (epistemic, aleatoric, total):
            assert values.dtype == np.float32
            assert values.shape == (96, 128)
            assert values.min() >= 0
        assert np.abs(epistemic + aleatoric - total).max() <= 1e-5
        assert total.max() <= np.log(2) + 1e-5

    def test_mask_is_the_head(self, predicted: Path, heads: Path) -> None:
        mask, truth = (
            read_mask(predicted / "head10_mask.png"),
            read_mask(heads / "masks" / "head10.png"),
        )
        assert (mask != truth).mean() < 0.1

    def test_json_tells_scores_and_biometry(self, predicted: Path) -> None:
        content = json.loads((predicted / "head10.json").read_text())
        assert content["image"] == "head10.png"
        assert content["labels"] == {"fetal head": 1}
        assert content["pixel_size_mm"] == [0.5, 0.5]
        assert content["scores"]["total_mean"] > 0
        measured = measure_head(read_mask(predicted / "head10_mask.png"), (0.5, 0.5))
        assert content["biometry"]["hc_mm"] == pytest.approx(measured.hc_mm, rel=0.02)

    def test_dropout_passes_widen_the_epistemic_map(
        self, predicted: Path, heads: Path, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        model = ("--checkpoint", tiny_checkpoint, "--dropout-passes", "4")
        run("predict", heads / "images" / "head10.png", "--out", tmp_path, *model)
        plain, dropped = (
            tifffile.imread(folder / "head10_epistemic.tif") for folder in (predicted, tmp_path)
        )
        assert dropped.mean() > plain.mean()

    def test_one_dropout_pass_is_refused_before_anything_is_written(
        self, heads: Path, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        out, image = tmp_path / "out", heads / "images" / "head10.png"
        options = ["--out", out, "--checkpoint", tiny_checkpoint, "--dropout-passes", "1"]
        result = CliRunner().invoke(app, ["predict", *map(str, [image, *options])])
        assert result.exit_code == 2
        assert "at least 2, got 1" in result.stderr
        assert not out.exists()


def test_evaluate_prints_a_table_and_writes_the_figures(
    heads: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "report.json"
    shown = run("evaluate", heads, "--json", file, "--checkpoint", tiny_checkpoint)
    content = json.loads(file.read_text())
    assert content["n"] == 3
    assert f"{content['dice_mean']:.4f}" in shown
    assert len(content["images"]) == 3


def test_evaluate_compares_with_foreign_images_and_writes_the_report(
    heads: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    json_file, page = tmp_path / "figures.json", tmp_path / "report.html"
    outputs: list[str | Path] = ["--json", json_file, "--report", page]
    shown = run(
        "evaluate", heads, "--ood", heads / "images", "--checkpoint", tiny_checkpoint, *outputs
    )
    content = json.loads(json_file.read_text())
    assert set(content["ood"]["images"]) == set(content["failure"])
    assert len(content["ood_images"]["images"]) == 13
    assert "95 % interval" in shown
    assert page.read_text().startswith("<!doctype html>")


class TestRank:
    @pytest.mark.parametrize("strategy", ["epistemic", "aleatoric", "entropy", "random"])
    def test_every_strategy_orders_all_images(
        self, strategy: str, heads: Path, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "rank.json"
        options: list[str | Path] = [
            "--strategy",
            strategy,
            "--json",
            file,
            "--checkpoint",
            tiny_checkpoint,
        ]
        run("rank", heads, *options)
        ranking = json.loads(file.read_text())
        assert [set(row) for row in ranking] == [{"id", "score", "rank"}] * 13
        assert sorted(row["id"] for row in ranking) == [f"head{n:02}" for n in range(13)]
        assert [row["rank"] for row in ranking] == list(range(1, 14))
        scores = [row["score"] for row in ranking]
        assert scores == sorted(scores, reverse=True)

    def test_random_depends_on_the_seed_alone(self, heads: Path, tmp_path: Path) -> None:
        files = [tmp_path / f"{name}.json" for name in "abc"]
        for file, seed in zip(files, ("1", "1", "2"), strict=True):
            run("rank", heads, "--strategy", "random", "--seed", seed, "--json", file)
        one, again, other = (file.read_text() for file in files)
        assert one == again != other

    def test_split_narrows_the_pool(
        self, heads: Path, tiny_checkpoint: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "rank.json"
        options: list[str | Path] = [
            "--split",
            "val",
            "--json",
            file,
            "--checkpoint",
            tiny_checkpoint,
        ]
        run("rank", heads, *options)
        assert sorted(row["id"] for row in json.loads(file.read_text())) == ["head08", "head09"]


class TestTrain:
    def test_a_new_model_and_a_warm_start_predict(self, heads: Path, tmp_path: Path) -> None:
        first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
        brief = ["--steps", "2", "--batch-size", "2"]
        run("train", heads, "--out", first, "--encoder", "tiny", *brief)
        run("train", heads, "--out", second, "--start", first, *brief)
        image = heads / "images" / "head10.png"
        run("predict", image, "--out", tmp_path / "out", "--checkpoint", second)
        assert (tmp_path / "out" / "head10.json").is_file()
        result = CliRunner().invoke(
            app,
            ["train", str(heads), "--out", str(second), "--trained", "decoder", "--lora-rank", "2"],
        )
        assert result.exit_code == 2
        assert "expected --trained all beside --lora-rank, got decoder" in result.stderr

    def test_folders_are_trained_on_together_under_the_names_given(
        self, heads: Path, tmp_path: Path
    ) -> None:
        from lfusion.checkpoint import Checkpoint

        phantoms, file = tmp_path / "phantoms", tmp_path / "both.safetensors"
        run("phantom", "--out", phantoms, "--n", "4", "--seed", "1")
        run(
            "train", heads, phantoms, "--out", file, "--label", "skull", "--encoder", "tiny",
            "--encoder-mean", "0.4", "--long-side", "64", "--steps", "1", "--batch-size", "2",
        )  # fmt: skip
        checkpoint = Checkpoint.load(file)
        assert checkpoint.labels == {"skull": 1}
        assert checkpoint.input.long_side == 64
        assert checkpoint.network.config.encoder.mean == (0.4, 0.4, 0.4)
        in_split = (phantoms / "meta.csv").read_text().count(",train,")
        assert checkpoint.fingerprint.images == 8 + in_split

    def test_images_without_masks_take_part_when_asked(self, heads: Path, tmp_path: Path) -> None:
        from lfusion.checkpoint import Checkpoint

        data, file = tmp_path / "heads", tmp_path / "model.safetensors"
        shutil.copytree(heads, data)
        (data / "masks" / "head00.png").unlink()
        brief = ("--encoder", "tiny", "--long-side", "64", "--steps", "2", "--batch-size", "2")
        run("train", data, "--out", file, "--semi-supervised", *brief)
        fingerprint = Checkpoint.load(file).fingerprint
        assert fingerprint.images == 7
        assert fingerprint.config["semi_supervised"] == 0.1

    def test_a_trained_model_is_calibrated_anew(self, heads: Path, tmp_path: Path) -> None:
        from lfusion.checkpoint import Checkpoint
        from lfusion.model import build_encoder

        first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
        run("train", heads, "--out", first, "--encoder", "tiny", "--steps", "2")
        network = Checkpoint.load(first).network
        weights = tmp_path / "weights.safetensors"
        save_file(build_encoder(network.config.encoder).body.state_dict(), weights)
        run("calibrate", first, heads, "--out", second, "--encoder-weights", weights)
        run("predict", heads / "images" / "head10.png", "--out", tmp_path, "--checkpoint", second)
        said = json.loads((tmp_path / "head10.json").read_text())
        assert said["abnormality"]["false_alarm_rate"] == 0.05
        # without weights it keeps the frozen encoder that it has
        run("calibrate", second, heads, "--out", first)
        assert Checkpoint.load(first).id == Checkpoint.load(second).id

    def test_calibration_leaves_a_distance_aware_posterior_alone(
        self, heads: Path, tmp_path: Path
    ) -> None:
        from lfusion.checkpoint import Checkpoint
        from lfusion.model import EncoderConfig, build_encoder

        first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
        weights = tmp_path / "weights.safetensors"
        save_file(build_encoder(EncoderConfig("tiny")).body.state_dict(), weights)
        options = ("--encoder", "tiny", "--steps", "2", "--distance-features", "6")
        run("train", heads, "--out", first, "--encoder-weights", weights, *options)
        run("calibrate", first, heads, "--out", second, "--split", "test")
        epistemic = []
        for file in (first, second):
            predictor = lfusion.load(file)
            terms = predictor.moments(read_image(heads / "images" / "head10.png")).decompose(1.0)
            epistemic.append(terms.mutual_information)
        torch.testing.assert_close(*epistemic)
        before, after = (Checkpoint.load(file).reference for file in (first, second))
        assert before is not None
        assert after is not None
        assert not torch.equal(before.normative.image.mean, after.normative.image.mean)
        arguments = ["calibrate", first, heads, "--out", second, "--encoder-weights", weights]
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == 2
        assert "distance features" in result.stderr
        arguments = ["train", heads, "--out", second, "--start", first, "--distance-features", "9"]
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == 2
        assert "keeps its encoder, its head" in " ".join(result.stderr.split())

    def test_calibration_needs_held_out_images(self, heads: Path, tmp_path: Path) -> None:
        model, out = tmp_path / "model.safetensors", tmp_path / "out.safetensors"
        run("train", heads, "--out", model, "--encoder", "tiny", "--steps", "1")
        phantoms = tmp_path / "phantoms"
        run("phantom", "--out", phantoms, "--n", "1")
        (phantoms / "meta.csv").unlink()
        arguments = ["calibrate", model, phantoms, "--out", out, "--label", "class 1"]
        result = CliRunner().invoke(app, [*map(str, arguments)])
        assert result.exit_code == 2
        assert "--val-split" in result.stderr

    def test_a_malformed_encoder_option_is_named(self, heads: Path, tmp_path: Path) -> None:
        arguments = ["train", heads, "--out", tmp_path / "x.safetensors"]
        result = CliRunner().invoke(app, [*map(str, arguments), "--encoder-option", "pad_type"])
        assert result.exit_code == 2
        assert "NAME=TEXT, got 'pad_type'" in result.stderr

    def test_same_seed_same_file(self, heads: Path, tmp_path: Path) -> None:
        files = [tmp_path / f"{name}.safetensors" for name in "abc"]
        options: list[str | Path] = ["--encoder", "tiny", "--steps", "2", "--batch-size", "2"]
        for file, seed in zip(files, ("1", "1", "2"), strict=True):
            run("train", heads, "--out", file, "--seed", seed, *options)
        one, again, other = (file.read_bytes() for file in files)
        assert one == again != other


def test_phantom_writes_a_dataset(tmp_path: Path) -> None:
    run("phantom", "--out", tmp_path, "--n", "1", "--seed", "3")
    (image,) = (tmp_path / "images").iterdir()
    mask = np.asarray(Image.open(tmp_path / "masks" / image.name))
    assert set(np.unique(mask)) == {0, 1}
    assert (tmp_path / "meta.csv").is_file()
