"""The phantom generator: truth, conditions, determinism."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfusion.image.phantom import (
    Condition,
    Detail,
    HeadEllipse,
    Phantom,
    generate_phantom,
    plan,
    write_phantoms,
)

_DIGEST = (
    "import hashlib; from lfusion.image.phantom import generate_phantom;"
    "print(hashlib.sha256(generate_phantom(3, index=2).image.tobytes()).hexdigest())"
)


@pytest.fixture(scope="module")
def normal() -> Phantom:
    return generate_phantom(11, Condition.NORMAL)


def test_two_processes_give_the_same_bits() -> None:
    """Another process, other thread counts: not one pixel changes."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "3")
    }
    assert len(digests) == 1


def test_seed_and_index_matter() -> None:
    images = [generate_phantom(s, index=i).image.tobytes() for s, i in [(0, 0), (0, 1), (1, 0)]]
    assert len(set(images)) == 3


def test_circle_has_the_circumference_of_a_circle() -> None:
    assert HeadEllipse(0, 0, 10, 10, 0).circumference_px() == pytest.approx(31.41592653589793)


def test_circumference_agrees_with_ramanujan() -> None:
    """Ramanujan's second formula (method guide) is good to 1e-6 at these shapes."""
    a, b = 120.0, 90.0
    h = ((a - b) / (a + b)) ** 2
    expected = np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h)))
    found = HeadEllipse(0, 0, 2 * b, 2 * a, 30).circumference_px()
    assert found == pytest.approx(expected, rel=1e-6)


def test_filled_ellipse_follows_the_pixel_centre_rule() -> None:
    """Long axis 4 px along x (d1, the short one, points along y), centre on a pixel."""
    mask = HeadEllipse(cx=3, cy=2, d1_px=2, d2_px=4, angle_deg=90).filled(5, 7)
    expected = np.zeros((5, 7), np.uint8)
    expected[2, 1:6] = 1
    expected[1:4, 3] = 1
    np.testing.assert_array_equal(mask, expected)


def test_mask_has_the_area_of_the_ellipse(normal: Phantom) -> None:
    area = np.pi / 4 * normal.ellipse.d1_px * normal.ellipse.d2_px
    assert normal.mask.sum() == pytest.approx(area, rel=2e-3)
    assert normal.hc_mm == pytest.approx(normal.ellipse.circumference_px() * normal.pixel_size_mm)
    assert set(np.unique(normal.mask)) == {0, 1}


@pytest.mark.parametrize("index", range(6))
def test_scan_is_black_outside_the_fan_and_holds_the_head(index: int) -> None:
    phantom = generate_phantom(7, index=index)
    assert not phantom.image[~phantom.fan].any()
    assert phantom.fan[phantom.mask > 0].all()
    assert 90.0 <= phantom.hc_mm <= 330.0


@pytest.mark.parametrize(
    "detail", [Detail.VENTRICULOMEGALY, Detail.HYPERECHOIC_MASS, Detail.HYPOECHOIC_MASS]
)
def test_abnormal_is_the_normal_scan_plus_a_lesion(normal: Phantom, detail: Detail) -> None:
    abnormal = generate_phantom(11, Condition.ABNORMAL, detail=detail)
    assert abnormal.lesion is not None
    assert (abnormal.mask[abnormal.lesion] == 1).all()
    np.testing.assert_array_equal(abnormal.mask, normal.mask)
    change = np.abs(abnormal.image.astype(float) - normal.image)
    outside = (abnormal.mask == 0) & abnormal.fan
    assert change[abnormal.lesion].mean() > 3 * change[outside].mean()


def test_detail_of_another_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of ventriculomegaly"):
        generate_phantom(0, Condition.ABNORMAL, detail=Detail.SHADOW)


def test_plan_counts() -> None:
    rows = list(plan(32))
    assert Counter(condition for condition, _, _ in rows) == {
        "normal": 24,
        "abnormal": 4,
        "poor": 4,
    }
    assert {split for condition, _, split in rows if condition != "normal"} == {"test"}
    normal = Counter(split for condition, _, split in plan(800) if condition == "normal")
    assert normal["train"] / 600 == pytest.approx(0.60, abs=0.03)
    assert normal["val"] / 600 == pytest.approx(0.15, abs=0.03)


def test_written_folder_is_complete(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_phantoms(tmp_path, 4, 5, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with (tmp_path / "meta.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"phantom_{i:04d}" for i in range(1, 5)]
    assert rows[3]["lesion_mask"] == "lesions/phantom_0004.png"
    for row in rows:
        keys = ("cx", "cy", "d1_px", "d2_px", "angle_deg")
        ellipse = HeadEllipse(*(float(row[f"ellipse_{key}"]) for key in keys))
        with Image.open(tmp_path / "masks" / f"{row['id']}.png") as file_mask:
            mask = np.asarray(file_mask)
        np.testing.assert_array_equal(mask, ellipse.filled(384, 512))
        assert mask.shape == (int(row["height"]), int(row["width"]))
    assert json.loads((tmp_path / "labels.json").read_text()) == {"fetal head": 1}


@pytest.mark.parametrize(("n", "seed"), [(0, 1), (3, -1)])
def test_bad_counts_are_refused(tmp_path: Path, n: int, seed: int) -> None:
    with pytest.raises(ValueError, match="expected n >= 1 and seed >= 0"):
        write_phantoms(tmp_path, n, seed)
