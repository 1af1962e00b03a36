"""One image added, replaced or removed is a full refit."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.errors import NotFittedError, PosteriorError
from lfusion.uncertainty import (
    Curvature,
    LastLayerLaplace,
    Observation,
    Structure,
    expected_curvature,
    full_ggn,
)

Head = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
MakeHead = Callable[..., Head]


def _assert_equal(ours: Curvature, theirs: Curvature) -> None:
    for a, b in zip(ours.tensors(), theirs.tensors(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("structure", Structure)
@pytest.mark.parametrize("pixels", [None, 7])
def test_add_replace_and_remove_equal_a_full_refit(
    make_head: MakeHead, structure: Structure, pixels: int | None
) -> None:
    images, weight, bias = make_head(3)
    redrawn = images[:1].flip(-1)

    def fit(features: torch.Tensor) -> LastLayerLaplace:
        return LastLayerLaplace.fit(features, weight, bias, structure=structure, pixels=pixels)

    def assert_refit(online: LastLayerLaplace, features: torch.Tensor) -> None:
        refit = fit(features)
        _assert_equal(online.curvature, refit.curvature)
        torch.testing.assert_close(
            online.covariance.contrasts(images),
            refit.covariance.contrasts(images),
            rtol=1e-8,
            atol=0,
        )

    posterior = fit(images[:3])
    # image k of a fit is drawn with the seed k
    last = posterior.contribution(images[3:], pixels=pixels, seed=3)
    assert_refit(posterior.add(last), images)
    assert_refit(posterior.add(last).remove(last), images[:3])
    old, new = (posterior.contribution(x, pixels=pixels, seed=0) for x in (images[:1], redrawn))
    assert_refit(posterior.replace(old, new), torch.cat((redrawn, images[1:3])))


@given(
    structure=st.sampled_from(Structure),
    seed=st.integers(0, 2**31),
    scale=st.floats(1e-2, 1e2),
    pixels=st.none() | st.integers(1, 20),
)
@settings(max_examples=40, deadline=None)
def test_removing_what_was_added_restores(
    structure: Structure, seed: int, scale: float, pixels: int | None
) -> None:
    chance = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 3, 3, 4, generator=chance, dtype=torch.float64)
    weight = torch.randn(3, 3, generator=chance, dtype=torch.float64)
    posterior = LastLayerLaplace.fit(features[:1], weight, None, structure=structure)
    other = posterior.contribution(scale * features[1:], pixels=pixels, seed=seed)
    restored = posterior.add(other).remove(other)
    torch.testing.assert_close(
        restored.covariance.contrasts(features),
        posterior.covariance.contrasts(features),
        rtol=1e-8,
        atol=0,
    )


@given(
    structure=st.sampled_from(Structure),
    seed=st.integers(0, 2**31),
    pixels=st.none() | st.integers(1, 15),
)
@settings(max_examples=40, deadline=None)
def test_a_batch_equals_its_elements(structure: Structure, seed: int, pixels: int | None) -> None:
    chance = torch.Generator().manual_seed(seed)
    features = torch.randn(3, 2, 3, 4, generator=chance, dtype=torch.float64)
    weight = torch.randn(3, 2, generator=chance, dtype=torch.float64)

    def fit(stream: torch.Tensor | list[torch.Tensor]) -> LastLayerLaplace:
        return LastLayerLaplace.fit(stream, weight, None, structure=structure, pixels=pixels)

    together = fit(features)
    _assert_equal(together.curvature, fit([one[None] for one in features]).curvature)
    _assert_equal(together.curvature, fit([features[:2], features[2:]]).curvature)
    covariance = together.covariance
    apart = torch.cat([covariance.contrasts(one) for one in features[:, None]])
    torch.testing.assert_close(covariance.contrasts(features), apart)


def test_a_stream_of_images_is_not_kept() -> None:
    seen: list[weakref.ref[torch.Tensor]] = []

    def stream() -> Iterator[torch.Tensor]:
        for number in range(20):
            assert sum(image() is not None for image in seen) <= 1
            features = torch.full((1, 2, 3, 3), float(number))
            seen.append(weakref.ref(features))
            yield features

    LastLayerLaplace.fit(stream(), torch.ones(2, 2), torch.zeros(2))
    assert len(seen) == 20


def test_an_image_larger_than_a_chunk_is_summed_whole() -> None:
    chance = torch.Generator().manual_seed(0)
    features = torch.randn(1, 2, 150, 150, generator=chance)
    logits = torch.zeros(1, 1, 2, 150, 150)
    posterior = LastLayerLaplace.fit(features, torch.zeros(2, 2), None)
    whole = full_ggn(features, expected_curvature(logits), torch.ones(1, 1, 150, 150))
    torch.testing.assert_close(posterior.ggn, whole)


def test_a_stochastic_head_has_the_mean_curvature_of_its_samples(make_head: MakeHead) -> None:
    features, weight, bias = make_head(3)
    chance = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 4, 3, 5, 6, generator=chance, dtype=torch.float64)
    sector = torch.rand(4, 1, 5, 6, generator=chance, dtype=torch.float64).round()
    seen = [Observation(features, sector, logits)]
    posterior = LastLayerLaplace.fit(seen, weight, bias)
    expected = full_ggn(features, expected_curvature(logits), sector)
    torch.testing.assert_close(posterior.ggn, expected)
    # the other structures are made of the same numbers
    diag = LastLayerLaplace.fit(seen, weight, bias, structure="diag").curvature.tensors()[0]
    torch.testing.assert_close(diag.flatten(), expected.diagonal())
    kron = LastLayerLaplace.fit(seen, weight, bias, structure="kron").curvature.tensors()[1]
    torch.testing.assert_close(kron, expected.view(3, 4, 3, 4)[:, -1, :, -1])


@pytest.mark.parametrize("structure", Structure)
def test_an_image_without_pixels_changes_nothing(make_head: MakeHead, structure: Structure) -> None:
    features, weight, bias = make_head(3)
    posterior = LastLayerLaplace.fit(features, weight, bias, structure=structure)
    empty = posterior.contribution(Observation(features, torch.zeros(4, 1, 5, 6)))
    _assert_equal(posterior.add(empty).curvature, posterior.curvature)
    prior = posterior.remove(posterior.curvature).add(empty)
    assert prior.covariance.contrasts(features).isfinite().all()


def test_the_draw_of_pixels_is_unbiased_and_repeats(make_head: MakeHead) -> None:
    features, weight, bias = make_head(3)
    sector = torch.ones(4, 1, 5, 6)
    sector[..., :2] = 0
    image = Observation(features, sector)
    posterior = LastLayerLaplace.fit([image], weight, bias)
    draws = torch.stack(
        [
            posterior.contribution(image, pixels=5, seed=1000 * seed).tensors()[0]
            for seed in range(300)
        ]
    )
    error = (draws.mean(0) - posterior.ggn).abs()
    standard_error = draws.std(0) / 300**0.5
    assert (error <= 5 * standard_error + 1e-12).all()
    assert (draws[0] != draws[1]).any()
    again = posterior.contribution(image, pixels=5, seed=0).tensors()[0]
    assert torch.equal(again, draws[0])


def test_a_draw_of_equal_pixels_counts_for_all_of_them() -> None:
    features = torch.ones(1, 2, 5, 6)
    fits = [LastLayerLaplace.fit(features, torch.ones(2, 2), None, pixels=n).ggn for n in (None, 4)]
    torch.testing.assert_close(fits[0], fits[1])


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (torch.ones(2, 3, 3, 3), None, r"1×1 convolution, got \[2, 3, 3, 3\]"),
        (torch.ones(3), None, "weight .C, D. of a linear head"),
        (torch.ones(1, 3), torch.ones(1), "at least 2 classes.*rows 0 and w"),
        (torch.ones(2, 3), torch.ones(3), r"bias of 2 classes, got \[3\]"),
        (torch.ones(2, 5), None, "features of 5 channels for this head, got 3"),
        (torch.ones(2, 3) * torch.nan, None, "not finite"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(
    weight: torch.Tensor, bias: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(PosteriorError, match=message):
        LastLayerLaplace.fit(torch.ones(1, 3, 2, 2), weight, bias)


def test_observations_that_do_not_fit_are_refused(make_head: MakeHead) -> None:
    features, weight, bias = make_head(3)
    posterior = LastLayerLaplace.fit(features, weight, bias)
    for observation, message in (
        (features[:0], "at least one image"),
        (features * torch.inf, "the features of an observation are not finite"),
        (Observation(features, logits=torch.zeros(2, 4, 5, 5, 6)), "of 3 classes, got 5"),
        (Observation(features, torch.full((4, 1, 5, 6), torch.nan)), "pixel_weight"),
    ):
        with pytest.raises(PosteriorError, match=message):
            posterior.contribution(observation)
    with pytest.raises(ValueError, match="at least 1 pixel"):
        posterior.contribution(features, pixels=0)
    with pytest.raises(NotFittedError, match="at least one image"):
        LastLayerLaplace.fit([], weight, bias)


def test_a_contribution_to_another_posterior_is_refused(make_head: MakeHead) -> None:
    features, weight, bias = make_head(3)
    full = LastLayerLaplace.fit(features, weight, bias)
    diag = LastLayerLaplace.fit(features, weight, bias, structure="diag")
    with pytest.raises(PosteriorError, match="expected a full curvature of 12 weights, got diag"):
        full.add(diag.curvature)
    smaller = LastLayerLaplace.fit(*make_head(2))
    with pytest.raises(PosteriorError, match="of 12 weights, got full of 8"):
        full.remove(smaller.curvature)
    with pytest.raises(PosteriorError, match="got diag: fit it with structure='full'"):
        _ = diag.ggn
