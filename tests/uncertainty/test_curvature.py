from __future__ import annotations

import pytest
import torch

from lfusion.uncertainty import expected_curvature, full_ggn, softmax_curvature
from lfusion.uncertainty.curvature import with_bias


def _field(classes: int, dim: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Random features [2, dim, 4, 5] and head weights [classes, dim + 1] in float64."""
    chance = torch.Generator().manual_seed(classes)
    features = torch.randn(2, dim, 4, 5, generator=chance, dtype=torch.float64)
    weight = torch.randn(classes, dim + 1, generator=chance, dtype=torch.float64)
    return features, weight


def _logits(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.einsum("bdhw,cd->bchw", features, weight[:, :-1]) + weight[:, -1, None, None]


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_the_ggn_is_the_hessian_of_the_summed_cross_entropy(classes: int) -> None:
    features, weight = _field(classes)
    labels = torch.randint(classes, (2, 4, 5), generator=torch.Generator().manual_seed(0))

    def loss(flat: torch.Tensor) -> torch.Tensor:
        logits = _logits(features, flat.view_as(weight))
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    hessian = torch.func.jacrev(torch.func.jacrev(loss))(weight.flatten())
    ggn = full_ggn(
        features,
        softmax_curvature(_logits(features, weight).softmax(1)),
        torch.ones(2, 1, 4, 5),
    )
    torch.testing.assert_close(ggn, hessian, rtol=1e-10, atol=1e-10)


def test_the_ggn_is_a_sum_over_images_and_leaves_out_pixels_of_weight_zero() -> None:
    features, weight = _field(3)
    curvature = softmax_curvature(_logits(features, weight).softmax(1))
    ones = torch.ones(2, 1, 4, 5)
    parts = [full_ggn(features[i : i + 1], curvature[i : i + 1], ones[:1]) for i in range(2)]
    torch.testing.assert_close(full_ggn(features, curvature, ones), parts[0] + parts[1])

    first_only = torch.stack((torch.ones(1, 4, 5), torch.zeros(1, 4, 5)))
    torch.testing.assert_close(full_ggn(features, curvature, first_only), parts[0])


def test_rows_of_the_features_end_in_the_bias() -> None:
    features = torch.arange(8.0).view(1, 2, 2, 2)
    assert with_bias(features).tolist() == [[0, 4, 1], [1, 5, 1], [2, 6, 1], [3, 7, 1]]


def test_the_softmax_curvature_by_hand() -> None:
    curvature = softmax_curvature(torch.tensor([0.25, 0.75]).view(1, 2, 1, 1))
    assert curvature.flatten().tolist() == [0.1875, -0.1875, -0.1875, 0.1875]


def test_a_wide_logit_distribution_has_less_curvature_than_its_mean() -> None:
    # Λ of a two-class softmax is largest at equal logits and falls on both sides
    logits = torch.tensor([[4.0, 0.0], [-4.0, 0.0]]).view(2, 1, 2, 1, 1)
    averaged = expected_curvature(logits)[0, 0, 0, 0, 0]
    at_mean = softmax_curvature(logits.mean(0).softmax(1))[0, 0, 0, 0, 0]
    p = torch.sigmoid(torch.tensor(4.0))
    assert averaged == pytest.approx(float(p * (1 - p)), rel=1e-4)
    assert at_mean == pytest.approx(0.25)
