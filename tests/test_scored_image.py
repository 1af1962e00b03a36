"""What is stored of an image of the pool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lfusion.acquisition import greedy_batch, information_gain, unpacked
from lfusion.image import as_ultrasound_image
from lfusion.predictor import Predictor, load
from lfusion.predictor.description import embedding_of


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return load(tiny_checkpoint, "cpu")


def test_the_scores_are_those_of_the_prediction(predictor: Predictor, heads: Path) -> None:
    path = heads / "images" / "head10.png"
    scored, again = predictor.score(path), predictor.score(path)
    gain = scored.scores["information_gain"]
    assert dict(scored.scores) == {**predictor(path).scores, "information_gain": gain}
    assert gain == float(information_gain(unpacked(scored.information))) > 0
    np.testing.assert_array_equal(scored.information, again.information)


def test_an_image_twice_tells_less_than_two_images(predictor: Predictor, heads: Path) -> None:
    names = ("head10", "head11")
    found = [predictor.score(heads / "images" / f"{name}.png").information for name in names]
    picks = greedy_batch(["a", "a again", "b"], np.stack([found[0], found[0], found[1]]), 3)
    assert picks[-1].id == "a again" or picks[1].value < picks[0].value


def test_without_a_frozen_encoder_the_embedding_pools_the_features(
    predictor: Predictor, heads: Path
) -> None:
    image = as_ultrasound_image(heads / "images" / "head10.png")
    seen = predictor.fields(image)
    assert seen.appearance is None
    halves = torch.zeros(1, 2, 2, 4)
    halves[0, :, :, :2] = torch.tensor([1.0, 2.0])[:, None, None]
    halves[0, 1, 0, :2] = 4.0
    sector = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 1, 2, 4)
    pooled = embedding_of(replace(seen, features=halves, sector=sector))
    assert pooled.tolist() == [1, 3, 0, 1]  # means, then deviations, of the left half
    nowhere = embedding_of(replace(seen, features=halves, sector=torch.zeros_like(sector)))
    assert nowhere.tolist()[:2] == [0.5, 1.5]
    assert predictor.score(image).embedding.shape == (2 * seen.features.shape[1],)
