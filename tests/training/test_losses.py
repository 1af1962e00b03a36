from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from lfusion.errors import DatasetError
from lfusion.image import Case
from lfusion.model import LogitDistribution
from lfusion.training.data import ellipse_mask
from lfusion.training.losses import NOT_ANNOTATED, soft_dice_loss, ssn_loss


def _deterministic(mean: torch.Tensor) -> LogitDistribution:
    batch, classes, height, width = mean.shape
    return LogitDistribution(
        mean, torch.zeros_like(mean), torch.zeros(batch, classes, 2, height, width)
    )


def test_without_covariance_the_ssn_loss_is_the_mean_cross_entropy() -> None:
    chance = torch.Generator().manual_seed(0)
    mean = torch.randn(3, 2, 4, 5, generator=chance)
    labels = torch.randint(2, (3, 4, 5), generator=chance)
    target = torch.nn.functional.one_hot(labels, 2).movedim(-1, 1).float()
    loss = ssn_loss(_deterministic(mean), target, torch.ones(3, 1, 4, 5), samples=4)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(mean, labels))


def test_the_likelihood_is_of_whole_masks_not_of_pixels() -> None:
    """Two coherent masks, all or nothing: one factor explains both, at ln 2 per image.

    Independent pixels would cost ln 2 per pixel.
    """
    pixels = 50
    factor = torch.zeros(2, 2, 1, 1, pixels)
    factor[:, 1] = 60.0
    zeros = torch.zeros(2, 2, 1, pixels)
    distribution = LogitDistribution(zeros, zeros, factor)
    target = torch.zeros(2, 2, 1, pixels)
    target[0, 0], target[1, 1] = 1, 1
    loss = ssn_loss(
        distribution, target, torch.ones(2, 1, 1, pixels), 4000, torch.Generator().manual_seed(0)
    )
    assert float(loss) * pixels == pytest.approx(math.log(2), abs=0.1)


def test_background_may_be_a_structure_that_nobody_looked_for() -> None:
    probabilities = torch.tensor([0.5, 0.2, 0.3])
    mean = probabilities.log().view(1, 3, 1, 1).expand(2, 3, 1, 1).clone().requires_grad_()
    target = torch.zeros(2, 3, 1, 1)
    target[:, 0] = 1
    target[0, 2] = NOT_ANNOTATED
    loss = ssn_loss(_deterministic(mean), target, torch.ones(2, 1, 1, 1), samples=2)
    assert float(loss.detach()) == pytest.approx(
        -(math.log(0.5 + 0.3) + math.log(0.5)) / 2, rel=1e-5
    )
    (gradient,) = torch.autograd.grad(loss, mean)
    assert torch.isfinite(gradient).all()
    # of the first image, nothing pulls between background and the structure: both rise
    assert gradient[0, 0] < 0
    assert gradient[0, 2] < 0
    assert gradient[1, 2] > 0


def test_a_structure_that_nobody_looked_for_costs_no_overlap() -> None:
    probabilities = torch.tensor([0.1, 0.0, 0.9]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    target = torch.zeros(1, 3, 2, 2)
    target[:, 0] = 1
    valid = torch.ones(1, 1, 2, 2)
    assert float(soft_dice_loss(probabilities, target, valid)) > 0.3
    target[:, 2] = NOT_ANNOTATED
    assert float(soft_dice_loss(probabilities, target, valid)) == 0


def test_the_loss_has_a_finite_gradient_outside_the_sector() -> None:
    mean = torch.zeros(1, 2, 2, 2, requires_grad=True)
    scale = torch.zeros(1, 2, 2, 2, requires_grad=True)
    factor = torch.zeros(1, 2, 1, 2, 2, requires_grad=True)
    target = torch.full((1, 2, 2, 2), 0.5)
    loss = ssn_loss(LogitDistribution(mean, scale, factor), target, torch.ones(1, 1, 2, 2), 4)
    for gradient in torch.autograd.grad(loss, (mean, scale, factor)):
        assert torch.isfinite(gradient).all()


def test_pixels_that_do_not_count_change_nothing() -> None:
    chance = torch.Generator().manual_seed(0)
    mean, target = torch.randn(1, 2, 2, 6, generator=chance), torch.zeros(1, 2, 2, 6)
    target[:, 0] = 1
    valid = torch.ones(1, 1, 2, 6)
    valid[..., 3:] = 0
    cut = ssn_loss(_deterministic(mean[..., :3]), target[..., :3], valid[..., :3], 2)
    torch.testing.assert_close(ssn_loss(_deterministic(mean), target, valid, 2), cut)
    torch.testing.assert_close(
        soft_dice_loss(mean.softmax(1), target, valid),
        soft_dice_loss(mean[..., :3].softmax(1), target[..., :3], valid[..., :3]),
    )


def test_soft_dice_by_hand() -> None:
    target = torch.tensor([[0.0, 1.0, 1.0, 0.0]]).view(1, 1, 2, 2)
    target = torch.cat((1 - target, target), 1)
    ones = torch.ones(1, 1, 2, 2)
    assert soft_dice_loss(target, target, ones) == 0
    # overlap 0 of 2 + 2: 1 − 1/5
    assert float(soft_dice_loss(target.flip(1), target, ones)) == pytest.approx(0.8)


COLUMNS = {
    "ellipse_cx": "10",
    "ellipse_cy": "8",
    "ellipse_d1_px": "6",
    "ellipse_d2_px": "12",
    "ellipse_angle_deg": "90",
}


def test_the_head_is_drawn_by_the_ellipse_rule(tmp_path: Path) -> None:
    mask = ellipse_mask(Case("a", tmp_path, meta=COLUMNS), 20, 24)
    assert mask is not None
    # the short axis d1 points down (90° from +x towards +y), so d2 is horizontal
    assert np.flatnonzero(mask[8]).tolist() == list(range(4, 17))
    assert np.flatnonzero(mask[:, 10]).tolist() == list(range(5, 12))


def test_without_the_columns_there_is_no_ellipse(tmp_path: Path) -> None:
    assert ellipse_mask(Case("a", tmp_path), 20, 24) is None
    with pytest.raises(DatasetError, match="a: expected numbers"):
        ellipse_mask(Case("a", tmp_path, meta={**COLUMNS, "ellipse_cx": "left"}), 20, 24)


def test_the_rule_reproduces_the_masks_of_hc18(shared_data: Path) -> None:
    from lfusion.image import Dataset

    for case in Dataset.read(shared_data / "hc18").cases[:5]:
        mask = case.read_mask()
        drawn = ellipse_mask(case, *mask.shape)
        assert drawn is not None
        dice = 2 * np.sum(drawn & mask) / (drawn.sum() + mask.sum())
        # the mask holds the sonographer's line as well, about 1.3 px all round
        assert 0.98 < dice < 1
        assert drawn.sum() < mask.sum()
