"""One connection of the server: what uvicorn has no setting for.

uvicorn limits the length of request headers with h11, but not the time that they take, the number
of open connections, or the time that a client takes to read an answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 256
"""Open at a time; a browser opens six, the napari plugin a few, a proxy some dozens."""

HEADER_SECONDS = 10.0
"""From the first byte of a request, or from the start of a connection, to the end of its header."""

WRITE_SECONDS = 60.0
"""In which a client must read some of the answer."""

DRAIN_BYTES = 2**20
"""Of a body that nobody reads: a client that is still sending can read the answer meanwhile."""


class GuardedProtocol(H11Protocol):
    """uvicorn's connection with timeouts for headers and answers, and a limit on connections.

    Beyond `MAX_CONNECTIONS` the connection that has waited longest for a request is closed, first
    one that never sent any. Only when all of them are at work is a new one refused with 503.
    """

    _header_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None
    _drained = 0
    _opened = 0.0
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin a connection, if there is room for it."""
        super().connection_made(transport)
        self._opened = self.loop.time()
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._end_late_header)
        others = [
            one
            for one in self.connections
            if isinstance(one, GuardedProtocol) and not one.transport.is_closing()
        ]
        others.remove(self)
        if len(others) < MAX_CONNECTIONS:
            return
        waiting = [one for one in others if one._waits_for_request()]
        if waiting:
            min(waiting, key=lambda one: (one._has_sent_any(), one._opened)).transport.abort()
        else:
            logger.warning("refused a connection: %d are at work", len(others))
            self._refuse(503, "too_many", "the server has too many connections; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        """End a connection."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what a client sent."""
        if self.transport.is_closing():
            return
        if self._waits_for_request():
            self._drained += len(data)
            if self._drained > DRAIN_BYTES and self.conn.their_state is h11.SEND_BODY:
                self.transport.close()
                return
        super().data_received(data)
        if not self._waits_for_request():
            self._drained = 0
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None
        elif self._header_timer is None and not self.transport.is_closing():
            self._header_timer = self.loop.call_later(HEADER_SECONDS, self._end_late_header)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP request, in the form of all errors of this server."""
        # uvicorn calls this while it handles h11's error, and passes a text only.
        error = sys.exception()
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            limit = self.config.h11_max_incomplete_event_size
            self._refuse(431, "too_large", f"the request header is longer than {limit} bytes")
        else:
            self._refuse(400, "bad_request", "the request is not valid HTTP/1.1")

    def pause_writing(self) -> None:
        """Start the time in which the client must read some of the answer."""
        super().pause_writing()
        self._expect_reading()

    def resume_writing(self) -> None:
        """Stop it: the client has read."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _expect_reading(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._write_timer = self.loop.call_later(WRITE_SECONDS, self._end_unread_answer)

    def _end_unread_answer(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._expect_reading()
        else:
            self.transport.abort()

    def _waits_for_request(self) -> bool:
        """Whether no request is being answered: its header is not complete, or none came."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _has_sent_any(self) -> bool:
        """Whether a request came over this connection before."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None

    def _end_late_header(self) -> None:
        self._header_timer = None
        if self._waits_for_request() and not self.transport.is_closing():
            seconds = f"{HEADER_SECONDS:.0f} s"
            self._refuse(408, "too_slow", f"the request header did not arrive within {seconds}")

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Answer what is no whole request, unless an answer has begun, and close."""
        if not self._waits_for_request() and self.cycle.response_started:
            self.transport.close()
            return
        body = json.dumps({"code": code, "message": message}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _stop_timers(self) -> None:
        for timer in (self._header_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
