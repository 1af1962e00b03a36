from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

import lfusion
from lfusion.acquisition.aggregation import AGGREGATIONS
from lfusion.checkpoint import Checkpoint
from lfusion.errors import NonFiniteError
from lfusion.image import Dataset
from lfusion.predictor import Predictor
from lfusion.types import GreyImage


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return lfusion.load(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def images(heads: Path) -> list[GreyImage]:
    return [case.read().pixels for case in Dataset.read(heads).split("test")]


def test_results_are_in_native_pixels_and_the_terms_sum_to_the_total(
    predictor: Predictor, images: list[GreyImage]
) -> None:
    result = predictor(images[0], pixel_size_mm=(0.5, 0.5))
    assert result.mask.shape == result.total.shape == images[0].shape
    assert result.probabilities.shape == (2, *images[0].shape)
    np.testing.assert_allclose(result.probabilities.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(result.epistemic + result.aleatoric, result.total, atol=1e-5)
    for values in (result.epistemic, result.aleatoric, result.total):
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= math.log(2) + 1e-5
    assert set(result.scores) >= {
        f"{term}_{aggregation}"
        for term in ("epistemic", "aleatoric", "total")
        for aggregation in AGGREGATIONS
    }
    assert set(result.percentiles) == set(result.scores)
    assert result.labels == {"fetal head": 1}


def test_it_finds_the_head_and_measures_it(predictor: Predictor, heads: Path) -> None:
    for case in Dataset.read(heads).split("test"):
        result, truth = predictor(case.read()), case.read_mask()
        dice = 2 * np.sum(result.mask & truth) / (result.mask.sum() + truth.sum())
        assert dice > 0.85
        assert result.biometry is not None
        assert result.biometry.hc_mm == pytest.approx(float(case.meta["hc_mm"]), rel=0.15)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (37, 53), (300, 41), (700, 900)])
def test_any_size_comes_back_as_it_came(predictor: Predictor, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).random(shape, dtype=np.float32)
    result = predictor(pixels)
    assert result.mask.shape == result.epistemic.shape == shape
    assert np.isfinite(result.total).all()


def test_a_black_image_gives_an_answer(predictor: Predictor) -> None:
    result = predictor(np.zeros((90, 120), np.uint8))
    assert np.isfinite(list(result.scores.values())).all()


def test_uncertainty_sits_at_the_boundary(predictor: Predictor, images: list[GreyImage]) -> None:
    result = predictor(images[0])
    confident = result.probabilities.max(0) > 0.9
    assert result.total[~confident].mean() > 2 * result.total[confident].mean()


def test_threads_get_what_one_caller_gets(predictor: Predictor, images: list[GreyImage]) -> None:
    alone = [predictor(image) for image in images]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(predictor, images * 8))
    for index, result in enumerate(together):
        expected = alone[index % len(images)]
        np.testing.assert_array_equal(result.epistemic, expected.epistemic)
        np.testing.assert_array_equal(result.probabilities, expected.probabilities)
        assert result.scores == expected.scores


def test_weights_that_give_nan_are_reported(tiny_checkpoint: Path) -> None:
    predictor = Predictor(Checkpoint.load(tiny_checkpoint), device="cpu")
    with torch.no_grad():
        predictor.checkpoint.network.get_parameter("head.mean.bias").fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="not finite"):
        predictor(np.zeros((30, 40), np.uint8))
