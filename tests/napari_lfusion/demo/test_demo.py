"""The demonstration behaves as a server does, on what the shipped model said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lfusion.image import read_mask
from lfusion.protocol import Alternative, AlternativeResult, Clicks
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.correction import make_correction
from napari_lfusion.core.errors import NotOfferedError, RefusedError, UnknownIdError
from napari_lfusion.core.loading import open_case
from napari_lfusion.core.measure import measure
from napari_lfusion.demo import DemoBackend
from napari_lfusion.demo.stored import DemoCase, demo_index, read_demo_prediction


@pytest.fixture
def demo() -> Backend:
    return DemoBackend()


def test_it_says_what_it_is(demo: Backend) -> None:
    info = demo.info()
    assert info.name == "Demo"
    assert info.labels == {"fetal head": 1}
    assert not info.trainable
    assert len(info.missing) == 3


def test_there_is_one_image_of_each_kind() -> None:
    assert {case.condition for case in demo_index().cases} == {"normal", "abnormal", "poor"}


def test_the_most_doubtful_comes_first(demo: Backend) -> None:
    scores = [item.why.score for item in demo.queue("aleatoric", 10).items if item.why is not None]
    assert len(scores) == 6
    assert scores == sorted(scores, key=lambda score: -(score or 0))
    assert demo.queue("aleatoric", 2).counts == {"open": 6}
    offer = demo.next_case("aleatoric")
    assert offer is not None
    assert offer.image_id == demo.queue("aleatoric", 1).items[0].id
    assert demo.queue("aleatoric", 10).counts == {"open": 5, "leased": 1}


@pytest.mark.parametrize("case", demo_index().cases, ids=lambda case: case.id)
def test_what_was_stored_agrees_with_itself(case: DemoCase, demo: Backend) -> None:
    opened = open_case(demo, demo.take(case.id))
    result = opened.proposal.result
    assert result is not None
    assert result.biometry is not None
    assert opened.image.pixel_size_mm == result.pixel_size_mm
    head = measure(opened.proposal.mask, demo.info().labels, opened.image.pixel_size_mm)
    assert head is not None
    assert head.hc_mm == pytest.approx(result.biometry["hc_mm"], rel=0.01)
    maps = opened.proposal.maps
    assert all(values.dtype == np.float32 for values in maps.values())
    # 8 bits keep the mean of a map; the score was made from the exact one.
    assert maps["aleatoric"].mean() == pytest.approx(result.scores["aleatoric_mean"], rel=0.05)
    assert maps["epistemic"].mean() == pytest.approx(result.scores["epistemic_mean"], rel=0.1)


def test_the_whole_pool_can_be_worked_off(demo: Backend) -> None:
    seen = []
    while (offer := demo.next_case("epistemic")) is not None:
        seen.append(offer.image_id)
        if len(seen) == 1:
            demo.skip(offer.image_id, "blurred")
        elif len(seen) == 2:
            demo.flag(offer.image_id, "no head")
        else:
            case = open_case(demo, offer)
            saved = demo.submit(make_correction(case, case.start, demo.info().labels))
            assert (saved.version, saved.conflict_with) == (1, None)
    assert len(set(seen)) == 6
    queue = demo.queue("epistemic", 10)
    assert queue.counts == {"skipped": 1, "flagged": 1, "labelled": 4}
    assert {item.note for item in queue.items} == {None, "blurred", "no head"}


def test_a_released_image_comes_again(demo: Backend) -> None:
    first = demo.next_case("epistemic")
    assert first is not None
    demo.release(first.image_id)
    assert demo.queue("epistemic", 10).counts == {"open": 6}
    again = demo.next_case("epistemic")
    assert again is not None
    assert again.image_id == first.image_id


def test_versions_conflicts_and_repeats(demo: Backend) -> None:
    case = open_case(demo, demo.take("phantom_0013"))
    first = make_correction(case, case.start, demo.info().labels)
    assert demo.submit(first) == demo.submit(first)
    late = demo.submit(replace(first, idempotency_key="late"))
    assert (late.version, late.conflict_with) == (2, 1)
    versions = demo.versions("phantom_0013")
    assert [(version.version, version.current) for version in versions] == [(1, False), (2, True)]
    label = demo.label("phantom_0013")
    assert label is not None
    np.testing.assert_array_equal(label, case.start)


def test_a_walk_along_a_mode_grows_the_head(demo: Backend) -> None:
    def area(t: float) -> int:
        return int(demo.alternative("phantom_0016", Alternative(mode=0, t=t)).mask.sum())

    areas = [area(t) for t in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]
    proposal = demo.propose("phantom_0016").mask
    np.testing.assert_array_equal(
        demo.alternative("phantom_0016", Alternative(mode=0, t=0.0)).mask, proposal
    )


def test_the_farther_along_a_mode_the_less_probable(demo: Backend) -> None:
    result = demo.alternative("phantom_0016", Alternative(mode=1, t=-1.0)).result
    assert isinstance(result, AlternativeResult)
    assert result.tail_probability == pytest.approx(0.3173, abs=1e-4)
    assert result.density_ratio == pytest.approx(0.6065, abs=1e-4)
    assert len(result.variance_shares) == 3
    assert result.variance_shares == sorted(result.variance_shares, reverse=True)
    assert 0 < sum(result.variance_shares) < 1


def test_what_needs_the_model_is_said_beforehand(demo: Backend) -> None:
    with pytest.raises(NotOfferedError, match="clicks"):
        demo.follow("phantom_0013", Clicks())
    with pytest.raises(NotOfferedError, match="retraining"):
        demo.train()
    with pytest.raises(NotOfferedError, match="modes"):
        demo.alternative("phantom_0013", Alternative(kind="sample"))
    assert demo.training().status == "idle"
    assert demo.score().status == "done"


def test_wrong_names_and_sizes(demo: Backend) -> None:
    with pytest.raises(UnknownIdError, match="phantom_0013"):
        demo.image("no such image")
    with pytest.raises(RefusedError, match="epistemic"):
        demo.queue("no such strategy", 3)
    case = open_case(demo, demo.take("phantom_0013"))
    correction = make_correction(case, case.start, {})
    with pytest.raises(UnknownIdError):
        demo.submit(replace(correction, image_id="no such image"))


def test_thumbnails_are_small(demo: Backend) -> None:
    picture = demo.thumbnail("phantom_0013", 64)
    assert picture.shape == (48, 64)
    assert picture.std() > 10


def test_the_stored_mask_is_near_the_truth(pytestconfig: pytest.Config) -> None:
    for case in demo_index().cases:
        truth = read_mask(pytestconfig.rootpath / "sample_data" / "masks" / f"{case.id}.png") > 0
        mask = read_demo_prediction(case).mask > 0
        assert 2 * (truth & mask).sum() / (truth.sum() + mask.sum()) > 0.9
