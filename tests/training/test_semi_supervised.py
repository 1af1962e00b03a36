from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lfusion.checkpoint import Checkpoint
from lfusion.errors import TrainingError
from lfusion.image import Dataset
from lfusion.model import EncoderConfig, NetworkConfig, SegmentationNetwork
from lfusion.model.input import InputSpec
from lfusion.training import TrainingConfig, train
from lfusion.training.augment import augmented_batch
from lfusion.training.data import Sample, load_samples, to_grid
from lfusion.training.fit import fit_network, validation_dice
from lfusion.training.losses import NOT_ANNOTATED
from lfusion.training.second_decoder import SecondDecoder
from lfusion.training.semi_supervised import (
    CrossTeaching,
    agreement_weight,
    pooled_distance,
    pooled_features,
    ramp,
    weighted_loss,
)

CONFIG = TrainingConfig(
    encoder=EncoderConfig("tiny"),
    input=InputSpec(64),
    feature_dim=8,
    rank=2,
    steps=4,
    batch_size=4,
    ssn_samples=4,
    semi_supervised=0.1,
)


@pytest.fixture(scope="module")
def partly_labelled(heads: Path) -> Dataset:
    """Eight training images, of which the last five have lost their masks."""
    dataset = Dataset.read(heads).split("train")
    hidden = tuple(replace(case, mask_path=None) for case in dataset.cases[3:])
    return replace(dataset, cases=dataset.cases[:3] + hidden)


@pytest.fixture(scope="module")
def samples(heads: Path) -> list[Sample]:
    return load_samples(Dataset.read(heads).split("train"), InputSpec(64), 2, 2)


def _pixel(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).view(1, -1, 1, 1)


def test_the_weight_of_unlabelled_images_rises_and_stays() -> None:
    values = [ramp(step, 20) for step in range(30)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(math.exp(-5))
    assert set(values[20:]) == {1.0}
    assert ramp(0, 0) == 1


def test_agreement_by_hand() -> None:
    same = _pixel(0.1, 0.9)
    assert float(agreement_weight(same, same)) == pytest.approx(1)
    opposite = agreement_weight(_pixel(1, 0), _pixel(0, 1), confidence=0)
    assert float(opposite) == pytest.approx(0, abs=1e-6)
    # mean (.8, .2): H = .5004; halves 0 and .6730 / 2; 1 − (.5004 − .3365) / .6931
    partly = agreement_weight(_pixel(1, 0), _pixel(0.6, 0.4), confidence=0.7)
    assert float(partly) == pytest.approx(0.7635, abs=1e-4)


def test_what_neither_decoder_is_confident_of_teaches_nothing() -> None:
    same = _pixel(0.3, 0.7)
    assert agreement_weight(same, same, confidence=0.8) == 0
    assert agreement_weight(same, same, confidence=0.6) > 0.99


@given(st.floats(0, 1), st.floats(0, 1))
def test_agreement_is_a_share_and_knows_no_order(p: float, q: float) -> None:
    first, second = _pixel(p, 1 - p), _pixel(q, 1 - q)
    weight = float(agreement_weight(first, second, confidence=0))
    assert 0 <= weight <= 1
    assert weight == pytest.approx(float(agreement_weight(second, first, confidence=0)))


def test_the_weighted_loss_by_hand() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    target = torch.tensor([[0.0, 1.0, 1.0, 1.0]]).view(1, 1, 1, 4)
    target = torch.cat((1 - target, target), 1)
    weight = torch.tensor([1.0, 0.5, 0.0, 1.0]).view(1, 1, 1, 4)
    valid = torch.tensor([1.0, 1.0, 1.0, 0.0]).view(1, 1, 1, 4)
    # (1 + ½) ln 2 over three valid pixels; for the Dice loss p = ½, ¼, 0, 0 and y = 0, ½, 0, 0
    dice = 1 - (2 * 0.25 * 0.5 + 1) / (0.75 + 0.5 + 1)
    expected = 1.5 * math.log(2) / 3 + dice
    assert float(weighted_loss(logits, target, weight, valid)) == pytest.approx(expected)


def test_pixels_without_weight_give_no_gradient() -> None:
    logits = torch.randn(1, 2, 1, 4, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    target = torch.full((1, 2, 1, 4), 0.5)
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 4)
    loss = weighted_loss(logits, target, weight, torch.ones_like(weight))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[..., 2:] == 0).all()
    assert (gradient[..., :2] != 0).all()


def test_features_are_pooled_by_class() -> None:
    features = torch.tensor([[2.0, 4.0, 9.0], [0.0, 2.0, 9.0]]).view(1, 2, 1, 3)
    shares = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.5, 0.0]]).view(1, 2, 1, 3)
    pooled = pooled_features(features, shares)
    # background (2 + ½ · 4) / 1.5 and (0 + ½ · 2) / 1.5; head: half a pixel counts as such a part
    expected = torch.tensor([[[4 / 1.5, 1 / 1.5], [2.0, 1.0]]])
    torch.testing.assert_close(pooled, expected)


def test_the_distance_of_pooled_features_is_of_direction_and_of_classes_that_are_there() -> None:
    shares = torch.zeros(1, 2, 2, 2)
    shares[:, 0] = 1
    one = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    other = torch.tensor([[[3.0, 0.0], [0.0, 1.0]]])
    assert pooled_distance(one, other, shares) == 0
    shares[:, 1, 0, 0] = 1
    assert float(pooled_distance(one, other, shares)) == pytest.approx(0.5)


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_the_second_decoder_reads_any_pyramid(levels: int) -> None:
    channels = (8, 16, 24, 32, 40)[:levels]
    pyramid = [
        torch.randn(2, c, -(-24 // 2**i), -(-40 // 2**i), requires_grad=True)
        for i, c in enumerate(channels)
    ]
    decoder = SecondDecoder(channels, 16, 3)
    features = decoder.features(pyramid, (23, 37))
    assert features.shape == (2, 16, 23, 37)
    assert decoder.head(features).shape == (2, 3, 23, 37)
    for gradient in torch.autograd.grad(features.square().sum(), (pyramid[0], pyramid[-1])):
        assert (gradient != 0).any()


def test_unlabelled_images_alone_teach_what_the_teacher_knows(
    tiny_checkpoint: Path, samples: list[Sample]
) -> None:
    """The decoder is drawn anew; no label reaches it, only what the teacher sees in the images."""
    torch.manual_seed(0)
    teacher = Checkpoint.load(tiny_checkpoint).network
    network = SegmentationNetwork(teacher.config)
    network.encoder.load_state_dict(teacher.encoder.state_dict())
    network.requires_grad_(True)
    unlabelled = [replace(s, target=s.target[:0]) for s in samples]
    config = replace(CONFIG, batch_size=8, average_decay=0.8, semi_supervised=1.0)
    teaching = CrossTeaching(network, teacher, unlabelled, config)
    parts = [*network.decoder.parameters(), *network.head.parameters()]
    optimizer = torch.optim.AdamW([*parts, *teaching.second.parameters()], lr=1e-2)
    chance = torch.Generator().manual_seed(0)
    before = validation_dice(network, samples)
    for _ in range(40):
        image, _, target, valid = augmented_batch(samples[:3], chance)
        pyramid = [level.detach() for level in network.encode(image)]
        loss = teaching.loss(pyramid, to_grid(target, 2), to_grid(valid, 2))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        teaching.update()
    assert before < 0.7
    assert validation_dice(network, samples) > 0.85


def test_an_image_with_a_class_nobody_looked_for_does_not_teach_the_second_decoder(
    samples: list[Sample],
) -> None:
    torch.manual_seed(0)
    network = SegmentationNetwork(NetworkConfig(CONFIG.encoder, 3, feature_dim=8, rank=2))
    unlabelled = [replace(s, target=s.target[:0]) for s in samples]
    average = deepcopy(network)
    teaching = CrossTeaching(network, average, unlabelled, replace(CONFIG, semi_supervised=0.0))
    pyramid = network.encode(samples[0].image[None])
    valid = torch.ones(1, 1, *network.grid(samples[0].image[None]))
    target = torch.cat((1 - 0.3 * valid, 0.3 * valid, NOT_ANNOTATED * valid), 1)
    (nothing,) = torch.autograd.grad(
        teaching.loss(pyramid, target, valid), teaching.second.head.weight
    )
    assert (nothing == 0).all()
    pyramid = network.encode(samples[0].image[None])
    (something,) = torch.autograd.grad(
        teaching.loss(pyramid, target.clamp_min(0), valid), teaching.second.head.weight
    )
    assert (something != 0).any()


def test_the_same_seed_gives_the_same_checkpoint(partly_labelled: Dataset) -> None:
    first, again, other = (
        train(partly_labelled, replace(CONFIG, seed=seed), device="cpu") for seed in (0, 0, 1)
    )
    assert first.id == again.id
    assert first.id != other.id
    assert first.fingerprint.images == 3


def test_off_images_without_masks_change_nothing(partly_labelled: Dataset) -> None:
    off = replace(CONFIG, semi_supervised=0.0)
    alone = train(partly_labelled.labelled(), off, device="cpu")
    beside = train(partly_labelled, off, device="cpu")
    assert alone.id == beside.id


def test_nothing_of_the_second_decoder_is_left(samples: list[Sample]) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, steps=1)
    network = SegmentationNetwork(NetworkConfig(config.encoder, feature_dim=8, rank=2))
    names = set(network.state_dict())
    unlabelled = [replace(s, target=s.target[:0]) for s in samples[3:]]
    fit_network(network, samples[:3], config, unlabelled=unlabelled)
    assert set(network.state_dict()) == names
    assert not network.training


def test_reduced_precision_and_standing_weights_go_along(partly_labelled: Dataset) -> None:
    config = replace(CONFIG, precision="bfloat16", trained="decoder", steps=2)
    assert train(partly_labelled, config, device="cpu").fingerprint.images == 3


def test_without_unlabelled_images_there_is_nothing_to_learn_from(
    partly_labelled: Dataset,
) -> None:
    with pytest.raises(TrainingError, match="found none among 3; add some, or leave"):
        train(partly_labelled.labelled(), CONFIG, device="cpu")
