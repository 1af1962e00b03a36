"""Corrected pixels count more, new labels are drawn more often, and nobody is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lfusion.checkpoint import Checkpoint
from lfusion.image import Dataset
from lfusion.model import SegmentationNetwork
from lfusion.training.augment import apply_augmentation, draw_augmentation
from lfusion.training.corrections import MOST_OFTEN, favour_new, keep_start, weigh_corrections
from lfusion.training.data import Sample, load_samples, shuffled_batches


@pytest.fixture(scope="module")
def start(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def samples(heads: Path, start: Checkpoint) -> list[Sample]:
    dataset = Dataset.read(heads).split("test")
    return load_samples(dataset, start.input, start.network.stride, classes=2)


def test_what_contradicts_the_start_weighs_more(start: Checkpoint, samples: list[Sample]) -> None:
    right, wrong = samples[0], replace(samples[1], target=1 - samples[1].target)
    first, second = weigh_corrections(start.network, [right, wrong], 3)
    assert first.weight is not None
    assert second.weight is not None
    assert set(first.weight.flatten().tolist()) <= {1.0, 3.0}
    # the start knows these heads; with the mask turned inside out nearly every pixel is corrected
    assert first.weight.mean() < 1.4
    assert second.weight.mean() > 2.6
    unchanged = weigh_corrections(start.network, [right], 1)
    assert unchanged[0].weight is None


def test_a_weight_goes_where_its_pixel_goes(samples: list[Sample]) -> None:
    weight = torch.ones_like(samples[0].image)
    weight[..., : weight.shape[-1] // 2] = 5
    weighed = replace(samples[0], weight=weight)
    size = (weight.shape[-2], weight.shape[-1])
    draw = draw_augmentation(torch.Generator().manual_seed(3))
    still = replace(draw, flip=True, angle=0.0, scale=(1.0, 1.0), shift=(0.0, 0.0))
    *planes, counted = apply_augmentation(weighed, still, size)
    torch.testing.assert_close(counted, weight.flip(-1), atol=1e-4, rtol=0)
    *alike, valid = apply_augmentation(samples[0], still, size)
    assert all(torch.equal(a, b) for a, b in zip(planes, alike, strict=True))
    assert set(valid.flatten().tolist()) == {1.0}


@pytest.mark.parametrize(("labels", "new", "share"), [(10, 1, MOST_OFTEN), (9, 2, 3.5), (4, 2, 1)])
def test_new_labels_are_half_of_what_is_drawn(
    samples: list[Sample], labels: int, new: int, share: float
) -> None:
    named = [replace(samples[0], id=str(number)) for number in range(labels)]
    favoured = favour_new(named, {str(number) for number in range(new)})
    assert [s.share for s in favoured] == [share] * new + [1.0] * (labels - new)
    chance = torch.Generator().manual_seed(0)
    batches = shuffled_batches(favoured, 10, chance)
    drawn = Counter(s.id for _ in range(400) for s in next(batches))
    total = new * share + labels - new
    for sample in favoured:
        assert drawn[sample.id] == pytest.approx(4000 * sample.share / total, rel=0.1)


def test_without_new_labels_each_is_drawn_alike(samples: list[Sample]) -> None:
    assert all(s.share == 1 for s in favour_new(samples, {"another"}))
    assert all(s.share == 1 for s in favour_new(samples, {s.id for s in samples}))


def test_of_the_start_the_share_is_kept(start: Checkpoint) -> None:
    network = SegmentationNetwork(start.network.config)
    begun = {k: torch.full_like(v, 2) for k, v in network.state_dict().items()}
    for weight in network.state_dict().values():
        weight.fill_(6)
    keep_start(network, begun, 0.25)
    state = network.state_dict()
    assert all((v == (5 if v.is_floating_point() else 6)).all() for v in state.values())
