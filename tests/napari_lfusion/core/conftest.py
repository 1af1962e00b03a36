"""Servers of three kinds: ours, MONAI Label's own, and one that does what a test tells it."""

from __future__ import annotations

import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import monailabel_app
from lfusion.cli.server_process import free_port, running_command, running_server
from lfusion.image import as_ultrasound_image
from napari_lfusion.core.case import Correction, Offer, OpenCase, Proposal
from napari_lfusion.core.correction import make_correction
from napari_lfusion.core.http import Account

if TYPE_CHECKING:
    from tests.support.ultrasound_files import write_ultrasound
else:  # tests/ is no package when it runs
    from ultrasound_files import write_ultrasound

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Scripted:
    """A real HTTP server that gives the answers of a test, in order.

    Attributes:
        url: Its address.
        asked: What it was asked.
        over: Set when the test ends, so that nothing hangs longer.
    """

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _replies: deque[Reply] = field(default_factory=deque)

    def answer(self, body: str | bytes = "{}", status: int = 200, **headers: str) -> None:
        """Answer the next request with this."""
        content = body.encode() if isinstance(body, str) else body

        def reply(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("content-length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)

        self._replies.append(reply)

    def drop(self) -> None:
        """Read the next request, then close the connection without a word."""
        self._replies.append(lambda handler: None)

    def cut_off(self) -> None:
        """Die in the middle of the next answer."""

        def reply(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("content-length", "1000")
            handler.end_headers()
            handler.wfile.write(b'{"models":')

        self._replies.append(reply)

    def hang(self) -> None:
        """Never answer the next request."""
        self._replies.append(lambda handler: void(self.over.wait()))

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        """Serve one request."""
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append(Asked(handler.command, handler.path, headers, body))
        handler.close_connection = True
        self._replies.popleft()(handler)


def void(_: object) -> None:
    """Forget a value."""


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    script = Scripted()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.handle(self)

        do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names http.server looks for

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield script
    script.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def account(scripted: Scripted) -> Account:
    """At the scripted server."""
    return Account(scripted.url, "ada", "secret")


@pytest.fixture(scope="session")
def ours(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of `lfusion serve` over the drawn heads, three of them also as a cine."""
    studies = tmp_path_factory.mktemp("ours") / "studies"
    shutil.copytree(heads / "images", studies)
    pictures = [np.asarray(Image.open(studies / f"head{n:02}.png")) for n in (1, 2, 3)]
    write_ultrasound(studies / "cine.dcm", np.stack(pictures), (0.2, 0.1))
    options = ["--checkpoint", str(tiny_checkpoint)]
    with running_server(studies, studies.parent / "server.log", *options) as url:
        yield url


@pytest.fixture(scope="session")
def plain(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of MONAI Label's own server, with our app and none of our routes."""
    folder = tmp_path_factory.mktemp("plain")
    shutil.copytree(heads / "images", folder / "studies")
    app = folder / "monailabel_app"
    shutil.copytree(Path(monailabel_app.__file__).parent, app)
    port = free_port()
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app)]
    command += ["--studies", str(folder / "studies"), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--conf", "sam2", "false", "--conf", "checkpoint", str(tiny_checkpoint)]
    url = f"http://127.0.0.1:{port}"
    with running_command(command, f"{url}/info/", folder / "server.log"):
        yield url


@pytest.fixture
def case() -> OpenCase:
    """A case of 40 x 60 pixels whose proposal is one rectangle."""
    image = as_ultrasound_image(np.zeros((40, 60), np.uint8), (0.5, 0.25))
    mask = np.zeros((40, 60), np.uint8)
    mask[10:30, 20:50] = 1
    return OpenCase(Offer("scan 7", base_version=2), image, Proposal("scan 7", mask))


@pytest.fixture
def correction(case: OpenCase) -> Correction:
    """The proposal of the case, accepted as it is."""
    return make_correction(case, case.proposal.mask, {"fetal head": 1})
