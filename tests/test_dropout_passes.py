from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import cycle
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch

import lfusion
from lfusion.checkpoint import Checkpoint
from lfusion.errors import DropoutError
from lfusion.image import Dataset
from lfusion.model import SegmentationNetwork
from lfusion.predictor import Prediction, Predictor
from lfusion.types import GreyImage


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return lfusion.load(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def images(heads: Path) -> list[GreyImage]:
    return [case.read().pixels for case in Dataset.read(heads).split("test")]


def _assert_equal(result: Prediction, expected: Prediction) -> None:
    for field in fields(Prediction):
        ours, theirs = getattr(result, field.name), getattr(expected, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        else:
            assert ours == theirs, field.name


def test_they_widen_the_epistemic_map_and_keep_the_outline(
    predictor: Predictor, images: list[GreyImage]
) -> None:
    plain, dropped = predictor(images[0]), predictor(images[0], dropout_passes=6)
    assert dropped.epistemic.mean() > 1.5 * plain.epistemic.mean()
    assert np.mean(dropped.mask != plain.mask) < 0.001
    np.testing.assert_allclose(dropped.epistemic + dropped.aleatoric, dropped.total, atol=1e-5)


def test_a_prediction_repeats(predictor: Predictor, images: list[GreyImage]) -> None:
    first = predictor(images[0], dropout_passes=3)
    torch.rand(7)
    _assert_equal(predictor(images[0], dropout_passes=3), first)


def test_the_default_is_the_constructors_and_a_call_may_say_otherwise(
    predictor: Predictor, tiny_checkpoint: Path, images: list[GreyImage]
) -> None:
    dropping = lfusion.load(tiny_checkpoint, "cpu", dropout_passes=3)
    _assert_equal(dropping(images[0]), predictor(images[0], dropout_passes=3))
    _assert_equal(dropping(images[0], dropout_passes=0), predictor(images[0]))


@pytest.mark.parametrize(("passes", "decoder_passes"), [(0, 1), (4, 5)])
def test_the_encoder_runs_once_and_the_decoder_only_as_asked(
    tiny_checkpoint: Path, images: list[GreyImage], passes: int, decoder_passes: int
) -> None:
    predictor = Predictor(Checkpoint.load(tiny_checkpoint), "cpu")
    calls = []
    for name in ("encoder", "decoder"):
        module = getattr(predictor.checkpoint.network, name)
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    predictor(images[0], dropout_passes=passes)
    assert (calls.count("encoder"), calls.count("decoder")) == (1, decoder_passes)


def test_the_served_model_is_left_as_it_was(predictor: Predictor, images: list[GreyImage]) -> None:
    network = predictor.checkpoint.network
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    predictor(images[0], dropout_passes=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_threads_get_what_one_caller_gets_while_another_toggles_the_passes(
    predictor: Predictor, images: list[GreyImage]
) -> None:
    jobs = [(image, passes) for image in images for passes in (0, 2, 3)]
    alone = [predictor(image, dropout_passes=passes) for image, passes in jobs]
    done = Event()

    def toggle() -> None:
        for passes in cycle((4, 0)):
            predictor(images[0], dropout_passes=passes)
            torch.rand(3)  # moves the global random state, too
            if done.is_set():
                return

    with ThreadPoolExecutor(9) as pool:
        toggling = pool.submit(toggle)
        try:
            results = [pool.submit(predictor, job[0], dropout_passes=job[1]) for job in jobs * 4]
            together = [result.result() for result in results]
        finally:
            done.set()
        toggling.result()
    for index, result in enumerate(together):
        _assert_equal(result, alone[index % len(jobs)])


def test_percentiles_of_images_scored_without_dropout_are_not_given(
    predictor: Predictor, images: list[GreyImage]
) -> None:
    assert predictor(images[0]).percentiles
    assert predictor(images[0], dropout_passes=2).percentiles == {}


@pytest.mark.parametrize("passes", [-1, 1])
def test_numbers_that_say_nothing_are_refused(predictor: Predictor, passes: int) -> None:
    with pytest.raises(DropoutError, match=f"at least 2, got {passes}"):
        predictor(np.zeros((30, 40), np.uint8), dropout_passes=passes)


def test_a_network_trained_without_dropout_refuses(tiny_checkpoint: Path) -> None:
    trained = Checkpoint.load(tiny_checkpoint)
    network = SegmentationNetwork(replace(trained.network.config, dropout=0.0)).eval()
    network.load_state_dict(trained.network.state_dict())
    checkpoint = replace(trained, network=network)
    predictor = Predictor(checkpoint, "cpu")
    assert predictor(np.zeros((30, 40), np.uint8)).percentiles
    with pytest.raises(DropoutError, match="trained without dropout"):
        predictor(np.zeros((30, 40), np.uint8), dropout_passes=4)
    with pytest.raises(DropoutError, match="trained without dropout"):
        Predictor(checkpoint, "cpu", dropout_passes=4)
