"""What commands say of files that they pass over, and of masks that they cannot use."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lfusion.cli import app


@pytest.fixture
def data(heads: Path, tmp_path: Path) -> Path:
    """The drawn heads with files that are passed over."""
    root = Path(shutil.copytree(heads, tmp_path / "data"))
    mask = root / "masks" / "head00.png"
    Image.open(mask).save(root / "masks" / "head00.jpg")
    mask.unlink()
    shutil.copy(root / "images" / "head01.png", root / "images" / "head01_Annotation.png")
    (root / "labels").mkdir()
    return root


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Run `lfusion`: exit code, stdout, stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_one_line_on_stderr_names_what_was_left_out(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "ranking.json"
    code, shown, said = run("rank", data, "--strategy", "random", "--json", out)
    assert code == 0
    assert "left out" not in shown
    lines = [line for line in said.splitlines() if "left out" in line]
    assert len(lines) == 1
    for name in ("3 left out", "masks/head00.jpg", "images/head01_Annotation.png", "labels/"):
        assert name in lines[0]
    assert "Annotation" not in out.read_text()


def test_nothing_is_said_of_a_clean_folder(heads: Path, tmp_path: Path) -> None:
    code, _, said = run("rank", heads, "--strategy", "random", "--json", tmp_path / "r.json")
    assert (code, said) == (0, "")


@pytest.mark.parametrize("labels", [True, False])
def test_training_on_grey_levels_is_refused_with_the_values(
    data: Path, tmp_path: Path, labels: bool
) -> None:
    file = data / "masks" / "head03.png"
    Image.fromarray(np.asarray(Image.open(file)) * np.uint8(255)).save(file)
    if not labels:
        (data / "labels.json").unlink()
    code, _, said = run("train", data, "--out", tmp_path / "m.safetensors", "--steps", "1")
    assert code == 2
    assert "head03.png" in said
    assert "255" in said
    assert not (tmp_path / "m.safetensors").exists()


def test_a_split_that_would_be_dropped_is_refused(data: Path, tmp_path: Path) -> None:
    meta = data / "meta.csv"
    meta.write_text(meta.read_text().replace("id,split", "id,Splits"))
    code, _, said = run("train", data, "--out", tmp_path / "m.safetensors", "--steps", "1")
    assert code == 2
    assert "'Splits' is not known and resembles split" in said


def test_masks_that_are_all_of_another_kind(data: Path, tmp_path: Path) -> None:
    for file in (data / "masks").glob("*.png"):
        Image.open(file).save(file.with_suffix(".jpg"))
        file.unlink()
    code, _, said = run("train", data, "--out", tmp_path / "m.safetensors", "--steps", "1")
    assert code == 2
    assert "masks/head00.jpg" in said
    assert "label at least one" in said
