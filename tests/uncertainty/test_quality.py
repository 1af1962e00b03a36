from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from lfusion.errors import NotFittedError
from lfusion.uncertainty.quality import QualityModel, fit_quality


def _images(n: int, seed: int = 0) -> tuple[list[dict[str, float]], list[float]]:
    """Dice falls with `blur` as a power law; `noise` says nothing."""
    rng = np.random.default_rng(seed)
    blur = np.exp(rng.normal(-3, 0.7, n))
    noise = np.exp(rng.normal(0, 1, n))
    loss = 0.5 * blur**0.8 * np.exp(rng.normal(0, 0.1, n))
    scores = [{"blur": float(b), "noise": float(v)} for b, v in zip(blur, noise, strict=True)]
    return scores, (1 - np.minimum(loss, 1)).tolist()


def test_it_learns_which_score_matters() -> None:
    model = fit_quality(*_images(60), ["blur", "noise"])
    assert model.weights[0] > 10 * abs(model.weights[1])
    scores, dice = _images(200, seed=1)
    expected = np.array([model.expected_loss(one) for one in scores])
    np.testing.assert_allclose(np.log(expected), np.log(1 - np.array(dice)), atol=0.5)


def test_the_expected_loss_is_a_share() -> None:
    model = fit_quality(*_images(60), ["blur", "noise"])
    assert model.expected_loss({"blur": 1e6, "noise": 1.0}) == 1.0
    assert 0 < model.expected_loss({"blur": 0.0, "noise": 0.0}) < 1e-3


def test_a_constant_score_is_no_obstacle() -> None:
    scores, dice = _images(30)
    model = fit_quality([{**one, "same": 0.0} for one in scores], dice, ["blur", "same"])
    assert np.isfinite(model.weights).all()


def test_it_goes_through_json() -> None:
    model = fit_quality(*_images(30), ["blur", "noise"])
    assert QualityModel.from_dict(json.loads(json.dumps(asdict(model)))) == model


def test_a_handful_of_images_is_refused() -> None:
    with pytest.raises(NotFittedError, match="at least 20 labelled"):
        fit_quality(*_images(5), ["blur", "noise"])
