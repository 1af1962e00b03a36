"""Corrections reach the server once, however often it takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_lfusion.core.case import Correction, Saved
from napari_lfusion.core.errors import (
    BusyError,
    ConflictError,
    ServerFailedError,
    UnauthenticatedError,
    UnreachableError,
    WorkspaceError,
)
from napari_lfusion.core.http import Account, HttpBackend
from napari_lfusion.core.outbox import Outbox, retry_delay
from napari_lfusion.demo import DemoBackend

if TYPE_CHECKING:
    from tests.napari_lfusion.core.conftest import Scripted

SAVED = '{"image": "scan 7", "label": "scan 7", "tag": "final", "version": 3}'


@pytest.fixture
def backend(account: Account) -> Iterator[HttpBackend]:
    http = HttpBackend(account)
    yield http
    http.close()


def keys(outbox: Outbox) -> list[str]:
    return [waiting.correction.idempotency_key for waiting in outbox.waiting()]


def test_what_was_sent_is_gone(
    tmp_path: Path, correction: Correction, scripted: Scripted, backend: HttpBackend
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(correction)
    scripted.answer(SAVED)
    (delivery,) = outbox.flush(backend)
    assert delivery.saved == Saved("scan 7", version=3)
    assert outbox.waiting() == ()
    assert outbox.flush(backend) == []


def test_it_waits_through_a_restart(tmp_path: Path, correction: Correction) -> None:
    Outbox(tmp_path).put(correction)
    (waiting,) = Outbox(tmp_path).waiting()
    assert waiting.correction == correction
    assert waiting.refusal is None


def test_a_lost_answer_is_asked_again_with_the_same_key(
    tmp_path: Path, correction: Correction, scripted: Scripted, backend: HttpBackend
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(correction)
    scripted.drop()  # the server has it, and dies before it says so
    scripted.drop()
    (delivery,) = outbox.flush(backend)
    assert isinstance(delivery.error, UnreachableError)
    assert delivery.kept
    scripted.answer(SAVED)
    (delivery,) = outbox.flush(backend)
    assert delivery.saved is not None
    assert outbox.waiting() == ()
    assert len(scripted.asked) == 3
    assert all(correction.idempotency_key.encode() in asked.body for asked in scripted.asked)


def test_a_later_one_never_overtakes(
    tmp_path: Path, correction: Correction, scripted: Scripted, backend: HttpBackend
) -> None:
    outbox = Outbox(tmp_path)
    later = replace(correction, idempotency_key="later")
    outbox.put(correction)
    outbox.put(later)
    scripted.answer(status=500)
    (delivery,) = outbox.flush(backend)
    assert isinstance(delivery.error, ServerFailedError)
    assert keys(outbox) == [correction.idempotency_key, "later"]


@pytest.mark.parametrize(
    ("status", "kind"), [(429, BusyError), (401, UnauthenticatedError), (503, ServerFailedError)]
)
def test_it_is_kept_while_it_may_succeed(
    tmp_path: Path,
    correction: Correction,
    scripted: Scripted,
    backend: HttpBackend,
    status: int,
    kind: type[Exception],
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(correction)
    scripted.answer(status=status)
    (delivery,) = outbox.flush(backend)
    assert isinstance(delivery.error, kind)
    assert delivery.kept
    assert [waiting.refusal for waiting in outbox.waiting()] == [None]


def test_a_refused_one_stays_with_its_reason_and_lets_others_pass(
    tmp_path: Path, correction: Correction, scripted: Scripted, backend: HttpBackend
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(correction)
    outbox.put(replace(correction, idempotency_key="later"))
    scripted.answer(json.dumps({"code": "conflict", "message": "ben holds it"}), 409)
    scripted.answer(SAVED)
    refused, sent = outbox.flush(backend)
    assert isinstance(refused.error, ConflictError)
    assert not refused.kept
    assert sent.saved is not None
    (waiting,) = outbox.waiting()
    assert "ben holds it" in (waiting.refusal or "")
    assert outbox.flush(backend) == []  # not again by itself
    outbox.retry(correction.idempotency_key)
    scripted.answer(SAVED)
    assert [delivery.saved is not None for delivery in outbox.flush(backend)] == [True]


def test_one_that_is_on_screen_again_is_forgotten(tmp_path: Path, correction: Correction) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(correction)
    outbox.put(replace(correction, idempotency_key="other"))
    outbox.discard("other")
    assert keys(outbox) == [correction.idempotency_key]


def test_the_mask_of_one_that_is_given_up_stays(tmp_path: Path, correction: Correction) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(replace(correction, image_id="a/b: c"))
    outbox.put(replace(correction, idempotency_key="other"))
    kept = outbox.give_up(correction.idempotency_key)
    assert kept is not None
    assert kept.read_bytes() == correction.content
    assert kept.name.startswith("a-b-c-")
    assert kept.suffix == Path(correction.file_name).suffix
    assert keys(Outbox(tmp_path)) == ["other"]
    assert outbox.give_up(correction.idempotency_key) is None


def test_two_threads_send_it_once(tmp_path: Path) -> None:
    backend, outbox = DemoBackend(), Outbox(tmp_path)
    image_id = backend.queue("epistemic", 1).items[0].id
    for key in "abc":
        content = (Path(__file__).parents[3] / "sample_data/masks").joinpath(f"{image_id}.png")
        outbox.put(Correction(image_id, "label.png", content.read_bytes(), key))
    deliveries = []
    threads = [
        threading.Thread(target=lambda: deliveries.extend(outbox.flush(backend))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [delivery.correction.idempotency_key for delivery in deliveries] == ["a", "b", "c"]
    assert len(backend.versions(image_id)) == 3


def test_a_damaged_file_stays_and_holds_up_no_other(
    tmp_path: Path, correction: Correction, scripted: Scripted, backend: HttpBackend
) -> None:
    outbox = Outbox(tmp_path)
    outbox.put(correction)
    (file,) = tmp_path.iterdir()
    file.write_text("{", encoding="utf-8")
    outbox.put(replace(correction, idempotency_key="whole"))
    (sentence,) = outbox.damaged()
    assert file.name in sentence
    assert keys(outbox) == ["whole"]
    scripted.answer(SAVED)
    assert [delivery.saved is not None for delivery in outbox.flush(backend)] == [True]
    assert file.exists()


def test_no_room_is_told(tmp_path: Path, correction: Correction) -> None:
    outbox = Outbox(tmp_path / "outbox")
    (tmp_path / "outbox").rmdir()
    with pytest.raises(WorkspaceError, match="outbox"):
        outbox.put(correction)


def test_pauses_grow_unless_the_server_says_how_long() -> None:
    error = ServerFailedError("x")
    assert [retry_delay(attempts, error) for attempts in (1, 2, 3, 4, 99)] == [1, 2, 4, 8, 60]
    assert retry_delay(1, BusyError("x", retry_after_s=17)) == 17
