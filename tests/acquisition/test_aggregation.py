from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lfusion.acquisition import image_scores
from lfusion.acquisition.aggregation import AGGREGATIONS, shape_misfit, soft_dice_loss
from lfusion.biometry import Ellipse


def _two_classes(foreground: NDArray[np.float64]) -> NDArray[np.float32]:
    both: NDArray[np.float32] = np.stack((1 - foreground, foreground)).astype(np.float32)
    return both


def test_aggregations_by_hand() -> None:
    values = np.full((4, 5), 0.2, np.float32)
    mask = np.zeros((4, 5), np.uint8)
    mask[:1] = 1  # a quarter of the image
    found = {name: aggregate(values, mask) for name, aggregate in AGGREGATIONS.items()}
    assert found == pytest.approx(
        {"mean": 0.2, "per_sqrt_area": 0.4, "per_area": 0.8, "patch_max": 0.2}
    )


@pytest.mark.parametrize("name", AGGREGATIONS)
def test_no_aggregation_depends_on_resolution(name: str) -> None:
    chance = np.random.default_rng(0)
    values = np.kron(chance.random((6, 8)), np.ones((10, 10))).astype(np.float32)
    mask = np.kron(chance.random((6, 8)) > 0.5, np.ones((10, 10))).astype(np.uint8)
    finer = AGGREGATIONS[name](
        np.kron(values, np.ones((3, 3), np.float32)), np.kron(mask, np.ones((3, 3), np.uint8))
    )
    # a patch of a whole number of pixels covers slightly another area
    assert finer == pytest.approx(AGGREGATIONS[name](values, mask), rel=0.02)


def test_an_empty_mask_keeps_scores_finite() -> None:
    values, empty = np.ones((10, 10), np.float32), np.zeros((10, 10), np.uint8)
    found = {name: aggregate(values, empty) for name, aggregate in AGGREGATIONS.items()}
    assert found["per_sqrt_area"] == pytest.approx(10)
    assert found["per_area"] == pytest.approx(100)
    probabilities = _two_classes(np.full((10, 10), 0.2))
    assert soft_dice_loss(probabilities, empty) == 1.0
    assert shape_misfit(probabilities) == 1.0


def test_the_worst_patch_finds_a_spot_that_the_mean_hides() -> None:
    mask = np.ones((100, 100), np.uint8)
    spread = np.full((100, 100), 0.01, np.float32)
    spot = np.zeros((100, 100), np.float32)
    spot[40:46, 40:46] = 0.5
    patch_max, mean = AGGREGATIONS["patch_max"], AGGREGATIONS["mean"]
    assert mean(spot, mask) < mean(spread, mask)
    assert patch_max(spot, mask) == pytest.approx(0.5)
    assert patch_max(spread, mask) == pytest.approx(0.01)


def test_soft_dice_loss_by_hand() -> None:
    foreground = np.array([[0.75, 0.75, 0.25, 0.25]])
    mask = np.array([[1, 1, 0, 0]], np.uint8)
    # 1 - 2 * 1.5 / (2 + 2)
    assert soft_dice_loss(_two_classes(foreground), mask) == pytest.approx(0.25)
    assert soft_dice_loss(_two_classes((foreground > 0.5).astype(float)), mask) == 0.0


def test_an_ellipse_fits_and_a_bite_does_not() -> None:
    rows, columns = np.mgrid[:120, :160]
    outline = Ellipse(60, 80, 50, 35, 30).outline(720)
    inside = np.zeros((120, 160))
    turn = np.radians(30)
    along = (columns - 80) * np.cos(turn) + (rows - 60) * np.sin(turn)
    across = (rows - 60) * np.cos(turn) - (columns - 80) * np.sin(turn)
    inside[(along / 50) ** 2 + (across / 35) ** 2 <= 1] = 1.0
    assert len(outline) == 720
    assert shape_misfit(_two_classes(inside)) < 0.01
    bitten = inside.copy()
    bitten[:60, :80] = 0.0
    assert shape_misfit(_two_classes(bitten)) > 0.08


def test_every_map_gets_every_aggregation() -> None:
    flat = np.zeros((8, 8), np.float32)
    scores = image_scores({"total": flat}, _two_classes(np.zeros((8, 8))), flat.astype(np.uint8))
    assert set(scores) == {
        *(f"total_{name}" for name in AGGREGATIONS),
        "soft_dice_loss",
        "shape_misfit",
    }
