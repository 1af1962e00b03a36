"""Modes, conditioning and adoption, against the dense Gaussian with its explicit covariance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lfusion.errors import CounterfactualError
from lfusion.model.distribution import LogitDistribution
from lfusion.uncertainty import LastLayerLaplace, Structure
from lfusion.uncertainty.conditioning import UNSAID, condition, correct, on_grid
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.counterfactual import adopt, principal_modes, walk
from lfusion.uncertainty.gauge import contrast_basis
from lfusion.uncertainty.ggn import CURVATURES

MakePosterior = Callable[[int], tuple[LastLayerLaplace, Tensor]]
HEIGHT, WIDTH, RANK = 4, 5, 3
OUTSIDE = (0, 4)
"""The one pixel outside the sector."""


def _head(classes: int, seed: int = 0) -> LogitDistribution:
    chance = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(1, *size, HEIGHT, WIDTH, generator=chance, dtype=torch.float64)

    sector = torch.ones(HEIGHT, WIDTH)
    sector[OUTSIDE] = 0
    return LogitDistribution(
        mean=3 * draw(classes),
        scale=draw(classes).abs().add(0.05) * sector,
        factor=draw(classes, RANK) * sector,
    )


def _logits(classes: int, seed: int = 0) -> ContrastDistribution:
    return ContrastDistribution.of(_head(classes, seed))


def _dense(head: LogitDistribution) -> tuple[Tensor, Tensor]:
    """Mean [N·K] and covariance [N·K, N·K] of the contrasts, pixel by pixel, from N·C logits."""
    classes = head.mean.shape[1]
    mean = head.mean[0].flatten(1).T.flatten()
    factor = head.factor[0].flatten(2).permute(2, 0, 1).flatten(0, 1)
    covariance = factor @ factor.T + head.scale[0].flatten(1).T.flatten().square().diag()
    pixels = torch.eye(HEIGHT * WIDTH, dtype=torch.float64)
    basis = torch.kron(pixels, contrast_basis(classes, mean))
    return basis.T @ mean, basis.T @ covariance @ basis


def _dense_of(logits: ContrastDistribution) -> tuple[Tensor, Tensor]:
    """The same of our form."""
    mean = logits.mean.flatten(1).T.flatten()
    factor = logits.factor.flatten(2).permute(2, 0, 1).flatten(0, 1)
    own = torch.block_diag(*logits.residual.flatten(2).permute(2, 0, 1))  # type: ignore[no-untyped-call]
    return mean, factor @ factor.T + own @ own.T


def _observe(*pixels: tuple[int, int]) -> Tensor:
    where = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for pixel in pixels:
        where[pixel] = True
    return where


def _targets(pixels: int, contrasts: int, seed: int = 5) -> Tensor:
    chance = torch.Generator().manual_seed(seed)
    return 4 * torch.randn(pixels, contrasts, generator=chance, dtype=torch.float64)


CLASSES = pytest.mark.parametrize("classes", [2, 3, 5])


@CLASSES
def test_conditioning_is_dense_gaussian_conditioning(classes: int) -> None:
    where, noise = _observe((1, 1), (2, 3), (3, 0)), 0.3
    target = _targets(3, classes - 1)
    mean, covariance = _dense(_head(classes))
    rows = where.flatten().repeat_interleave(classes - 1)
    seen = covariance[rows][:, rows]
    gain = covariance[:, rows] @ torch.linalg.inv(seen + noise**2 * torch.eye(len(seen)).double())
    ours = _dense_of(condition(_logits(classes), where, target, noise))
    expected = mean + gain @ (target.flatten() - mean[rows]), covariance - gain @ covariance[rows]
    torch.testing.assert_close(ours, expected, rtol=1e-8, atol=1e-8)


@CLASSES
def test_the_contrasts_are_those_of_the_head(classes: int) -> None:
    head = _head(classes)
    torch.testing.assert_close(_dense_of(_logits(classes)), _dense(head))
    basis = contrast_basis(classes, head.mean)
    torch.testing.assert_close(_logits(classes).covariance, head.contrast_covariance(basis)[0])
    torch.testing.assert_close(_logits(classes).logits.softmax(0), head.mean[0].softmax(0))


@CLASSES
def test_conditioning_twice_is_conditioning_once_on_both(classes: int) -> None:
    logits, noise = _logits(classes), 0.4
    first, second = _observe((1, 1), (2, 3)), _observe((3, 4))
    target = _targets(3, classes - 1)
    stepwise = condition(condition(logits, first, target[:2], noise), second, target[2:], noise)
    at_once = condition(logits, first | second, target, noise)
    torch.testing.assert_close(_dense_of(stepwise), _dense_of(at_once), rtol=1e-6, atol=1e-6)


@CLASSES
def test_seeing_a_pixel_twice_is_seeing_the_mean_with_half_the_variance(classes: int) -> None:
    logits, where = _logits(classes), _observe((2, 2))
    a, b = _targets(2, classes - 1)[:, None]
    twice = condition(condition(logits, where, a, 0.5), where, b, 0.5)
    once = condition(logits, where, (a + b) / 2, 0.5 / math.sqrt(2))
    torch.testing.assert_close(_dense_of(twice), _dense_of(once), rtol=1e-6, atol=1e-6)


def test_conditioning_by_hand() -> None:
    # two pixels of variance 2 = 1 shared + 1 own, the first seen at 3 with σ² = 1
    ones = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    own = torch.cat((ones, 0 * ones), 1)
    logits = ContrastDistribution(0 * ones[0], ones, own)
    seen = condition(logits, torch.tensor([[True, False]]), torch.tensor([[3.0]]), 1.0)
    torch.testing.assert_close(seen.mean[0, 0], torch.tensor([2.0, 1.0]).double())
    torch.testing.assert_close(seen.covariance[0, 0, 0], torch.tensor([2 / 3, 5 / 3]).double())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    classes=st.integers(2, 4),
    log_noise=st.floats(-6, 3),
    seen=st.lists(st.booleans(), min_size=HEIGHT * WIDTH, max_size=HEIGHT * WIDTH),
)
def test_conditioning_never_adds_variance(
    seed: int, classes: int, log_noise: float, seen: list[bool]
) -> None:
    where = torch.tensor(seen).view(HEIGHT, WIDTH) & ~_observe(OUTSIDE)
    logits = _logits(classes, seed)
    target = _targets(int(where.sum()), classes - 1, seed)
    after = condition(logits, where, target, math.exp(log_noise))
    lost = _dense_of(logits)[1] - _dense_of(after)[1]
    assert torch.linalg.eigvalsh(lost).min() > -1e-9


@CLASSES
def test_a_clamped_pixel_reaches_its_target_as_the_noise_vanishes(classes: int) -> None:
    where, target = _observe((1, 2), (3, 3)), _targets(2, classes - 1)
    gaps = [
        (condition(_logits(classes), where, target, noise).mean[:, where].T - target).abs().max()
        for noise in (1.0, 1e-1, 1e-2, 1e-6)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    head = _head(2)
    logits = ContrastDistribution.of(
        LogitDistribution(head.mean.to(dtype), head.scale.to(dtype), head.factor.to(dtype))
    )
    after = condition(logits, _observe((1, 1)), torch.ones(1, 1), 0.5)
    assert {after.mean.dtype, after.factor.dtype, after.residual.dtype} == {dtype}
    assert principal_modes(logits)[0].deviation.dtype == dtype


@CLASSES
def test_the_weights_as_shared_noise_are_the_epistemic_covariance(
    make_posterior: MakePosterior, classes: int
) -> None:
    posterior, features = make_posterior(classes)
    sector = torch.ones(6, 8)
    sector[OUTSIDE] = 0
    head = LogitDistribution(
        mean=posterior.mean_logits(features),
        scale=sector.double().expand(1, classes, 6, 8),
        factor=sector.double().expand(1, classes, RANK, 6, 8),
    )
    logits = ContrastDistribution.of_weights(head, features, posterior.covariance, 2.0)
    own = torch.eye(classes - 1)[:, :, None, None]
    expected = (4 * posterior.covariance.contrasts(features)[0] + own) * sector
    torch.testing.assert_close(logits.covariance, expected)
    torch.testing.assert_close(logits.mean, ContrastDistribution.of(head).mean)
    other = replace(
        posterior,
        curvature=CURVATURES[Structure.PRIOR_ONLY].of_pixels(
            torch.ones(1, 5).double(),
            torch.full((1, 1, classes), 1 / classes).double(),
            torch.ones(1).double(),
        ),
    )
    with pytest.raises(CounterfactualError, match="structure 'full'"):
        ContrastDistribution.of_weights(head, features, other.covariance)


def test_nothing_observed_changes_nothing() -> None:
    logits = _logits(3)
    torch.testing.assert_close(
        _dense_of(condition(logits, _observe(), torch.zeros(0, 2), 1.0)), _dense_of(logits)
    )


def test_outside_the_sector_nothing_moves_and_nothing_can_be_clicked() -> None:
    logits = _logits(2)
    after = condition(logits, _observe((0, 3)), torch.full((1, 1), 9.0), 0.1)
    assert torch.equal(after.mean[:, *OUTSIDE], logits.mean[:, *OUTSIDE])
    assert not after.covariance[:, :, *OUTSIDE].any()
    with pytest.raises(CounterfactualError, match=r"1 outside, .* \(0, 4\) .* no covariance"):
        condition(logits, _observe(OUTSIDE, (1, 1)), torch.zeros(2, 1), 0.1)


@pytest.mark.parametrize(
    ("target", "noise", "message"),
    [
        (torch.zeros(1, 1), 0.0, "σ > 0"),
        (torch.zeros(1, 1), math.nan, "σ > 0"),
        (torch.zeros(2, 1), 1.0, r"shape \(1, 1\).*got \(2, 1\)"),
        (torch.full((1, 1), math.inf), 1.0, "not finite"),
    ],
)
def test_a_wrong_observation_says_what_is_wrong(target: Tensor, noise: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        condition(_logits(2), _observe((1, 1)), target, noise)


def test_only_one_image_at_a_time() -> None:
    twice = LogitDistribution(*(torch.zeros(2, 2, *rest, 4, 4) for rest in ((), (), (1,))))
    with pytest.raises(ValueError, match="batch of 2"):
        ContrastDistribution.of(twice)


@CLASSES
def test_samples_have_the_moments_of_the_conditioned_gaussian(classes: int) -> None:
    logits = condition(_logits(classes), _observe((1, 1)), _targets(1, classes - 1), 0.5)
    samples = logits.sample(40_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(samples.mean(0), logits.logits)
    contrasts = torch.einsum("mchw,ck->mkhw", samples, contrast_basis(classes, samples))
    contrasts = contrasts.flatten(2).mT.flatten(1)
    mean, covariance = _dense_of(logits)
    torch.testing.assert_close((contrasts - mean).T.cov(), covariance, rtol=0.05, atol=0.15)
    with pytest.raises(ValueError, match="even number"):
        logits.sample(3)


def test_a_click_makes_its_class_lead_and_agreement_moves_nothing() -> None:
    logits = _logits(3)
    said = torch.full((HEIGHT, WIDTH), UNSAID)
    said[1, 1] = logits.logits[:, 1, 1].argmin()
    after = correct(logits, said, lead=4.0, noise=1e-4).logits[:, 1, 1]
    led = after.sort(descending=True)
    assert int(led.indices[0]) == said[1, 1]
    assert float(led.values[0] - led.values[1]) == pytest.approx(4.0, abs=1e-4)
    said[1, 1] = logits.logits[:, 1, 1].argmax()
    agreed = correct(logits, said, lead=0.0, noise=0.5)
    torch.testing.assert_close(agreed.mean, logits.mean)
    assert agreed.covariance[0, 0, 1, 1] < logits.covariance[0, 0, 1, 1]


def test_clicks_on_the_grid_keep_single_pixels_and_settle_by_majority() -> None:
    said = torch.full((4, 6), UNSAID)
    said[0, 0] = 1
    said[3, 3:] = torch.tensor([2, 2, 0])
    said[2, 3] = 0
    said[2, 4] = 0
    grid = on_grid(said, 3, (2, 2))
    assert grid.tolist() == [[1, UNSAID], [UNSAID, 0]]
    for wrong in (3, -2):
        said[0, 0] = wrong
        with pytest.raises(ValueError, match=f"from 0 to 2.*{wrong}"):
            on_grid(said, 3, (2, 2))


def test_modes_are_the_singular_vectors_of_the_shared_factor() -> None:
    logits = _logits(3)
    modes = principal_modes(logits)
    singular = torch.linalg.svdvals(logits.factor.movedim(1, -1).flatten(0, 2))
    assert len(modes) == RANK
    total = logits.covariance.diagonal().sum()
    for mode, value in zip(modes, singular, strict=False):
        assert float(mode.deviation.norm()) == pytest.approx(float(value))
        assert mode.variance_share == pytest.approx(float(value**2 / total))
        before = logits.logits.softmax(0)[0].sum()
        assert (logits.logits + 1e-4 * mode.deviation).softmax(0)[0].sum() < before
    gram = torch.stack([mode.deviation.flatten() for mode in modes])
    torch.testing.assert_close(gram @ gram.T, singular[:RANK].square().diag(), atol=1e-9, rtol=0)


def test_a_head_without_shared_noise_has_no_modes() -> None:
    logits = _logits(2)
    assert (
        principal_modes(ContrastDistribution(logits.mean, 0 * logits.factor, logits.residual)) == []
    )


def test_a_walk_and_its_probabilities_by_hand() -> None:
    logits = _logits(2)
    mode = principal_modes(logits)[0]
    low, _, middle, _, high = walk(logits, mode)
    torch.testing.assert_close(middle.logits, logits.logits)
    torch.testing.assert_close(high.logits - low.logits, 4 * mode.deviation)
    assert (middle.density_ratio, middle.tail_probability) == (1.0, 1.0)
    for step in (low, high):
        assert step.density_ratio == pytest.approx(0.1353352832)
        assert step.tail_probability == pytest.approx(0.0455002639)
    (one,) = walk(logits, mode, [1.0])
    assert one.density_ratio == pytest.approx(0.6065306597)
    assert one.tail_probability == pytest.approx(0.3173105079)


def test_adopting_takes_the_shown_mask_and_keeps_what_was_said() -> None:
    logits = torch.zeros(3, 2, 2)
    logits[2, :, 1] = 1.0
    logits[0, :, 0] = 1.0
    said = torch.full((4, 4), UNSAID)
    said[3, 3] = 1
    expected = [[0, 0, 2, 2]] * 3 + [[0, 0, 2, 1]]
    mask = adopt(logits, (4, 4), said)
    assert (mask.tolist(), mask.dtype) == (expected, torch.uint8)
    assert adopt(logits, (4, 4)).tolist() == [[0, 0, 2, 2]] * 4
