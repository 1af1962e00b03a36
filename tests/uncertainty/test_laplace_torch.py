"""laplace-torch as an oracle: a 1×1 convolution is a linear layer over N·H·W rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lfusion.uncertainty import LastLayerLaplace, log_marginal_likelihood
from lfusion.uncertainty.curvature import with_bias
from lfusion.uncertainty.gauge import contrast_basis

Head = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
MakeHead = Callable[..., Head]


@pytest.fixture(scope="module")
def laplace() -> ModuleType:
    with warnings.catch_warnings():
        # it imports asdfghjkl, which compiles functions with torch.jit.script
        warnings.simplefilter("ignore", FutureWarning)
        module: ModuleType = pytest.importorskip(
            "laplace", reason="needs the test-only package laplace-torch"
        )
        return module


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")  # backpack's
@pytest.mark.parametrize("structure", ["full", "kron", "diag"])
@pytest.mark.parametrize("kappa", [1.0, 10.0])
def test_laplace_torch_agrees(
    laplace: ModuleType, make_head: MakeHead, structure: str, kappa: float
) -> None:
    features, weight, bias = make_head(3)
    ours = LastLayerLaplace.fit(
        features,
        weight,
        bias,
        structure=structure,
        prior_precision=0.7,
        posterior_temperature=kappa,
    )
    # the bias is the weight of a feature of ones: laplace-torch would make it a block of its own
    rows = with_bias(features)
    linear = nn.Linear(4, 3, bias=False, dtype=torch.float64)
    linear.weight.data = ours.weight
    labels = torch.randint(3, (len(rows),), generator=torch.Generator().manual_seed(0))
    theirs = laplace.Laplace(
        linear,
        "classification",
        subset_of_weights="all",
        hessian_structure=structure,
        prior_precision=0.7,
        temperature=kappa,
        backend=laplace.curvature.BackPackGGN,
    )
    theirs.fit(DataLoader(TensorDataset(rows, labels), batch_size=50))

    basis = contrast_basis(3, rows)
    _, covariance = theirs._glm_predictive_distribution(rows)
    contrasts = ours.covariance.contrasts(features).movedim((1, 2), (-2, -1)).flatten(0, 2)
    torch.testing.assert_close(contrasts, basis.T @ covariance @ basis)
    log_likelihood = -nn.functional.cross_entropy(linear(rows), labels, reduction="sum")
    evidence = log_marginal_likelihood(ours, log_likelihood.item())
    assert evidence == pytest.approx(float(theirs.log_marginal_likelihood()))
