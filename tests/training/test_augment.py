from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lfusion.training.augment import (
    Augmentation,
    apply_augmentation,
    change_appearance,
    draw_augmentation,
)
from lfusion.training.data import Sample, collate

NOTHING = Augmentation(
    flip=False,
    angle=0.0,
    scale=(1.0, 1.0),
    shift=(0.0, 0.0),
    gamma=1.0,
    gain=(1.0, 1.0),
    blur=0.0,
    speckle=0.0,
    shadow=None,
    seed=0,
)


@pytest.fixture
def sample() -> Sample:
    """A bright block, right of the middle and above it, which is also the target."""
    image = torch.zeros(1, 24, 32)
    image[:, 6:10, 20:28] = 1
    return Sample("block", image, torch.ones_like(image), image.clone())


def test_no_change_is_the_identity(sample: Sample) -> None:
    image, sector, target, valid = apply_augmentation(sample, NOTHING, (24, 32))
    torch.testing.assert_close(image, sample.image)
    torch.testing.assert_close(target[1:], sample.target)
    torch.testing.assert_close(target.sum(0), torch.ones(24, 32))
    assert sector.all()
    assert valid.all()


def test_a_flip_mirrors_image_and_target(sample: Sample) -> None:
    image, _, target, _ = apply_augmentation(sample, replace(NOTHING, flip=True), (24, 32))
    torch.testing.assert_close(image, sample.image.flip(-1))
    torch.testing.assert_close(target[1:], sample.target.flip(-1))


def test_a_magnification_of_two_doubles_both_sides(sample: Sample) -> None:
    centred = replace(
        sample, **{k: getattr(sample, k).roll((4, -8), (1, 2)) for k in ("image", "target")}
    )
    _, _, target, _ = apply_augmentation(centred, replace(NOTHING, scale=(2.0, 2.0)), (24, 32))
    assert target[1].sum() == pytest.approx(4 * 32, rel=0.05)


def test_a_quarter_turn_keeps_shapes_round(sample: Sample) -> None:
    """Rotation happens in pixels, not in the stretched units of the sampling grid."""
    turned = apply_augmentation(sample, replace(NOTHING, angle=torch.pi / 2), (32, 24))[2][1]
    rows, columns = (turned > 0.5).nonzero().T
    assert rows.max() - rows.min() + 1 == 8
    assert columns.max() - columns.min() + 1 == 4


def test_pixels_beyond_the_sample_do_not_count(sample: Sample) -> None:
    _, _, _, valid = apply_augmentation(sample, NOTHING, (40, 40))
    assert valid.sum() == 24 * 32
    image, sector, target, valid = collate([sample, replace(sample, image=sample.image)])
    assert image.shape == sector.shape == valid.shape == (2, 1, 24, 32)
    assert target.shape == (2, 2, 24, 32)


def test_a_draw_can_be_repeated_and_stays_in_range(sample: Sample) -> None:
    first, again = (draw_augmentation(torch.Generator().manual_seed(5)) for _ in range(2))
    assert first == again
    images = [apply_augmentation(sample, first, (24, 32))[0] for _ in range(2)]
    assert torch.equal(*images)
    assert images[0].min() >= 0
    assert images[0].max() <= 1


def test_a_shadow_darkens_with_depth_below_its_position() -> None:
    image = torch.full((1, 50, 60), 0.8)
    shaded = change_appearance(image, replace(NOTHING, shadow=(0.5, 0.05, 0.9)))[0]
    assert shaded[-1, 30] < 0.15
    assert shaded[0, 30] == pytest.approx(0.8)
    assert shaded[-1, 0] == pytest.approx(0.8, abs=1e-3)
