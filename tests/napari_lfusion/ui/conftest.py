"""A real window with the widget in it, and a hand on its mouse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_lfusion.ui import AnnotatorWidget

Until: TypeAlias = Callable[[Callable[[], bool]], None]


class Hand:
    """The mouse over the image, in the image's pixels.

    Args:
        viewer: Whose canvas.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.canvas: QWidget = viewer.window._qt_viewer.canvas.native

    def drag(self, *path: tuple[float, float]) -> None:
        """Press at the first (row, column), move along the others, let go at the last."""
        points = [self._point(*place) for place in path]
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(self.canvas, points[0])
        QTest.mousePress(self.canvas, left, none, points[0])
        for point in points[1:]:
            QTest.mouseMove(self.canvas, point)
        QTest.mouseRelease(self.canvas, left, none, points[-1])

    def _point(self, row: float, column: float) -> QPoint:
        scene = self._viewer.scene.camera
        world = self._viewer.layers.selection.active.data_to_world((row, column))
        down, right = (scene.zoom * (world[i] - scene.center[i - 2]) for i in (0, 1))
        middle = self.canvas.rect().center()
        return QPoint(round(middle.x() + right), round(middle.y() + down))


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    window = viewer.window._qt_window
    window.activateWindow()
    # Qt gives shortcuts to an active window alone, and a bare X server makes none active by itself
    if not window.isActiveWindow():
        QApplication.setActiveWindow(window)
    return viewer


@pytest.fixture
def hand(viewer: Any) -> Hand:
    return Hand(viewer)


@pytest.fixture
def widget(viewer: Any, tmp_path: Path) -> AnnotatorWidget:
    made = AnnotatorWidget(viewer, tmp_path)
    made.annotator.advance = False
    viewer.window.add_dock_widget(made, name="L-FUSION", area="right")
    return made


@pytest.fixture
def wait(qtbot: Any) -> Until:
    def until(condition: Callable[[], bool]) -> None:
        qtbot.waitUntil(condition, timeout=300_000)

    return until
