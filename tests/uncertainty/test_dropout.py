from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.errors import DropoutError
from lfusion.uncertainty import LastLayerLaplace, total_variance
from lfusion.uncertainty.covariance import RowCovariance


def _posterior(classes: int, seed: int) -> tuple[LastLayerLaplace, torch.Tensor]:
    """A posterior, and the features [K, 1, D, h, w] of five passes."""
    chance = torch.Generator().manual_seed(seed)
    passes = torch.randn(5, 1, 3, 4, 5, generator=chance, dtype=torch.float64)
    weight = torch.randn(classes, 3, generator=chance, dtype=torch.float64)
    return LastLayerLaplace.fit(passes[0], weight, None), passes


def test_by_hand() -> None:
    """φ = 1 and 3, W = (0, φ), Σ = ½ I: mean of ½(φ² + 1) is 3; contrasts ∓φ/√2 vary by 1."""
    covariance = RowCovariance(torch.full((2, 2), 0.5))
    passes = [torch.full((1, 1, 1, 1), value) for value in (1.0, 3.0)]
    variance = total_variance(passes, covariance, torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert float(variance) == pytest.approx(3 + 1)


@given(st.integers(2, 4), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_it_is_the_law_of_total_variance(classes: int, seed: int) -> None:
    posterior, passes = _posterior(classes, seed)
    covariance = posterior.covariance
    variance = total_variance(passes, covariance, posterior.weight)
    within = torch.stack([covariance.contrasts(features) for features in passes]).mean(0)
    extra = (variance - within).movedim((1, 2), (-2, -1))
    assert torch.linalg.eigvalsh(extra).min() > -1e-9
    logits = torch.stack([posterior.mean_logits(features) for features in passes])[:, 0]
    centred = logits - logits.mean(1, keepdim=True)
    # the trace does not know the basis of the contrasts
    torch.testing.assert_close(
        extra.diagonal(dim1=-2, dim2=-1).sum(-1)[0], centred.var(0).sum(0), rtol=1e-8, atol=1e-10
    )
    shuffled = total_variance(passes.flip(0), covariance, posterior.weight)
    torch.testing.assert_close(shuffled, variance)


@pytest.mark.parametrize("classes", [2, 3])
def test_equal_passes_add_exactly_nothing(classes: int) -> None:
    posterior, passes = _posterior(classes, 0)
    variance = total_variance([passes[0]] * 4, posterior.covariance, posterior.weight)
    assert torch.equal(variance, posterior.covariance.contrasts(passes[0]))


@pytest.mark.parametrize("count", [0, 1])
def test_one_pass_has_no_covariance(count: int) -> None:
    posterior, passes = _posterior(2, 0)
    with pytest.raises(DropoutError, match="at least 2"):
        total_variance(passes[:count], posterior.covariance, posterior.weight)
