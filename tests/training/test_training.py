from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lfusion.checkpoint import Checkpoint
from lfusion.errors import DatasetError, EncoderError, TrainingError, TrainingStopped
from lfusion.image import Case, Dataset
from lfusion.model import EncoderConfig, build_encoder
from lfusion.model.input import InputSpec
from lfusion.training import TrainingConfig, TrainingProgress, train

CONFIG = TrainingConfig(
    encoder=EncoderConfig("tiny"),
    input=InputSpec(64),
    feature_dim=8,
    rank=2,
    steps=6,
    batch_size=2,
    ssn_samples=4,
    validate_every=3,
)


@pytest.fixture(scope="module")
def dataset(heads: Path) -> Dataset:
    return Dataset.read(heads)


def test_the_same_seed_gives_the_same_checkpoint(dataset: Dataset) -> None:
    parts = dataset.split("train"), dataset.split("val")
    first, again = (train(parts[0], CONFIG, validation=parts[1], device="cpu") for _ in range(2))
    other = train(parts[0], replace(CONFIG, seed=1), validation=parts[1], device="cpu")
    assert first.id == again.id
    assert first.id != other.id


def test_training_learns(tiny_checkpoint: Path, dataset: Dataset) -> None:
    seen: list[TrainingProgress] = []
    config = replace(CONFIG, steps=60, learning_rate=1e-2, validate_every=20)
    train(
        dataset.split("train"),
        config,
        validation=dataset.split("val"),
        on_progress=seen.append,
        device="cpu",
    )
    fit = [p for p in seen if p.stage == "fit"]
    assert [p.step for p in fit] == list(range(1, 61))
    first, last = fit[0], fit[-1]
    assert first.loss is not None
    assert last.loss is not None
    assert last.loss < 0.7 * first.loss
    assert first.dice is None
    assert last.best_dice is not None
    assert last.best_dice > 0.7
    assert last.seconds_left == 0
    assert [p.step for p in seen if p.stage == "posterior"] == list(range(1, 9))
    assert [p.step for p in seen if p.stage == "calibration"] == [1, 2]


def test_training_stops_when_asked(dataset: Dataset) -> None:
    seen: list[TrainingProgress] = []
    with pytest.raises(TrainingStopped, match="step 4 of 6"):
        train(
            dataset,
            CONFIG,
            on_progress=seen.append,
            should_stop=lambda: len(seen) == 3,
            device="cpu",
        )
    assert len(seen) == 3


def test_early_stopping_keeps_the_best_weights(dataset: Dataset) -> None:
    seen: list[TrainingProgress] = []
    # a rate of zero never improves, so the second look is the first without improvement
    config = replace(CONFIG, steps=50, learning_rate=1e-12, validate_every=2, patience=2)
    train(
        dataset.split("train"),
        config,
        validation=dataset.split("val"),
        on_progress=seen.append,
        device="cpu",
    )
    assert max(p.step for p in seen if p.stage == "fit") == 6


def test_floating_point_mode_comes_back(dataset: Dataset) -> None:
    train(dataset, replace(CONFIG, steps=1), device="cpu")
    assert float(torch.tensor(1e-40) * 1) > 0


def test_a_warm_start_keeps_the_curvature_of_earlier_images_once(
    tiny_checkpoint: Path, dataset: Dataset
) -> None:
    start = Checkpoint.load(tiny_checkpoint)
    few = replace(dataset, cases=dataset.split("test").cases[:2])
    first = train(few, replace(CONFIG, steps=1), start=start, device="cpu")
    second = train(few, replace(CONFIG, steps=1), start=first, device="cpu")
    own = []
    for checkpoint in (first, second):
        assert checkpoint.inherited_ggn is not None
        torch.testing.assert_close(checkpoint.inherited_ggn, start.posterior.ggn)
        own.append(checkpoint.posterior.ggn - checkpoint.inherited_ggn)
    # the same two images, under nearly the same weights: counted once, not twice
    assert own[1].trace() == pytest.approx(float(own[0].trace()), rel=0.2)
    assert first.fingerprint.parent == start.id
    assert second.fingerprint.parent == first.id
    # two corrected images say nothing of the usual range of scores
    assert first.calibration.temperature == start.calibration.temperature
    for name, values in start.calibration.reference.items():
        np.testing.assert_array_equal(first.calibration.reference[name], values)
    assert start.id == Checkpoint.load(tiny_checkpoint).id


def test_a_warm_start_on_the_same_images_counts_them_once(dataset: Dataset) -> None:
    first = train(dataset.split("test"), replace(CONFIG, steps=1), device="cpu")
    again = train(dataset.split("test"), replace(CONFIG, steps=1), start=first, device="cpu")
    assert again.inherited_ggn is None
    trace = float(first.posterior.ggn.trace())
    assert float(again.posterior.ggn.trace()) == pytest.approx(trace, rel=0.2)


@pytest.mark.parametrize("written", ["n/a", "0", "nan"])
def test_a_circumference_that_is_none_is_said_before_the_training(
    dataset: Dataset, written: str
) -> None:
    seen: list[TrainingProgress] = []
    case = dataset.split("val").cases[0]
    wrong = replace(case, meta={**case.meta, "hc_mm": written})
    with pytest.raises(DatasetError, match=f"{case.id}: expected a positive hc_mm"):
        train(
            dataset.split("train"),
            CONFIG,
            validation=replace(dataset, cases=(wrong,)),
            on_progress=seen.append,
            device="cpu",
        )
    assert not seen


def test_one_image_is_too_few_to_learn_what_is_normal(dataset: Dataset, tmp_path: Path) -> None:
    weights, seen = tmp_path / "weights.safetensors", list[TrainingProgress]()
    save_file(build_encoder(CONFIG.encoder).body.state_dict(), weights)
    one = replace(dataset, cases=dataset.split("train").cases[:1])
    with pytest.raises(TrainingError, match="two labelled images or more"):
        train(one, CONFIG, encoder_weights=weights, on_progress=seen.append, device="cpu")
    assert not seen


def test_labels_that_do_not_fit_the_start_are_named(
    tiny_checkpoint: Path, dataset: Dataset
) -> None:
    start = Checkpoint.load(tiny_checkpoint)
    with pytest.raises(TrainingError, match=r"'fetal head': 1.*got \{'cyst': 1\}"):
        train(replace(dataset, labels={"cyst": 1}), CONFIG, start=start)


def test_a_dataset_without_masks_cannot_be_trained_on(dataset: Dataset) -> None:
    unlabelled = tuple(replace(case, mask_path=None) for case in dataset)
    with pytest.raises(TrainingError, match="found none of 13 with a mask"):
        train(replace(dataset, cases=unlabelled), CONFIG, device="cpu")
    with pytest.raises(TrainingError, match="names no labels"):
        train(replace(dataset, labels={}), CONFIG, device="cpu")


def test_a_class_that_the_labels_do_not_name_is_found(dataset: Dataset, tmp_path: Path) -> None:
    from PIL import Image

    case: Case = dataset.cases[0]
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full(case.read_mask().shape, 3, np.uint8)).save(mask)
    odd = replace(dataset, cases=(replace(case, mask_path=mask),))
    with pytest.raises(TrainingError, match=r"head00: its mask holds class 3.*only 1 to 1"):
        train(odd, CONFIG, device="cpu")


def test_a_diverging_loss_is_reported(dataset: Dataset) -> None:
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(dataset, replace(CONFIG, steps=30, learning_rate=1e12), device="cpu")


def test_several_classes_train_and_predict(dataset: Dataset, tmp_path: Path) -> None:
    from PIL import Image

    from lfusion.predictor import Predictor

    cases = []
    for case in dataset.split("train"):
        mask = case.read_mask()
        mask[: mask.shape[0] // 2] *= 2  # upper half of the head: class 2
        path = tmp_path / f"{case.id}.png"
        Image.fromarray(mask).save(path)
        cases.append(replace(case, mask_path=path))
    labels = {"lower": 1, "upper": 2}
    checkpoint = train(
        Dataset(tuple(cases), labels),
        replace(CONFIG, steps=60, learning_rate=1e-2),
        device="cpu",
    )
    result = Predictor(checkpoint, "cpu")(cases[0].read())
    assert result.probabilities.shape[0] == 3
    assert result.biometry is None
    np.testing.assert_allclose(result.epistemic + result.aleatoric, result.total, atol=1e-5)
    rows = [np.nonzero(result.mask == c)[0].mean() for c in (1, 2)]
    assert rows[1] < rows[0]


def test_weights_from_the_hub_need_a_network(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    config = replace(CONFIG, encoder=EncoderConfig("timm:convnext_atto"))
    with pytest.raises(EncoderError, match="could not be fetched from the hub"):
        train(dataset, config, encoder_weights="hub", device="cpu")
