from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lfusion.checkpoint import Checkpoint
from lfusion.errors import TrainingError
from lfusion.image import Case, Dataset
from lfusion.image.artefacts import ARTEFACTS, Gain, Shadow
from lfusion.model import EncoderConfig, build_encoder
from lfusion.model.input import InputSpec
from lfusion.predictor import Predictor
from lfusion.predictor.steps import EXPECTED_DICE_LOSS
from lfusion.predictor.unusual import ABNORMALITY
from lfusion.training import TrainingConfig, calibrate, train
from lfusion.uncertainty.normative import DENSITY

CONFIG = TrainingConfig(
    encoder=EncoderConfig("tiny"),
    input=InputSpec(64),
    feature_dim=8,
    rank=2,
    steps=30,
    batch_size=2,
    learning_rate=1e-2,
    ssn_samples=4,
    validate_every=30,
)


@pytest.fixture(scope="module")
def dataset(heads: Path) -> Dataset:
    return Dataset.read(heads)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(build_encoder(CONFIG.encoder).body.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def checkpoint(dataset: Dataset, weights: Path) -> Checkpoint:
    """A network that learned, with a frozen encoder, calibrated on two images."""
    return train(
        dataset.split("train"),
        CONFIG,
        validation=dataset.split("val"),
        encoder_weights=weights,
        device="cpu",
    )


def _many(dataset: Dataset) -> tuple[Case, ...]:
    """Enough images to learn what quality to expect."""
    return dataset.cases * 2


def test_a_file_keeps_the_reference_and_the_calibration(
    checkpoint: Checkpoint, dataset: Dataset, tmp_path: Path
) -> None:
    calibrated = calibrate(checkpoint, _many(dataset), lambda _: None, device="cpu")
    identity = calibrated.save(tmp_path / "c.safetensors")
    loaded = Checkpoint.load(tmp_path / "c.safetensors")
    assert loaded.id == identity
    assert loaded.to_bytes() == (tmp_path / "c.safetensors").read_bytes()
    assert loaded.calibration.quality == calibrated.calibration.quality
    assert loaded.calibration.bands == calibrated.calibration.bands
    image = dataset.cases[0].read()
    before, after = (Predictor(one, "cpu")(image) for one in (calibrated, loaded))
    assert before.scores == pytest.approx(after.scores, rel=1e-4)
    assert before.abnormality is not None
    assert after.abnormality is not None
    assert before.abnormality.unusual == after.abnormality.unusual


def test_a_normal_image_is_usual_and_a_spoilt_one_is_not(
    checkpoint: Checkpoint, dataset: Dataset
) -> None:
    calibrated = calibrate(checkpoint, _many(dataset), lambda _: None, device="cpu")
    predictor = Predictor(calibrated, "cpu")
    usual = [predictor(case.read()) for case in dataset.cases]
    verdicts = [one.abnormality for one in usual if one.abnormality is not None]
    assert len(verdicts) == len(dataset.cases)
    # of 26 calibration images, 1 may be as unusual at a rate of 5 %
    assert sum(verdict.unusual for verdict in verdicts) <= 1
    assert {DENSITY, *ARTEFACTS} == set(verdicts[0].p_values)
    image = dataset.cases[0].read()
    for artefact in (Shadow(0.5, 0.5, 0.0, 0.97), Gain(-0.3, 0.0)):
        spoilt = predictor(artefact(image).image)
        assert spoilt.abnormality is not None
        assert spoilt.abnormality.unusual
        assert spoilt.abnormality.sentence.startswith("Unusual, ")
        assert spoilt.scores[ABNORMALITY] > max(one.scores[ABNORMALITY] for one in usual)


def test_regions_lie_in_the_image_and_are_ranked(checkpoint: Checkpoint, dataset: Dataset) -> None:
    predictor = Predictor(calibrate(checkpoint, dataset.cases, lambda _: None, device="cpu"), "cpu")
    image = Shadow(0.5, 0.5, 0.3, 0.97)(dataset.cases[0].read()).image
    found = predictor(image)
    assert found.unfamiliarity is not None
    assert found.unfamiliarity.shape == image.pixels.shape
    assert found.regions
    p_values = [region.p_value for region in found.regions]
    assert p_values == sorted(p_values)
    for region in found.regions:
        top, left, bottom, right = region.box
        assert 0 <= top < bottom <= image.pixels.shape[0]
        assert 0 <= left < right <= image.pixels.shape[1]
        assert 0 < region.area_px <= (bottom - top) * (right - left) * 1.01


def test_the_expected_loss_follows_the_dice(checkpoint: Checkpoint, dataset: Dataset) -> None:
    calibrated = calibrate(checkpoint, _many(dataset), lambda _: None, device="cpu")
    predictor = Predictor(calibrated, "cpu")
    image = dataset.cases[0].read()
    clear = predictor(image).scores[EXPECTED_DICE_LOSS]
    noise = np.random.default_rng(0).uniform(0, 1, image.pixels.shape).astype(np.float32)
    assert 0 < clear < predictor(noise).scores[EXPECTED_DICE_LOSS] <= 1


def test_images_that_were_learned_from_set_no_temperature(
    checkpoint: Checkpoint, dataset: Dataset
) -> None:
    seen = calibrate(checkpoint, dataset.cases, lambda _: None, held_out=False, device="cpu")
    assert seen.calibration.temperature == checkpoint.calibration.temperature
    assert seen.calibration.quality is None
    assert seen.calibration.reference


def test_a_distance_aware_head_keeps_the_mask_and_knows_the_look(
    checkpoint: Checkpoint, dataset: Dataset, weights: Path, tmp_path: Path
) -> None:
    config = replace(CONFIG, distance_features=6)
    aware = train(
        dataset.split("train"),
        config,
        validation=dataset.split("val"),
        encoder_weights=weights,
        device="cpu",
    )
    assert aware.distance_features == 6
    assert checkpoint.distance_features == 0
    plain, other = Predictor(checkpoint, "cpu"), Predictor(aware, "cpu")
    image = dataset.cases[9].read()
    for seen in (image, Gain(0.35, 0.2)(image).image):
        torch.testing.assert_close(plain.moments(seen).mean, other.moments(seen).mean)
        torch.testing.assert_close(plain.moments(seen).aleatoric, other.moments(seen).aleatoric)

    def growth(predictor: Predictor) -> float:
        usual, odd = (
            predictor.moments(seen).epistemic.mean()
            for seen in (image, Gain(0.35, 0.2)(image).image)
        )
        return float(odd / usual)

    assert growth(other) > growth(plain)
    aware.save(tmp_path / "aware.safetensors")
    loaded = Predictor(Checkpoint.load(tmp_path / "aware.safetensors"), "cpu")
    torch.testing.assert_close(
        loaded.moments(image).epistemic, other.moments(image).epistemic, rtol=1e-3, atol=1e-6
    )
    # a warm start keeps the kind of head
    again = train(dataset.split("train"), replace(config, steps=1), start=loaded.checkpoint)
    assert again.distance_features == 6
    assert again.reference is not None


def test_a_distance_aware_head_needs_pretrained_weights(dataset: Dataset) -> None:
    with pytest.raises(TrainingError, match="--encoder-weights"):
        train(dataset, replace(CONFIG, distance_features=6), device="cpu")


def test_without_pretrained_weights_nothing_is_said_about_looks(
    tiny_checkpoint: Path, dataset: Dataset
) -> None:
    found = Predictor(Checkpoint.load(tiny_checkpoint), "cpu")(dataset.cases[0].read())
    assert found.abnormality is None
    assert found.unfamiliarity is None
    assert DENSITY not in found.scores
