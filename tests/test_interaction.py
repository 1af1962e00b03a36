"""A mask that follows clicks, other masks of the same image, and bands of uncertainty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lfusion
from lfusion.errors import CounterfactualError
from lfusion.image import UltrasoundImage, read_image
from lfusion.interaction import (
    Possibilities,
    bands,
    boundary_thresholds,
    corrected,
    modes,
    possibilities,
    sample,
    step_along,
)
from lfusion.predictor import Predictor
from lfusion.types import BoolMap


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return lfusion.load(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def image(heads: Path) -> UltrasoundImage:
    return read_image(heads / "images" / "head10.png")


@pytest.fixture(scope="module")
def seen(predictor: Predictor, image: UltrasoundImage) -> Possibilities:
    return possibilities(predictor, image)


def overlap(a: BoolMap, b: BoolMap) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


class TestClicks:
    def test_nothing_said_is_the_prediction(
        self, seen: Possibilities, predictor: Predictor, image: UltrasoundImage
    ) -> None:
        expected = predictor(image).mask > 0
        assert overlap(corrected(seen, {}).mask > 0, expected) > 0.99

    def test_what_is_said_stands_and_its_surroundings_follow(self, seen: Possibilities) -> None:
        before = corrected(seen, {}).mask
        row, column = np.argwhere(before == 1)[0].tolist()
        after = corrected(seen, {0: [(row, column)]}).mask
        assert after[row, column] == 0
        changed = np.argwhere(after != before)
        assert len(changed) > 1
        assert after.sum() < before.sum()
        grown = corrected(seen, {1: [(row - 4, column)]}).mask
        assert before[row - 4, column] == 0
        assert grown[row - 4, column] == 1
        assert grown.sum() > before.sum() + 1

    def test_the_probabilities_say_the_same_as_the_mask(self, seen: Possibilities) -> None:
        found = corrected(seen, {0: [(40, 60)]})
        said = np.zeros(found.mask.shape, bool)
        said[40, 60] = True
        np.testing.assert_array_equal(found.probabilities.argmax(0)[~said], found.mask[~said])
        np.testing.assert_allclose(found.probabilities.sum(0), 1, atol=1e-5)

    def test_the_later_class_wins_on_one_pixel(self, seen: Possibilities) -> None:
        assert corrected(seen, {0: [(40, 60)], 1: [(40, 60)]}).mask[40, 60] == 1

    def test_outside_the_sector_it_stands_alone(self, predictor: Predictor) -> None:
        pixels = np.zeros((96, 128), np.float32)
        pixels[20:80, 30:100] = np.random.default_rng(0).random((60, 70), np.float32)
        sector = np.zeros((96, 128), bool)
        sector[20:80, 30:100] = True
        image = lfusion.image.as_ultrasound_image(pixels)
        seen = possibilities(predictor, UltrasoundImage(pixels, None, sector, image.geometry))
        before = corrected(seen, {}).mask
        after = corrected(seen, {1: [(5, 5)]}).mask
        assert after[5, 5] == 1
        after[5, 5] = before[5, 5]
        np.testing.assert_array_equal(after, before)

    @pytest.mark.parametrize("pixel", [(-1, 0), (0, 128), (96, 0)])
    def test_outside_the_image_is_refused(
        self, seen: Possibilities, pixel: tuple[int, int]
    ) -> None:
        with pytest.raises(CounterfactualError, match=r"image of 96 x 128"):
            corrected(seen, {1: [pixel]})

    def test_an_unknown_class_is_refused(self, seen: Possibilities) -> None:
        with pytest.raises(ValueError, match="class numbers from 0 to 1"):
            corrected(seen, {2: [(4, 4)]})


class TestAlternatives:
    def test_walking_a_mode_grows_the_mask_through_the_mean(self, seen: Possibilities) -> None:
        first = modes(seen)[0]
        areas = [int(step_along(seen, first, t).mask.sum()) for t in (-3, -1, 0, 1, 3)]
        assert areas == sorted(areas)
        assert areas[0] < areas[2] < areas[-1]
        assert 0 < first.variance_share <= 1
        mean = corrected(seen, {}).mask
        np.testing.assert_array_equal(step_along(seen, first, 0.0).mask, mean)

    def test_a_seed_repeats_a_sample(self, seen: Possibilities) -> None:
        masks = [sample(seen, seed).mask for seed in (7, 7, 8)]
        np.testing.assert_array_equal(masks[0], masks[1])
        assert (masks[0] != masks[2]).any()


class TestBands:
    def test_thresholds_come_from_the_boundary_band_alone(self) -> None:
        # 2 % of 100 px: the two columns on either side of the change, and two more each.
        mask = np.zeros((50, 100), np.uint8)
        mask[:, 50:] = 1
        values = np.zeros((50, 100), np.float32)
        values[:, 47:53] = [1, 2, 3, 4, 5, 6]
        values[:, 0] = 100
        assert boundary_thresholds(values, mask, (0.0, 1.0)) == (1, 6)

    def test_without_a_boundary_the_whole_image_counts(self) -> None:
        values = np.linspace(0, 1, 101, dtype=np.float32)[None]
        mask = np.zeros((1, 101), np.uint8)
        assert boundary_thresholds(values, mask) == pytest.approx((0.75, 0.95))

    def test_a_pixel_at_a_threshold_is_below_it(self) -> None:
        values = np.array([[0.0, 0.5, 0.6, 1.0, 1.1]], np.float32)
        np.testing.assert_array_equal(bands(values, (0.5, 1.0)), [[0, 0, 1, 1, 2]])

    def test_a_flat_map_has_no_bands(self) -> None:
        mask = np.eye(20, dtype=np.uint8)
        values = np.full((20, 20), 0.3, np.float32)
        assert not bands(values, boundary_thresholds(values, mask)).any()

    def test_thresholds_must_ascend(self) -> None:
        with pytest.raises(ValueError, match="ascending"):
            bands(np.zeros((2, 2), np.float32), (2.0, 1.0))
