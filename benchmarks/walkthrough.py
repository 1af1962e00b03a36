"""The pictures of docs/walkthrough.md, taken from a real window on the demonstration.

xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/walkthrough.py [FOLDER]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from PIL import Image
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_lfusion.controller.tools import Tool
from napari_lfusion.ui import AnnotatorWidget

FOLDER = Path(__file__).parents[1] / "docs" / "images" / "walkthrough"
WINDOW = (1580, 980)
PATIENCE_MS = 60_000


class Window:
    """napari with the widget, driven as a person would.

    Args:
        folder: For the pictures.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.viewer = napari.Viewer(show=True, show_welcome_screen=False)
        self.widget = AnnotatorWidget(self.viewer, Path(tempfile.mkdtemp(prefix="lfusion-")))
        self.viewer.window.add_dock_widget(self.widget, name="L-FUSION", area="right")
        self.viewer.window.resize(*WINDOW)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Let the window live until something is so."""
        waited = 0
        while not condition():
            QTest.qWait(10)
            waited += 10
            if waited > PATIENCE_MS:
                raise TimeoutError(f"the window says {self.widget.annotator.status!r}")

    def press(self, action: str) -> None:
        """Do what a key does, and wait for the answers."""
        self.widget.commands[action].trigger()
        self.wait(lambda: not self.widget.annotator.requests.topics)

    def picture(self, name: str) -> None:
        """Take a picture of the whole window."""
        for _ in range(20):
            QApplication.processEvents()
        pixels = self.viewer.window.screenshot(canvas_only=False, flash=False)
        picture = Image.fromarray(pixels[..., :3])
        picture.save(self._folder / f"{name}.png", optimize=True)

    def stroke(self, region: Any) -> None:
        """Paint along the lower edge of a region, as one stroke."""
        top, left, bottom, right = region.box
        labels = self.widget.annotator.case.stack.labels
        labels.brush_size = 5
        with labels.block_history():
            for column in range(left, right, 2):
                labels.paint(((top + bottom) / 2 + 1, column), 1)


def main(folder: Path) -> None:
    """Walk through a session and take a picture of each step."""
    folder.mkdir(parents=True, exist_ok=True)
    window = Window(folder)
    widget, annotator = window.widget, window.widget.annotator
    annotator.advance = False
    window.picture("1-connect")
    widget.connection.demo_button.click()
    window.wait(lambda: annotator.idle and not annotator.requests.topics)
    widget.messages.hide()
    widget.tabs.setCurrentWidget(widget.queue)
    window.picture("2-queue")
    widget.tabs.setCurrentIndex(0)
    window.press("next")
    window.picture("3-case")
    window.press("next_region")
    window.picture("4-region")
    region = annotator.case.review.current
    annotator.case.choose(Tool.PAINT)
    window.stroke(region)
    window.wait(lambda: not annotator.requests.topics)
    window.picture("5-corrected")
    window.press("before")
    window.picture("6-before")
    window.press("before")
    for _ in range(4):
        window.press("other_more")
    window.viewer.fit_to_view()
    window.picture("7-what-if")
    window.press("adopt")
    window.press("submit")
    widget.tabs.setCurrentWidget(widget.queue)
    window.picture("8-submitted")
    widget.help_picture().save(str(folder / "9-keys.png"))
    annotator.shut_down()
    window.viewer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
