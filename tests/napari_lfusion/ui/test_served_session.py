"""A whole session in a real window against a real server, and a server that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from lfusion.cli.server_process import free_port, running_command
from lfusion.image import read_mask
from lfusion.types import LabelMap
from napari_lfusion.controller.tools import Tool
from napari_lfusion.core.http import Account, HttpBackend
from napari_lfusion.ui import AnnotatorWidget

pytestmark = pytest.mark.skipif(
    not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
    reason="no screen to open a window on: run under xvfb-run",
)


class Server:
    """`lfusion serve`, which can be killed and started again where it was.

    Args:
        studies: Its folder.
        checkpoint: Of its model.
    """

    def __init__(self, studies: Path, checkpoint: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = studies.parent / "server.log"
        self._command = [sys.executable, "-c", "from lfusion.cli import app; app()", "serve"]
        self._command += ["--studies", str(studies), "--port", str(port)]
        self._command += ["--checkpoint", str(checkpoint)]
        self._stack = ExitStack()
        self._group = 0

    def start(self) -> None:
        """Start it, and wait until it answers."""
        running = running_command(self._command, f"{self.url}/health", self._log)
        self._group = self._stack.enter_context(running)

    def freeze(self) -> None:
        """Let requests arrive that are never answered."""
        os.killpg(self._group, signal.SIGSTOP)

    def kill(self) -> None:
        """End it without a word."""
        os.killpg(self._group, signal.SIGKILL)

    def close(self) -> None:
        """End it for good."""
        self._stack.close()


@pytest.fixture(scope="module")
def server(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    studies = tmp_path_factory.mktemp("session") / "studies"
    studies.mkdir()
    for number in range(4):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    made = Server(studies, tiny_checkpoint)
    made.start()
    yield made
    made.close()


@pytest.fixture
def failures(widget: AnnotatorWidget) -> list[str]:
    """Every message of a failure so far."""
    said: list[str] = []
    widget.annotator.link.failed.connect(said.append)
    return said


@pytest.fixture
def news(widget: AnnotatorWidget) -> list[str]:
    """All good news so far."""
    said: list[str] = []
    widget.annotator.link.told.connect(said.append)
    return said


@pytest.fixture
def editing(
    server: Server, widget: AnnotatorWidget, wait: Any, failures: list[str]
) -> AnnotatorWidget:
    """The first case of the queue is open."""
    account = Account.parse(server.url, "ada")
    widget.connect_to(lambda: HttpBackend(account))
    wait(lambda: widget.annotator.idle)
    QTest.keyClick(widget, Qt.Key.Key_N)
    wait(lambda: widget.annotator.editing and not widget.annotator.requests.topics)
    assert not failures
    return widget


def final_label(url: str, image_id: str, folder: Path) -> LabelMap:
    """What the server has."""
    query = {"label": image_id, "tag": "final"}
    reply = httpx.get(f"{url}/datastore/label", params=query, timeout=60)
    file = folder / "label.png"
    file.write_bytes(reply.raise_for_status().content)
    return read_mask(file)


def middle_of(mask: LabelMap) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(rows.mean()), float(columns.mean())


def quiet(widget: AnnotatorWidget) -> Callable[[], bool]:
    return lambda: not widget.annotator.requests.topics


def picture(viewer: Any, name: str) -> None:
    """Keep a picture of the window, for those who ask for it, to be looked at."""
    folder = os.environ.get("LFUSION_PICTURES")
    if folder:
        QApplication.processEvents()
        pixels = viewer.window.screenshot(canvas_only=False, flash=False)
        Image.fromarray(pixels[..., :3]).save(Path(folder) / f"{name}.png", optimize=True)


def test_from_the_lease_to_the_queue_ranked_anew(
    editing: AnnotatorWidget,
    server: Server,
    hand: Any,
    wait: Any,
    failures: list[str],
    news: list[str],
    tmp_path: Path,
    viewer: Any,
) -> None:
    annotator, case = editing.annotator, editing.annotator.case
    opened = case.case
    assert opened is not None
    image_id = opened.offer.image_id
    assert opened.offer.lease is not None
    assert set(opened.proposal.maps) == {"epistemic", "aleatoric", "total"}
    assert case.view.shown is not None
    queue = annotator.queue.latest
    assert queue is not None
    assert {item.id: item.owner for item in queue.items}[image_id] == "ada"
    wait(lambda: len(annotator.queue.thumbnails) == 4)

    # a click outside, in the middle of the head, takes some of it away, as one step
    row, column = middle_of(case.mask)
    QTest.keyClick(hand.canvas, Qt.Key.Key_O)
    assert case.tools.tool is Tool.OUTSIDE
    hand.drag((row, column))
    wait(lambda: case.editor.dirty)
    assert case.mask[round(row), round(column)] == 0
    assert failures == []
    QTest.keyClick(hand.canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait(lambda: not case.editor.dirty)

    # another mask that the model holds possible is looked at, then taken over
    for _ in range(4):
        editing.commands["other_more"].trigger()
    wait(quiet(editing))
    other = case.alternative
    assert other is not None
    assert not np.array_equal(other, case.mask)
    QTest.keyClick(hand.canvas, Qt.Key.Key_D)
    np.testing.assert_array_equal(case.mask, other)

    QTest.keyClick(hand.canvas, Qt.Key.Key_P)
    hand.drag((2, 2), (2, 12), (2, 22))
    wait(lambda: case.mask[2, 12] == 1)
    painted = case.mask.copy()
    QTest.keyClick(hand.canvas, Qt.Key.Key_S)
    wait(lambda: annotator.idle and not annotator.requests.topics)
    assert failures == []
    assert f"saved {image_id}" in news
    np.testing.assert_array_equal(final_label(server.url, image_id, tmp_path), painted)

    before = annotator.link.info
    QTest.keyClick(editing, Qt.Key.Key_T)
    wait(lambda: any("ranked anew" in text for text in news) or bool(failures))
    wait(quiet(editing))
    assert failures == []
    after, ranked = annotator.link.info, annotator.queue.latest
    assert before is not None
    assert after is not None
    assert ranked is not None
    assert before.capabilities is not None
    assert after.capabilities is not None
    assert after.capabilities.checkpoint_id != before.capabilities.checkpoint_id
    assert ranked.checkpoint_id == after.capabilities.checkpoint_id
    assert "ranked anew" in editing.messages.text
    editing.tabs.setCurrentWidget(editing.training)
    picture(viewer, "10-retrained")
    assert len(annotator.training.latest.history) > 0
    waiting = [item for item in ranked.items if item.state == "open"]
    scores = [item.why.score for item in waiting if item.why and item.why.score is not None]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_a_server_killed_under_a_submission_gets_it_when_it_is_back(
    editing: AnnotatorWidget,
    server: Server,
    hand: Any,
    wait: Any,
    failures: list[str],
    news: list[str],
    tmp_path: Path,
) -> None:
    annotator, case = editing.annotator, editing.annotator.case
    assert case.case is not None
    assert annotator.link.workspace is not None
    image_id = case.case.offer.image_id
    QTest.keyClick(hand.canvas, Qt.Key.Key_P)
    hand.drag((2, 2), (2, 12), (2, 22))
    wait(lambda: case.editor.dirty and not annotator.requests.topics)
    painted = case.mask.copy()
    server.freeze()
    QTest.keyClick(hand.canvas, Qt.Key.Key_S)
    outbox = annotator.link.workspace.outbox
    wait(lambda: len(outbox.waiting()) == 1)
    server.kill()
    wait(lambda: annotator.idle and not annotator.requests.topics)
    assert len(failures) == 1
    assert f"kept {image_id} here" in failures[0]
    assert "1 waiting to be sent" in annotator.status
    server.start()
    wait(lambda: annotator.postman.waiting == 0 and not annotator.requests.topics)
    assert len(failures) == 1
    assert "the server is back; everything is sent" in news
    np.testing.assert_array_equal(final_label(server.url, image_id, tmp_path), painted)
    ranked = annotator.queue.latest
    assert ranked is not None
    assert {item.id: item.state for item in ranked.items}[image_id] == "labelled"
