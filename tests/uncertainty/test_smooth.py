"""Errors that come in stretches: the kernel as columns of the shared factor, and what follows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lfusion.uncertainty.conditioning import UNSAID, correct
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.smooth import smooth_factor, with_smooth_error

SIZE = (12, 16)


def _logits(classes: int) -> ContrastDistribution:
    """Sure of background everywhere; nothing shared; no echo in the last column."""
    residual = torch.ones(classes - 1, classes, *SIZE)
    residual[..., -1] = 0
    factor = torch.zeros(classes - 1, 1, *SIZE)
    mean = torch.zeros(classes - 1, *SIZE)
    return ContrastDistribution(mean, factor, residual)


@pytest.mark.parametrize("size", [(1, 5), (7, 4), SIZE])
@pytest.mark.parametrize("length", [0.5, 2.0, 6.0])
def test_the_factor_is_the_root_of_the_kernel(size: tuple[int, int], length: float) -> None:
    factor = smooth_factor(*size, length).flatten(1)
    at = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, 2)
    distance = ((at[:, None] - at) ** 2).sum(-1)
    expected = np.exp(-distance / (2 * length**2))
    np.testing.assert_allclose(factor.T @ factor, expected, atol=0.1)
    assert len(factor) <= expected.shape[0]


@pytest.mark.parametrize("classes", [2, 3])
def test_covariance_is_added_inside_the_sector_alone(classes: int) -> None:
    before = _logits(classes)
    after = with_smooth_error(before, amplitude=2.0, length_share=0.25)
    added = after.covariance - before.covariance
    expected = 4.0 * torch.eye(classes - 1)[:, :, None, None].expand(-1, -1, *SIZE).clone()
    expected[..., -1] = 0
    torch.testing.assert_close(added, expected, atol=0.4, rtol=0)
    torch.testing.assert_close(after.mean, before.mean)


def test_a_correction_moves_its_surroundings_less_and_less() -> None:
    logits = with_smooth_error(_logits(2), amplitude=2.0, length_share=0.125)  # 2 cells
    said = torch.full(SIZE, UNSAID)
    said[6, 3] = 1
    moved = correct(logits, said).mean[0, 6] - logits.mean[0, 6]
    sizes = moved.abs()[3:12]
    assert (sizes[1:5] < sizes[:4]).all()
    assert sizes[8] < 0.02 * sizes[0]


def test_no_amplitude_adds_nothing() -> None:
    before = _logits(3)
    torch.testing.assert_close(
        with_smooth_error(before, amplitude=0.0).covariance, before.covariance
    )
