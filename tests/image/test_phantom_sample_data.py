"""The committed sample data are what the generator makes today."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfusion.image.phantom import Condition, Detail, generate_phantom, write_phantoms

SEED = 18
FOLDER = Path(__file__).resolve().parents[2] / "sample_data"


def _pixels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as file:
        return np.asarray(file)


def _rows() -> list[dict[str, str]]:
    with (FOLDER / "meta.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("index", [0, 3, 7, 18, 31])
def test_regenerated_pixels_are_identical(index: int) -> None:
    row = _rows()[index]
    phantom = generate_phantom(
        SEED, Condition(row["condition"]), index=index, detail=Detail(row["condition_detail"])
    )
    np.testing.assert_array_equal(phantom.image, _pixels(FOLDER / "images" / f"{row['id']}.png"))
    np.testing.assert_array_equal(phantom.mask, _pixels(FOLDER / "masks" / f"{row['id']}.png"))
    assert (phantom.lesion is not None) == bool(row["lesion_mask"])
    if phantom.lesion is not None:
        np.testing.assert_array_equal(phantom.lesion, _pixels(FOLDER / row["lesion_mask"]) > 0)


def test_a_shorter_data_set_is_the_start_of_the_sample(tmp_path: Path) -> None:
    write_phantoms(tmp_path, 2, SEED)
    head = (FOLDER / "meta.csv").read_text(encoding="utf-8").splitlines()[:3]
    assert (tmp_path / "meta.csv").read_text(encoding="utf-8").splitlines() == head


def test_sample_is_small_and_complete() -> None:
    rows = _rows()
    assert [sum(row["condition"] == c for row in rows) for c in Condition] == [24, 4, 4]
    size = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    assert size < 8_000_000
