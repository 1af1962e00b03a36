"""What napari finds of us: the manifest, readers, writers and samples, also in the built wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManifest
from PIL import Image

from lfusion.image import write_map
from napari_lfusion import sample_data
from napari_lfusion.layers import KEY
from napari_lfusion.reader import get_reader, read_results
from napari_lfusion.writer import write_labels, write_results

ROOT = Path(__file__).parents[3]


@pytest.fixture
def manifest() -> PluginManifest:
    found: PluginManifest = PluginManifest.from_file(ROOT / "napari_lfusion" / "napari.yaml")
    return found


@pytest.fixture
def result(tmp_path: Path) -> Path:
    """As `lfusion predict --out` writes it."""
    mask = np.zeros((8, 9), np.uint8)
    mask[2:5, 3:6] = 1
    Image.fromarray(mask).save(tmp_path / "scan_mask.png")
    for name in ("epistemic", "aleatoric", "total"):
        write_map(tmp_path / f"scan_{name}.tif", np.full((8, 9), 0.25, np.float32))
    description = {
        "image": "scan.png",
        "checkpoint_id": "c1",
        "labels": {"fetal head": 1},
        "pixel_size_mm": [0.5, 0.25],
    }
    (tmp_path / "scan.json").write_text(json.dumps(description))
    return tmp_path / "scan.json"


def test_the_installed_manifest_is_valid() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "npe2.cli", "validate", "lfusion"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_exists(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands or []:
        module, name = str(command.python_name).split(":")
        source = ROOT / Path(*module.split("."))
        file = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
        assert name in file.read_text(encoding="utf-8"), command.id


def test_results_open_in_their_place(result: Path) -> None:
    reader = get_reader(str(result))
    assert reader is not None
    layers = reader(str(result))
    assert [kind for *_, kind in layers] == ["image", "image", "image", "labels"]
    assert [meta["metadata"][KEY]["role"] for _, meta, _ in layers] == [
        "total",
        "aleatoric",
        "epistemic",
        "mask",
    ]
    assert all(meta["scale"] == (0.5, 0.25) for _, meta, _ in layers)
    assert [meta["visible"] for _, meta, kind in layers if kind == "image"] == [False, False, True]


def test_a_folder_of_results_opens_whole(result: Path) -> None:
    assert len(read_results(str(result.parent))) == 4


def test_other_files_are_left_to_other_readers(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    assert get_reader(str(tmp_path / "notes.json")) is None
    assert get_reader(str(tmp_path)) is None


def test_what_is_written_reads_as_the_same(result: Path, tmp_path: Path) -> None:
    layers = read_results(str(result))
    for _, meta, _ in layers:
        meta["units"] = ("millimeter", "millimeter")
    (tmp_path / "again").mkdir()
    written = write_results(str(tmp_path / "again" / "scan.json"), layers)
    assert len(written) == 5
    for (data, meta, kind), (copy, other, _) in zip(layers, read_results(written[-1]), strict=True):
        assert np.array_equal(data, copy), kind
        assert meta["scale"] == other["scale"]
        assert meta["metadata"][KEY]["role"] == other["metadata"][KEY]["role"]


def test_a_mask_is_written_as_class_numbers(tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    mask = np.array([[0, 1], [2, 0]], np.uint8)
    assert write_labels(str(file), mask.astype(int), {"name": "x"}) == [str(file)]
    assert np.array_equal(np.asarray(Image.open(file)), mask)


@pytest.mark.parametrize("kind", ["normal", "abnormal", "poor"])
def test_samples_are_scans_with_their_truth(kind: str) -> None:
    (image, place, _), (truth, _, _) = getattr(sample_data, kind)()
    assert image.shape == truth.shape
    assert image.std() > 0
    assert place["units"] == ("mm", "mm")


def test_the_wheel_holds_what_the_plugin_needs(tmp_path: Path) -> None:
    command = (
        "import os, sys; os.chdir(sys.argv[1]); import setuptools.build_meta as b; "
        "b.build_wheel(sys.argv[2])"
    )
    copy = tmp_path / "source"
    _copy_tracked(copy)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command, str(copy), str(tmp_path)],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        points = archive.read(entry_points).decode()
    assert "napari_lfusion/napari.yaml" in names
    assert any(name.startswith("napari_lfusion/demo/data/") for name in names)
    assert "lfusion = napari_lfusion:napari.yaml" in points


def _copy_tracked(target: Path) -> None:
    """The plugin and the package's metadata, as a build from a clone would see them."""
    target.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    junk = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for package in ("lfusion", "monailabel_app", "napari_lfusion"):
        shutil.copytree(ROOT / package, target / package, ignore=junk)
