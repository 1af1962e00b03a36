"""Whatever a user hands in: a right answer, or one line that says what is wrong."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lfusion.cli import app
from lfusion.image import read_mask

GREY = np.tile(np.linspace(20, 220, 128).astype(np.uint8), (96, 1))


class Outcome:
    """What a user sees of one command."""

    def __init__(self, *arguments: str | Path) -> None:
        result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
        self.code, self.stdout, self.stderr = result.exit_code, result.stdout, result.stderr

    @property
    def error(self) -> str:
        """The one line on stderr that says what is wrong."""
        assert self.code == 2, (self.code, self.stdout, self.stderr)
        assert "Traceback" not in self.stdout + self.stderr
        (line,) = (line for line in self.stderr.splitlines() if line.startswith("error: "))
        return line


@pytest.fixture
def predict(tiny_checkpoint: Path, tmp_path: Path) -> Callable[..., Outcome]:
    def predict(*images: Path) -> Outcome:
        out = tmp_path / "out"
        return Outcome("predict", *images, "--out", out, "--checkpoint", tiny_checkpoint)

    return predict


def write_picture(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


class TestUnreadableImages:
    def test_empty_file(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "scan.png").touch()
        assert "scan.png: the file is empty" in predict(tmp_path / "scan.png").error

    def test_text_named_png(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "scan.png").write_text("this is no picture")
        assert "scan.png" in predict(tmp_path / "scan.png").error

    def test_cut_png(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        whole = write_picture(tmp_path / "scan.png", GREY).read_bytes()
        (tmp_path / "scan.png").write_bytes(whole[: len(whole) // 2])
        assert "scan.png" in predict(tmp_path / "scan.png").error

    def test_missing_file(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        assert "no such file" in predict(tmp_path / "scan.png").error

    def test_folder(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "scans.png").mkdir()
        assert "a folder" in predict(tmp_path / "scans.png").error

    def test_unknown_suffix(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "scan.docx").write_text("report")
        assert ".docx" in predict(tmp_path / "scan.docx").error

    def test_the_good_ones_are_still_written(
        self, predict: Callable[..., Outcome], heads: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "bad.png").touch()
        good = [heads / "images" / f"head{n}.png" for n in (10, 11)]
        outcome = predict(good[0], tmp_path / "bad.png", good[1])
        assert "bad.png" in outcome.error
        assert "2 of 3 images" in outcome.stdout
        written = {path.name for path in (tmp_path / "out").glob("*.json")}
        assert written == {"head10.json", "head11.json"}


class TestUnusualImages:
    """Images that are odd but right get all files, in their own size."""

    @pytest.mark.parametrize(
        "pixels",
        [
            np.repeat(GREY[..., None], 3, axis=2),
            GREY.astype(np.uint16) * 257,
            np.zeros((1, 1), np.uint8),
            np.zeros((96, 128), np.uint8),
            np.full((96, 128), 255, np.uint8),
            np.tile(GREY, (1, 20))[:3],
        ],
        ids=["RGB", "16 bit", "1 x 1", "black", "white", "a strip"],
    )
    def test_is_predicted(
        self,
        pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
        predict: Callable[..., Outcome],
        tmp_path: Path,
    ) -> None:
        outcome = predict(write_picture(tmp_path / "scan.png", pixels))
        assert outcome.code == 0, outcome.stderr
        assert read_mask(tmp_path / "out" / "scan_mask.png").shape == pixels.shape[:2]
        content = json.loads((tmp_path / "out" / "scan.json").read_text())
        assert all(np.isfinite(score) for score in content["scores"].values())

    def test_large_image(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        image = Image.fromarray(GREY).resize((4000, 3000))
        image.save(tmp_path / "scan.png", compress_level=1)
        assert predict(tmp_path / "scan.png").code == 0
        assert read_mask(tmp_path / "out" / "scan_mask.png").shape == (3000, 4000)

    def test_colour_and_16_bit_give_the_mask_of_the_grey_picture(
        self, predict: Callable[..., Outcome], heads: Path, tmp_path: Path
    ) -> None:
        grey = np.asarray(Image.open(heads / "images" / "head10.png"))
        paths = [
            write_picture(tmp_path / "grey.png", grey),
            write_picture(tmp_path / "rgb.png", np.repeat(grey[..., None], 3, axis=2)),
            write_picture(tmp_path / "deep.png", grey.astype(np.uint16) * 257),
        ]
        assert predict(*paths).code == 0
        masks = [read_mask(tmp_path / "out" / f"{path.stem}_mask.png") for path in paths]
        assert masks[0].any()
        assert np.array_equal(masks[0], masks[1])
        assert np.array_equal(masks[0], masks[2])

    def test_black_image_has_no_head_to_measure(
        self, predict: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        predict(write_picture(tmp_path / "scan.png", np.zeros((96, 128), np.uint8)))
        biometry = json.loads((tmp_path / "out" / "scan.json").read_text())["biometry"]
        assert biometry["hc_mm"] is None
        assert biometry["refusal"]


class TestCheckpoints:
    @pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.999])
    def test_cut_file(self, share: float, tiny_checkpoint: Path, tmp_path: Path) -> None:
        whole = tiny_checkpoint.read_bytes()
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(whole[: int(share * len(whole))])
        image = write_picture(tmp_path / "scan.png", GREY)
        outcome = Outcome("predict", image, "--out", tmp_path / "out", "--checkpoint", cut)
        assert "cut.safetensors" in outcome.error
        assert not (tmp_path / "out").exists()

    def test_missing_file(self, heads: Path, tmp_path: Path) -> None:
        outcome = Outcome("evaluate", heads, "--checkpoint", tmp_path / "none.safetensors")
        assert "none.safetensors" in outcome.error

    def test_foreign_file(self, heads: Path) -> None:
        outcome = Outcome("rank", heads, "--checkpoint", heads / "meta.csv")
        assert "meta.csv" in outcome.error


class TestArguments:
    def test_two_images_of_one_name(self, predict: Callable[..., Outcome], tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        one = write_picture(tmp_path / "scan.png", GREY)
        other = write_picture(tmp_path / "b" / "scan.bmp", GREY)
        assert "the same names" in predict(one, other).error
        assert not (tmp_path / "out").exists()

    def test_results_never_replace_an_input(self, tiny_checkpoint: Path, tmp_path: Path) -> None:
        one = write_picture(tmp_path / "scan.png", GREY)
        mask = write_picture(tmp_path / "scan_mask.png", GREY)
        before = mask.read_bytes()
        options: list[str | Path] = ["--out", tmp_path, "--checkpoint", tiny_checkpoint]
        assert "scan_mask.png" in Outcome("predict", one, mask, *options).error
        assert mask.read_bytes() == before

    @pytest.mark.parametrize("size", ["0", "-0.1", "nan"])
    def test_pixel_size(
        self, size: str, tiny_checkpoint: Path, heads: Path, tmp_path: Path
    ) -> None:
        image = heads / "images" / "head10.png"
        options: list[str | Path] = [
            "--out",
            tmp_path,
            "--checkpoint",
            tiny_checkpoint,
            "--pixel-size",
            size,
        ]
        assert "positive" in Outcome("predict", image, *options).error

    def test_unknown_strategy(self, heads: Path) -> None:
        error = Outcome("rank", heads, "--strategy", "egad").error
        assert "epistemic" in error
        assert "'egad'" in error

    def test_unknown_split(self, heads: Path, tiny_checkpoint: Path) -> None:
        error = Outcome("evaluate", heads, "--split", "best", "--checkpoint", tiny_checkpoint).error
        assert "test, train, val" in error

    def test_no_dataset(self, tmp_path: Path) -> None:
        assert "images" in Outcome("rank", tmp_path, "--strategy", "random").error

    def test_warm_start_keeps_its_encoder(self, heads: Path, tiny_checkpoint: Path) -> None:
        options: list[str | Path] = ["--out", "x", "--start", tiny_checkpoint, "--encoder", "tiny"]
        assert "--encoder" in Outcome("train", heads, *options).error

    def test_unknown_encoder(self, heads: Path, tmp_path: Path) -> None:
        options: list[str | Path] = [
            "--out",
            tmp_path / "x.safetensors",
            "--encoder",
            "huge",
            "--steps",
            "1",
        ]
        assert "huge" in Outcome("train", heads, *options).error

    def test_checkpoint_path_that_is_a_folder(self, heads: Path, tmp_path: Path) -> None:
        assert "is a folder" in Outcome("train", heads, "--out", tmp_path).error

    def test_mask_of_another_size(self, heads: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
        copied = shutil.copytree(heads, tmp_path / "copy")
        write_picture(copied / "masks" / "head10.png", np.ones((10, 10), np.uint8))
        outcome = Outcome("evaluate", copied, "--checkpoint", tiny_checkpoint)
        assert "head10" in outcome.error

    def test_result_file_below_a_file(self, heads: Path) -> None:
        file = heads / "meta.csv" / "rank.json"
        error = Outcome("rank", heads, "--strategy", "random", "--json", file).error
        assert os.strerror(errno.ENOTDIR) in error or os.strerror(errno.EEXIST) in error
