"""The widget in a real window, with real keys and a real mouse."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLineEdit,
    QMessageBox,
    QSlider,
    QWidget,
)

from lfusion.image import UltrasoundImage
from napari_lfusion.core.case import Correction, Saved
from napari_lfusion.core.errors import BackendError, RefusedError, UnreachableError
from napari_lfusion.core.http import Account, HttpBackend
from napari_lfusion.core.session import Disconnected, Loading
from napari_lfusion.demo import DemoBackend
from napari_lfusion.ui import AnnotatorWidget

pytestmark = pytest.mark.skipif(
    not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
    reason="no screen to open a window on: run under xvfb-run",
)
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def editing(widget: AnnotatorWidget, wait: Any) -> AnnotatorWidget:
    widget.connection.demo_button.click()
    wait(lambda: widget.annotator.idle)
    widget.commands["next"].trigger()
    wait(lambda: widget.annotator.editing and not widget.annotator.requests.topics)
    return widget


def canvas(viewer: Any) -> QWidget:
    native: QWidget = viewer.window._qt_viewer.canvas.native
    return native


def stroke(viewer: Any) -> None:
    target = canvas(viewer)
    middle = QPoint(target.width() // 2, target.height() // 2)
    QTest.mouseMove(target, middle)
    QTest.mousePress(target, LEFT, Qt.KeyboardModifier.NoModifier, middle)
    for step in range(1, 6):
        QTest.mouseMove(target, middle + QPoint(12 * step, 0))
    QTest.mouseRelease(target, LEFT, Qt.KeyboardModifier.NoModifier, middle + QPoint(60, 0))


def test_erase_undo_redo_and_submit_by_mouse_and_keys(
    editing: AnnotatorWidget, viewer: Any, wait: Any
) -> None:
    case = editing.annotator.case
    QTest.keyClick(editing.queue.list, Qt.Key.Key_E)
    stroke(viewer)
    wait(lambda: case.editor.dirty)
    assert case.effort.strokes == 1
    assert "changed" in editing.annotator.status
    QTest.keyClick(editing.training.every, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    wait(lambda: not case.editor.dirty)
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    QTest.keyClick(canvas(viewer), Qt.Key.Key_Z, both)
    wait(lambda: case.editor.dirty)
    QTest.keyClick(canvas(viewer), Qt.Key.Key_S)
    wait(lambda: editing.annotator.idle)
    assert case.case is None


def test_the_review_goes_by_keys_whatever_has_the_focus(
    editing: AnnotatorWidget, viewer: Any
) -> None:
    review = editing.annotator.case.review
    panels = (canvas(viewer), editing.queue.list, editing.tabs, editing)
    for panel, key in zip(panels, "UJKA", strict=True):
        QTest.keyClick(panel, getattr(Qt.Key, f"Key_{key}"))
        assert review.current is not None or review.waiting == 0, key
    assert review.waiting == len(review.regions.items) - 1


def test_g_gates_the_brush_while_it_is_held(editing: AnnotatorWidget, viewer: Any) -> None:
    view = editing.annotator.case.view
    QTest.keyPress(canvas(viewer), Qt.Key.Key_G)
    assert view.gated
    QTest.keyRelease(canvas(viewer), Qt.Key.Key_G)
    assert not view.gated


def test_what_is_typed_is_no_command(editing: AnnotatorWidget, viewer: Any, qtbot: Any) -> None:
    field = QLineEdit()
    viewer.window.add_dock_widget(field, name="note")
    field.setFocus()
    QTest.keyClicks(field, "sqw")
    assert field.text() == "sqw"
    assert editing.annotator.editing


def test_napari_opens_it_by_the_name_of_the_plugin(make_napari_viewer: Any) -> None:
    _, docked = make_napari_viewer().window.add_plugin_dock_widget("lfusion")
    assert isinstance(docked, AnnotatorWidget)
    docked.annotator.shut_down()


def test_every_action_has_a_key_of_its_own_and_a_tooltip(widget: AnnotatorWidget) -> None:
    keys = [key for spec in widget.commands.specs for key in spec.keys.split()]
    assert len(keys) == len(set(keys))
    for spec in widget.commands.specs:
        assert spec.keys
        assert spec.tip in widget.commands[spec.name].toolTip()


def test_everything_to_press_or_to_choose_explains_itself(editing: AnnotatorWidget) -> None:
    kinds = (QAbstractButton, QComboBox, QSlider, QAbstractSpinBox, QLineEdit)
    pieces = [piece for kind in kinds for piece in editing.findChildren(kind)]
    ours = [piece for piece in pieces if not isinstance(piece.parent(), QAbstractSpinBox)]
    assert len(ours) > 30
    assert [piece for piece in ours if not piece.toolTip() and piece.objectName() == ""] == []


def test_the_demonstration_and_its_messages_need_no_mouse(
    widget: AnnotatorWidget, viewer: Any, wait: Any
) -> None:
    QTest.keyClick(canvas(viewer), Qt.Key.Key_F2)
    wait(lambda: widget.annotator.idle)
    widget.annotator.link.failed.emit("something went wrong")
    assert widget.messages.text == "Something went wrong"
    QTest.keyClick(widget.queue.list, Qt.Key.Key_Escape)
    wait(lambda: not widget.messages.text)
    before = widget.annotator.session.strategy
    QTest.keyClick(widget.tabs, Qt.Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    assert widget.annotator.session.strategy != before


def go_on_when_asked() -> QTimer:
    """Press the default button of the next question, which blocks whoever asks."""
    timer = QTimer()

    def press() -> None:
        box = QApplication.activeModalWidget()
        if isinstance(box, QMessageBox):
            timer.stop()
            box.defaultButton().click()

    timer.timeout.connect(press)
    timer.start(20)
    return timer


def test_a_dock_that_is_closed_leaves_its_place_to_the_next(
    editing: AnnotatorWidget, viewer: Any, wait: Any, tmp_path: Path
) -> None:
    QTest.keyClick(canvas(viewer), Qt.Key.Key_E)
    stroke(viewer)
    wait(lambda: editing.annotator.case.editor.dirty)
    first, painted = editing.annotator, editing.annotator.case.mask.copy()
    gone: list[bool] = []
    editing.destroyed.connect(lambda: gone.append(True))
    viewer.window.remove_dock_widget(editing)
    wait(lambda: bool(gone))
    assert isinstance(first.link.state, Disconnected)
    assert list(viewer.layers) == []

    second = AnnotatorWidget(viewer, tmp_path)
    viewer.window.add_dock_widget(second, name="L-FUSION", area="right")
    asked = go_on_when_asked()
    second.connection.demo_button.click()
    wait(lambda: second.annotator.editing and not second.annotator.requests.topics)
    assert not asked.isActive()
    assert np.array_equal(second.annotator.case.mask, painted)
    QTest.keyClick(canvas(viewer), Qt.Key.Key_P)
    stroke(viewer)
    case, workspace = second.annotator.case, second.annotator.link.workspace
    wait(lambda: case.effort.strokes == 2 and not second.annotator.requests.topics)
    assert workspace is not None
    (kept,) = workspace.journal.recover().cases
    assert np.array_equal(kept.mask, case.mask)
    assert not np.array_equal(kept.mask, painted)


class Refusing(DemoBackend):
    """The demonstration, which answers each submission with the next of its errors."""

    def __init__(self, *errors: BackendError) -> None:
        super().__init__()
        self.errors = list(errors)

    def submit(self, correction: Correction) -> Saved:
        if self.errors:
            raise self.errors.pop(0)
        return super().submit(correction)


def test_a_correction_that_was_refused_later_can_be_sent_again(
    widget: AnnotatorWidget, wait: Any
) -> None:
    annotator = widget.annotator
    server = Refusing(UnreachableError("nobody listens"), RefusedError("another grid"))
    widget.connect_to(lambda: server)
    wait(lambda: annotator.idle)
    assert not widget.commands["refused"].isEnabled()
    widget.commands["next"].trigger()
    wait(lambda: annotator.editing)
    widget.commands["submit"].trigger()
    wait(lambda: bool(annotator.postman.refused))
    assert "another grid" in widget.messages.text
    asked = go_on_when_asked()
    QTest.keyClick(widget.queue.list, Qt.Key.Key_S, Qt.KeyboardModifier.ShiftModifier)
    assert not asked.isActive()
    wait(lambda: not annotator.postman.waiting and not annotator.requests.topics)
    assert annotator.postman.refused == ()
    assert sum(item.state == "labelled" for item in server.queue("epistemic", 40).items) == 1


def test_a_dock_that_floats_goes_on(editing: AnnotatorWidget, viewer: Any, qtbot: Any) -> None:
    dock = editing.parent()
    assert isinstance(dock, QDockWidget)
    for floating in (True, False):
        dock.setFloating(floating)
        QApplication.processEvents()
        assert editing.annotator.editing
    holder = QWidget()
    qtbot.addWidget(holder)
    editing.setParent(None)
    editing.setParent(holder)
    QApplication.processEvents()
    assert editing.annotator.editing


class Watched(DemoBackend):
    """The demonstration, which knows what was asked on which thread."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, bool]] = set()
        super().__init__()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name.startswith("_") or not callable(found):
            return found

        def watched(*arguments: Any) -> Any:
            here = threading.current_thread() is threading.main_thread()
            self.asked.add((name, here))
            return found(*arguments)

        return watched


def test_no_question_to_the_server_is_asked_by_the_window_itself(
    widget: AnnotatorWidget, wait: Any
) -> None:
    watched = Watched()
    widget.connect_to(lambda: watched)
    wait(lambda: widget.annotator.idle and not widget.annotator.requests.topics)
    for name in ("order", "next", "other_more", "adopt", "submit", "next", "disconnect"):
        widget.commands[name].trigger()
        wait(lambda: not widget.annotator.requests.topics)
    asked = {name for name, _ in watched.asked}
    assert {"info", "queue", "next_case", "image", "propose", "alternative", "submit"} <= asked
    assert [name for name, here in watched.asked if here] == []


class Slow(DemoBackend):
    """The demonstration; images come when a test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def image(self, image_id: str) -> UltrasoundImage:
        self.go.wait()
        return super().image(image_id)


def test_a_slow_server_does_not_stop_the_window(
    widget: AnnotatorWidget, qtbot: Any, wait: Any
) -> None:
    slow = Slow()
    widget.connect_to(lambda: slow)
    wait(lambda: widget.annotator.idle)
    widget.commands["next"].trigger()
    wait(lambda: isinstance(widget.annotator.link.state, Loading))
    beats: list[int] = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(1))
    timer.start(5)
    wait(lambda: len(beats) > 10)
    assert "opening" in widget.annotator.status
    slow.go.set()
    wait(lambda: widget.annotator.editing)


def test_a_server_that_dies_while_it_answers_is_one_message(
    widget: AnnotatorWidget, wait: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def die() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.recv(100)
                connection.close()

        threading.Thread(target=die, daemon=True).start()
        account = Account.parse(f"127.0.0.1:{port}", "ada")
        widget.connect_to(lambda: HttpBackend(account))
        wait(lambda: bool(widget.messages.text))
        assert isinstance(widget.annotator.link.state, Disconnected)
        assert widget.connection.connect_button.isEnabled()
