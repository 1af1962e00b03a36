"""Connections of a small server: what only many or very slow clients see."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from monailabel_app.lib import connection

ANSWER_BYTES = 64 * 2**20


@pytest.fixture
def release() -> threading.Event:
    """Lets the requests to /wait end."""
    return threading.Event()


@pytest.fixture
def server(release: threading.Event) -> uvicorn.Server:
    """A server of three routes, which does not listen yet."""

    async def wait(request: Request) -> Response:
        await asyncio.to_thread(release.wait, 20)
        return PlainTextResponse("done")

    async def large(request: Request) -> Response:
        return Response(bytes(ANSWER_BYTES))

    async def short(request: Request) -> Response:
        return PlainTextResponse("short")

    app = Starlette(routes=[Route("/wait", wait), Route("/large", large), Route("/", short)])
    protocol = connection.GuardedProtocol
    config = uvicorn.Config(app, http=protocol, ws="none", log_level="warning", lifespan="off")
    return uvicorn.Server(config)


@pytest.fixture
def port(
    monkeypatch: pytest.MonkeyPatch, server: uvicorn.Server, release: threading.Event
) -> Iterator[int]:
    """Where it listens: for three connections, and one second to a client that reads nothing."""
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(connection, "WRITE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield int(listener.getsockname()[1])
        release.set()
        server.should_exit = True
        thread.join()


def ask(port: int, path: str) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
    return client


def answer(client: socket.socket) -> bytes:
    content = b""
    with client, suppress(ConnectionResetError):
        while piece := client.recv(65536):
            content += piece
    return content


def test_when_all_are_at_work_a_new_one_is_refused(port: int, release: threading.Event) -> None:
    working = [ask(port, "/wait") for _ in range(3)]
    # The server has taken all three before it takes the next one.
    refused = answer(ask(port, "/"))
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b'"code": "too_many"' in refused
    release.set()
    assert all(b"done" in answer(client) for client in working)
    assert b"short" in answer(ask(port, "/"))


def test_one_that_waits_makes_room_first_that_which_never_asked(
    port: int, release: threading.Event
) -> None:
    kept = socket.create_connection(("127.0.0.1", port), timeout=20)
    kept.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert b"short" in kept.recv(65536)
    silent = socket.create_connection(("127.0.0.1", port), timeout=20)
    working = ask(port, "/wait")
    assert b"short" in answer(ask(port, "/"))
    assert silent.recv(1) == b""
    kept.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
    assert b"short" in kept.recv(65536)
    release.set()
    assert b"done" in answer(working)
    kept.close()
    silent.close()


def test_a_client_that_does_not_read_is_given_up(port: int, server: uvicorn.Server) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        client.recv(1)
        start = time.monotonic()
        # The client itself cannot see it: what it does not read lies before the end.
        while server.server_state.connections:
            assert time.monotonic() < start + 10
            threading.Event().wait(0.05)
    assert 0.9 < time.monotonic() - start < 5


def test_a_client_that_reads_slowly_gets_everything(port: int) -> None:
    client = ask(port, "/large")
    length = 0
    start = time.monotonic()
    while piece := client.recv(2**20):
        length += len(piece)
        if length < 8 * 2**20:
            threading.Event().wait(0.3)
    assert time.monotonic() - start > 2
    assert length > ANSWER_BYTES
    client.close()
