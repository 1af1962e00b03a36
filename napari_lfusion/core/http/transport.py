"""One request: with a token, with a timeout, and with a typed error when it fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter

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
from napari_lfusion.core.http.account import Account

_T = TypeVar("_T")

_BY_STATUS: dict[int, type[BackendError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: UnknownIdError,
    409: ConflictError,
    429: BusyError,
}
_BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""The server closed a connection, most often one that was kept open since the last request."""
_DETAIL_CHARS = 300


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds.

    Attributes:
        connect: For a connection, also for a free one of the pool.
        answer: For the next bytes of an answer that needs no model.
        model: For the next bytes of an answer that does; a server on one busy core is slow.
    """

    connect: float = 5.0
    answer: float = 20.0
    model: float = 180.0


class Transport:
    """The only place that sends anything.

    Certificates are verified, redirects are not followed (they would carry the token elsewhere),
    and proxies and certificate bundles come from the environment, as for any HTTP client.

    Args:
        account: Where to connect, as whom.
        patience: How long to wait.
    """

    def __init__(self, account: Account, patience: Patience) -> None:
        headers = {"user-agent": "napari-lfusion"}
        if account.token is not None:
            headers["authorization"] = f"Bearer {account.token}"
        self._patience = patience
        self._url = account.url
        self._http = httpx.Client(base_url=account.url, headers=headers)

    def ask(
        self,
        method: str,
        path: str,
        *,
        model: bool = False,
        again: bool | None = None,
        **content: Any,
    ) -> httpx.Response:
        """Send one request and wait for the whole answer.

        Args:
            method: Of HTTP.
            path: From the server's address on.
            model: Whether the server has to run a model first.
            again: Whether it does no harm to send it twice, so that it is sent once more when a
                connection breaks; by default true for GET alone.
            content: As httpx takes it: `params`, `json`, `data`, `files`.

        Returns:
            An answer with a status of success.

        Raises:
            BackendError: Of the type that fits; see `napari_lfusion.core.errors`.
        """
        try:
            try:
                reply = self._send(method, path, model, content)
            except _BROKEN:
                if not (method == "GET" if again is None else again):
                    raise
                reply = self._send(method, path, model, content)
        except httpx.TimeoutException as error:
            raise TimedOutError(
                f"{self._url} did not answer in time ({method} {path}); it may be busy: try again"
            ) from error
        except httpx.TransportError as error:
            raise UnreachableError(
                f"no answer from {self._url}: {error}; check that the server runs and the address"
            ) from error
        except httpx.HTTPError as error:
            raise BadAnswerError(f"{method} {path}: the answer is damaged: {error}") from error
        if reply.is_success:
            return reply
        raise _error_of(reply, f"{method} {path}")

    def read(self, kind: type[_T], method: str, path: str, **options: Any) -> _T:
        """Send one request and read its JSON answer as a type.

        Args:
            kind: Any type that pydantic knows.
            method: See `ask`, as the next two.
            path: .
            options: .

        Returns:
            The answer.

        Raises:
            BadAnswerError: It is something else.
            BackendError: See `ask`.
        """
        reply = self.ask(method, path, **options)
        try:
            return TypeAdapter(kind).validate_json(reply.content)
        except ValueError as error:
            raise BadAnswerError(
                f"{method} {path}: expected {kind.__name__} as JSON; {_brief(str(error))}; "
                "is it a MONAI Label server of a matching version?"
            ) from error

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def _send(
        self, method: str, path: str, model: bool, content: Mapping[str, Any]
    ) -> httpx.Response:
        wait = self._patience.model if model else self._patience.answer
        timeout = httpx.Timeout(wait, connect=self._patience.connect, pool=self._patience.connect)
        return self._http.request(method, path, timeout=timeout, **content)


def _error_of(reply: httpx.Response, what: str) -> BackendError:
    status = reply.status_code
    message = f"{_detail(reply)} (status {status} of {what})"
    if status == 429 or (status == 503 and "retry-after" in reply.headers):
        return BusyError(message, _retry_after(reply))
    if status in _BY_STATUS:
        return _BY_STATUS[status](message)
    if status >= 500:
        return ServerFailedError(message)
    if status >= 400:
        return RefusedError(message)
    where = reply.headers.get("location", "nowhere")
    return BadAnswerError(f"the server redirects to {where}; use that address ({what})")


def _detail(reply: httpx.Response) -> str:
    """What the server says, for people: our error body, FastAPI's, or its text."""
    try:
        return ErrorBody.model_validate_json(reply.content).message
    except ValueError:
        pass
    try:
        body = reply.json()
    except ValueError:
        body = None
    said = body["detail"] if isinstance(body, dict) and "detail" in body else reply.text
    return _brief(str(said)) or reply.reason_phrase or "no reason given"


def _brief(text: str) -> str:
    """One line, not too long: an error page of a proxy is none that people want to read."""
    line = " ".join(text.split())
    return line if len(line) <= _DETAIL_CHARS else f"{line[:_DETAIL_CHARS]}…"


def _retry_after(reply: httpx.Response) -> float | None:
    """Seconds, from either form of the header: a number, or a date by the server's own clock."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        then, now = (parsedate_to_datetime(text) for text in (value, reply.headers.get("date", "")))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):  # no date, or only one of the two has a time zone
        return None
