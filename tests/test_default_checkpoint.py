"""What the shipped fetal-head model promises, on the shipped phantoms and on real images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import lfusion
from lfusion.checkpoint import default_checkpoint_path
from lfusion.evaluation.metrics import dice
from lfusion.image import Dataset
from lfusion.predictor import Predictor
from lfusion.uncertainty import decompose_monte_carlo

SAMPLE_DATA = Path(__file__).resolve().parents[1] / "sample_data"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return lfusion.load(device="cpu")


@pytest.fixture(scope="module")
def phantoms() -> Dataset:
    return Dataset.read(SAMPLE_DATA)


def test_it_is_small_and_says_what_made_it(predictor: Predictor) -> None:
    assert default_checkpoint_path().stat().st_size <= 10 * 2**20
    assert predictor.labels == {"fetal head": 1}
    made = predictor.checkpoint.fingerprint
    assert made.images > 400
    assert made.config["encoder"]["name"] == "timm:mobilenetv2_100"
    assert len(predictor.checkpoint.calibration.reference["epistemic_per_sqrt_area"]) > 80


def test_it_finds_and_measures_the_head_of_normal_phantoms(
    predictor: Predictor, phantoms: Dataset
) -> None:
    normal = [case for case in phantoms if case.meta["condition"] == "normal"][:6]
    for case in normal:
        result = predictor(case.read())
        assert dice(result.mask == 1, case.read_mask() == 1) > 0.95
        assert result.biometry is not None
        assert result.biometry.hc_mm == pytest.approx(float(case.meta["hc_mm"]), rel=0.03)


def test_the_terms_sum_to_the_total_at_each_pixel(predictor: Predictor, phantoms: Dataset) -> None:
    for case in phantoms.cases[::8]:
        result = predictor(case.read())
        np.testing.assert_allclose(result.epistemic + result.aleatoric, result.total, atol=1e-5)
        assert min(m.min() for m in (result.epistemic, result.aleatoric, result.total)) >= 0


def test_the_closed_form_ranks_pixels_as_two_thousand_samples_do(
    predictor: Predictor, phantoms: Dataset
) -> None:
    image = phantoms.cases[0].read()
    checkpoint = predictor.checkpoint
    network, every = checkpoint.network, (..., slice(None, None, 8), slice(None, None, 8))
    with torch.inference_mode():
        pixels, sector = checkpoint.input.prepare(
            image.pixels, image.sector, network.stride, torch.device("cpu")
        )
        features = network.features(pixels)[every]
        sampled = decompose_monte_carlo(
            features,
            network.head(features, sector[every]),
            checkpoint.posterior,
            theta_samples=2000,  # each of them beside the same draws of the logits
            eta_samples=1000,
            generator=torch.Generator().manual_seed(0),
        )
        closed = predictor.moments(image).decompose(1.0)
    inside = sector[every][:, 0] > 0  # beyond it there is no echo, and no uncertainty is claimed
    for name in ("mutual_information", "expected_entropy", "predictive_entropy"):
        ours, theirs = getattr(closed, name)[every][inside], getattr(sampled, name)[inside]
        assert spearmanr(ours, theirs).statistic >= 0.99, name


def test_it_segments_real_heads(predictor: Predictor, shared_data: Path) -> None:
    cases = Dataset.read(shared_data / "hc18").split("val").cases[::10]
    values = [dice(predictor(case.read()).mask == 1, case.read_mask() == 1) for case in cases]
    assert np.mean(values) > 0.95
