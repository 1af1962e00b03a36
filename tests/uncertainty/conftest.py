from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from lfusion.uncertainty import FullCurvature, LastLayerLaplace, full_ggn, softmax_curvature

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
