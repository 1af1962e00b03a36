"""Fixtures shared by the whole suite: one fixture per concept."""

from __future__ import annotations

import os
from pathlib import Path

# One thread a process, set before torch is imported: the suite runs servers and trainings beside
# itself, and threads that wait for each other on two cores are many times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfusion.biometry import Ellipse

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real ultrasound data sets beside the repository."""
    path = _SHARED / "data"
    if not path.is_dir():
        pytest.skip("real ultrasound data (../shared/data) is not on this machine")
    return path


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of pretrained encoder weights beside the repository."""
    path = _SHARED / "weights"
    if not path.is_dir():
        pytest.skip("pretrained encoder weights (../shared/weights) are not on this machine")
    return path


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """The folder of files that people really have, each with its right value."""
    path = _SHARED / "cases"
    if not path.is_dir():
        pytest.skip("the files of ../shared/cases are not on this machine")
    return path


SPLITS = ("train",) * 8 + ("val",) * 2 + ("test",) * 3


def _draw_head(number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], float]:
    """A speckled grey head of another place, size and tilt for each number, and its HC in px."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[:96, :128].astype(float)
    head = Ellipse(*rng.uniform((42, 56, 34, 26, 0), (54, 72, 42, 32, 180)).tolist())
    _, radius = head.polar(np.stack([rows.ravel(), columns.ravel()], axis=1))
    inside = (radius <= 1).reshape(rows.shape)
    speckle = rng.rayleigh(1, rows.shape)
    pixels = np.clip((30 + 90 * inside) * speckle**0.5, 1, 255)
    return pixels.astype(np.uint8), inside.astype(np.uint8), head.circumference


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 13 small drawn heads with masks, splits, pixel size and HC."""
    root = tmp_path_factory.mktemp("heads")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    lines = ["id,split,pixel_size_mm,hc_mm"]
    for number, split in enumerate(SPLITS):
        pixels, mask, hc_px = _draw_head(number)
        Image.fromarray(pixels).save(root / "images" / f"head{number:02}.png")
        Image.fromarray(mask).save(root / "masks" / f"head{number:02}.png")
        lines.append(f"head{number:02},{split},0.5,{0.5 * hc_px:.3f}")
    (root / "meta.csv").write_text("\n".join(lines) + "\n")
    (root / "labels.json").write_text('{"fetal head": 1}\n')
    return root


@pytest.fixture(scope="session")
def tiny_checkpoint(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that segments the drawn heads, trained for real in seconds.

    Read it, never write it: the whole session shares it.
    """
    from lfusion.image import Dataset
    from lfusion.model import EncoderConfig
    from lfusion.model.input import InputSpec
    from lfusion.training import TrainingConfig, train

    config = TrainingConfig(
        encoder=EncoderConfig("tiny"),
        input=InputSpec(64),
        feature_dim=8,
        rank=2,
        steps=80,
        batch_size=4,
        learning_rate=1e-2,
        ssn_samples=4,
        average_decay=0.9,
        validate_every=80,
    )
    dataset = Dataset.read(heads)
    checkpoint = train(
        dataset.split("train"), config, validation=dataset.split("val"), device="cpu"
    )
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    checkpoint.save(path)
    return path
