"""Two annotators on one server: leases, queue, versions, skips and flags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from lfusion.protocol import QueueItem
from napari_lfusion.core.case import OpenCase
from napari_lfusion.core.correction import make_correction
from napari_lfusion.core.errors import ConflictError, RefusedError
from napari_lfusion.core.http import Account, HttpBackend
from napari_lfusion.core.loading import likely_next, open_case

LABELS = {"fetal head": 1}


@pytest.fixture
def ada(ours: str) -> Iterator[HttpBackend]:
    backend = HttpBackend(Account(ours, "ada"))
    capabilities = backend.info().capabilities
    if capabilities is None or not capabilities.leases:
        pytest.skip("this server grants no leases")
    yield backend
    backend.close()


@pytest.fixture
def ben(ours: str) -> Iterator[HttpBackend]:
    backend = HttpBackend(Account(ours, "ben"))
    yield backend
    backend.close()


def item(backend: HttpBackend, image_id: str) -> QueueItem:
    queue = backend.queue("epistemic", 100)
    return next(item for item in queue.items if item.id == image_id)


def taken(backend: HttpBackend, image_id: str) -> OpenCase:
    return open_case(backend, backend.take(image_id))


def test_two_annotators_never_get_the_same_image(ada: HttpBackend, ben: HttpBackend) -> None:
    first, second = ada.next_case("epistemic"), ben.next_case("epistemic")
    assert first is not None
    assert second is not None
    assert first.image_id != second.image_id
    assert first.lease is not None
    assert first.lease.client_id == "ada"
    assert first.why is not None
    assert first.why.sentence
    assert item(ben, first.image_id).owner == "ada"
    for backend, offer in ((ada, first), (ben, second)):
        backend.release(offer.image_id)
    assert item(ben, first.image_id).state == "open"


def test_a_held_image_cannot_be_taken(ada: HttpBackend, ben: HttpBackend) -> None:
    ada.take("head07")
    for ask in (ben.take, ben.renew):
        with pytest.raises(ConflictError, match="ada"):
            ask("head07")
    assert ada.renew("head07").seconds_left > 0
    ada.release("head07")
    lease = ben.take("head07").lease
    assert lease is not None
    assert lease.client_id == "ben"
    ben.release("head07")


def test_the_case_fetched_ahead_is_the_one_offered(ada: HttpBackend) -> None:
    offer = ada.next_case("epistemic")
    assert offer is not None
    ahead = likely_next(ada.queue("epistemic", 10), "ada", offer.image_id)
    following = ada.next_case("epistemic")
    assert following is not None
    assert following.image_id == ahead
    ada.release(offer.image_id)
    ada.release(following.image_id)


def test_a_submission_is_saved_once_and_ends_the_lease(ada: HttpBackend) -> None:
    case = taken(ada, "head08")
    before = case.offer.base_version or 0
    correction = make_correction(case, case.start, LABELS)
    first = ada.submit(correction)
    assert (first.version, first.conflict_with) == (before + 1, None)
    assert ada.submit(correction) == first
    assert len(ada.versions("head08")) == before + 1
    assert item(ada, "head08").state == "labelled"
    assert taken(ada, "head08").offer.base_version == before + 1
    ada.release("head08")


def test_a_stale_submission_keeps_both_and_says_so(ada: HttpBackend, ben: HttpBackend) -> None:
    case = taken(ada, "head09")
    before = case.offer.base_version or 0
    ada.release("head09")  # as when a lease runs out over lunch
    other = taken(ben, "head09")
    ben.submit(make_correction(other, other.start, LABELS))
    saved = ada.submit(make_correction(case, np.zeros_like(case.start), LABELS))
    assert (saved.version, saved.conflict_with) == (before + 2, before + 1)
    kept = ada.versions("head09")[before:]
    assert [(version.client_id, version.current) for version in kept] == [
        ("ben", False),
        ("ada", True),
    ]


@pytest.mark.parametrize("state", ["skipped", "flagged"])
def test_what_is_set_aside_says_why(ada: HttpBackend, ben: HttpBackend, state: str) -> None:
    image_id = {"skipped": "head10", "flagged": "head11"}[state]
    ada.take(image_id)
    set_aside = {"skipped": ada.skip, "flagged": ada.flag}[state]
    set_aside(image_id, "no head in the plane")
    shown = item(ben, image_id)
    assert (shown.state, shown.owner, shown.note) == (state, None, "no head in the plane")


def test_thumbnails_are_small(ada: HttpBackend) -> None:
    assert ada.thumbnail("head01", 64).shape == (48, 64)


def test_nothing_is_trained_yet(ada: HttpBackend) -> None:
    assert ada.training().status == "idle"


def test_a_correction_of_another_class_is_refused(ada: HttpBackend) -> None:
    case = taken(ada, "head02")
    sent = make_correction(case, np.full_like(case.start, 7), {})
    with pytest.raises(RefusedError, match="class numbers"):
        ada.submit(replace(sent, label_names=()))
    ada.release("head02")
