from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lfusion.uncertainty import FullCurvature, LastLayerLaplace, full_ggn, softmax_curvature

Head = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
MakeHead = Callable[..., Head]
MakePosterior = Callable[[int], tuple[LastLayerLaplace, torch.Tensor]]


@pytest.fixture
def make_posterior() -> MakePosterior:
    """A posterior for a number of classes, fitted on the features that come with it."""

    def make(classes: int) -> tuple[LastLayerLaplace, torch.Tensor]:
        chance = torch.Generator().manual_seed(7)
        features = torch.randn(1, 4, 6, 8, generator=chance, dtype=torch.float64)
        weight = torch.randn(classes, 5, generator=chance, dtype=torch.float64)
        logits = torch.einsum("bdhw,cd->bchw", features, weight[:, :-1])
        curvature = softmax_curvature(logits.softmax(1))
        ggn = full_ggn(features, curvature, torch.ones(1, 1, 6, 8))
        return LastLayerLaplace(weight, FullCurvature(ggn), prior_precision=1.0), features

    return make


@pytest.fixture
def make_head() -> MakeHead:
    """Features [4, 3, 5, 6] of four images, and weight [C, 3] and bias [C] of a linear head."""

    def make(classes: int, seed: int = 0) -> Head:
        chance = torch.Generator().manual_seed(seed)
        features = torch.randn(4, 3, 5, 6, generator=chance, dtype=torch.float64)
        weight = torch.randn(classes, 3, generator=chance, dtype=torch.float64)
        bias = torch.randn(classes, generator=chance, dtype=torch.float64)
        return features, weight, bias

    return make
