"""Each way in which a server can fail becomes its own error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from lfusion.cli.server_process import free_port
from lfusion.protocol import ErrorBody
from napari_lfusion.core.errors import (
    BackendError,
    BadAnswerError,
    BusyError,
    ConflictError,
    ForbiddenError,
    RefusedError,
    ServerFailedError,
    TimedOutError,
    UnauthenticatedError,
    UnknownIdError,
    UnreachableError,
)
from napari_lfusion.core.http import Account
from napari_lfusion.core.http.transport import Patience, Transport

if TYPE_CHECKING:
    from tests.napari_lfusion.core.conftest import Scripted

BRIEF = Patience(connect=5.0, answer=0.2, model=30.0)


@pytest.fixture
def transport(account: Account) -> Iterator[Transport]:
    transport = Transport(account, Patience())
    yield transport
    transport.close()


def refusal(message: str) -> str:
    return ErrorBody(code="x", message=message).model_dump_json()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, UnauthenticatedError),
        (403, ForbiddenError),
        (404, UnknownIdError),
        (409, ConflictError),
        (413, RefusedError),
        (422, RefusedError),
        (429, BusyError),
        (500, ServerFailedError),
        (502, ServerFailedError),
        (503, ServerFailedError),
    ],
)
def test_a_status_has_its_error_and_the_servers_words(
    scripted: Scripted, transport: Transport, status: int, kind: type[BackendError]
) -> None:
    scripted.answer(refusal("expected an apple; got a pear"), status)
    with pytest.raises(kind, match="expected an apple; got a pear") as caught:
        transport.ask("GET", "/info/")
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"detail": "Image NOT Found"}', "Image NOT Found"),
        ("<html>\n  Bad Gateway </html>", "<html> Bad Gateway </html>"),
        ("x" * 5000, "x…"),
        ("", "Internal Server Error"),
    ],
)
def test_other_servers_have_other_words(
    scripted: Scripted, transport: Transport, body: str, words: str
) -> None:
    scripted.answer(body, 500)
    with pytest.raises(ServerFailedError) as caught:
        transport.ask("GET", "/info/")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


class TestBusy:
    def test_the_server_says_for_how_long(self, scripted: Scripted, transport: Transport) -> None:
        scripted.answer(status=429, retry_after="7")
        with pytest.raises(BusyError) as caught:
            transport.ask("GET", "/info/")
        assert caught.value.retry_after_s == 7
        assert caught.value.passing

    def test_unavailable_for_a_while_is_busy(
        self, scripted: Scripted, transport: Transport
    ) -> None:
        scripted.answer(status=503, retry_after="3")
        with pytest.raises(BusyError):
            transport.ask("GET", "/info/")

    @pytest.mark.parametrize("value", ["soon", "Wed, 21 Oct 2015 07:28:00 GMT"])
    def test_a_date_that_is_over_or_none_at_all_is_no_pause(
        self, scripted: Scripted, transport: Transport, value: str
    ) -> None:
        scripted.answer(status=429, retry_after=value)
        with pytest.raises(BusyError) as caught:
            transport.ask("GET", "/info/")
        assert caught.value.retry_after_s in (None, 0)


class TestNoAnswer:
    def test_nobody_listens(self) -> None:
        transport = Transport(Account(f"http://127.0.0.1:{free_port()}", "ada"), Patience())
        with pytest.raises(UnreachableError, match="check that the server runs"):
            transport.ask("GET", "/info/")
        transport.close()

    def test_a_server_that_hangs(self, scripted: Scripted, account: Account) -> None:
        scripted.hang()
        transport = Transport(account, BRIEF)
        with pytest.raises(TimedOutError, match="in time"):
            transport.ask("GET", "/info/")
        transport.close()
        assert len(scripted.asked) == 1

    def test_a_model_may_take_longer(self, scripted: Scripted, account: Account) -> None:
        scripted.answer("{}")
        transport = Transport(account, Patience(connect=5, answer=1e-9, model=30))
        assert transport.ask("POST", "/infer/lfusion", model=True).json() == {}
        transport.close()

    def test_a_server_killed_while_it_answers(
        self, scripted: Scripted, transport: Transport
    ) -> None:
        scripted.cut_off()
        scripted.cut_off()
        with pytest.raises(UnreachableError):
            transport.ask("GET", "/info/")


class TestSecondAttempt:
    def test_reading_is_tried_again(self, scripted: Scripted, transport: Transport) -> None:
        scripted.drop()
        scripted.answer('{"a": 1}')
        assert transport.ask("GET", "/info/").json() == {"a": 1}

    def test_what_changes_the_server_is_not(self, scripted: Scripted, transport: Transport) -> None:
        scripted.drop()
        with pytest.raises(UnreachableError):
            transport.ask("POST", "/train/lfusion")
        assert len(scripted.asked) == 1

    def test_unless_it_does_no_harm(self, scripted: Scripted, transport: Transport) -> None:
        scripted.drop()
        scripted.answer()
        transport.ask("PUT", "/lease", again=True)
        assert len(scripted.asked) == 2


class TestAnswers:
    def test_the_token_goes_along_and_shows_nowhere(
        self, scripted: Scripted, account: Account, transport: Transport
    ) -> None:
        scripted.answer()
        transport.ask("GET", "/info/")
        assert scripted.asked[0].headers["authorization"] == "Bearer secret"
        assert "secret" not in repr(account)

    def test_no_token_no_header(self, scripted: Scripted) -> None:
        scripted.answer()
        transport = Transport(Account(scripted.url, "ada"), Patience())
        transport.ask("GET", "/info/")
        transport.close()
        assert "authorization" not in scripted.asked[0].headers

    def test_the_token_follows_no_redirect(self, scripted: Scripted, transport: Transport) -> None:
        scripted.answer(status=307, location="https://elsewhere.example/")
        with pytest.raises(BadAnswerError, match="elsewhere"):
            transport.ask("GET", "/info/")

    @pytest.mark.parametrize("body", ["<html>", "[]", '{"message": "no code"}'])
    def test_something_else_than_was_promised(
        self, scripted: Scripted, transport: Transport, body: str
    ) -> None:
        scripted.answer(body)
        with pytest.raises(BadAnswerError, match="expected ErrorBody as JSON"):
            transport.read(ErrorBody, "GET", "/info/")

    def test_json_is_read_as_its_type(self, scripted: Scripted, transport: Transport) -> None:
        scripted.answer(json.dumps([1, 2]))
        assert transport.read(list[int], "GET", "/numbers") == [1, 2]


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("localhost:8000", "http://localhost:8000"),
        (" https://host/lfusion/ ", "https://host/lfusion"),
    ],
)
def test_addresses_as_people_type_them(typed: str, url: str) -> None:
    assert Account.parse(typed, " ada ", " ") == Account(url, "ada", None)


@pytest.mark.parametrize("typed", ["", "ftp://host", "http://", "http://[::1"])
def test_no_address(typed: str) -> None:
    with pytest.raises(RefusedError, match="address"):
        Account.parse(typed, "ada")


def test_nobody_is_no_user() -> None:
    with pytest.raises(RefusedError, match="user"):
        Account.parse("localhost", " ")
