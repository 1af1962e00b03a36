"""Is the napari plugin fast enough to be forgotten? The budgets, in one run, in one window.

xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/annotator.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from rich.console import Console
from rich.table import Table

from lfusion.image import as_ultrasound_image
from napari_lfusion.core.case import BackendInfo, Offer, OpenCase, Proposal
from napari_lfusion.demo import DemoBackend
from napari_lfusion.ui import AnnotatorWidget

SIZE = (512, 512)
REPEATS = 15
BUDGETS_MS = {
    "case swap, to the frame": 250.0,
    "paint call": 5.0,
    "dock": 200.0,
    "GUI stall during a server call of 2 s": 50.0,
    "napari with the widget, ready": 3500.0,
}
READY = """
import napari
from napari_lfusion.ui import AnnotatorWidget
viewer = napari.Viewer(show=True, show_welcome_screen=False)
viewer.window.add_dock_widget(AnnotatorWidget(viewer), name="L-FUSION")
from qtpy.QtWidgets import QApplication
QApplication.processEvents()
"""


class Slow(DemoBackend):
    """The demonstration behind a slow line."""

    def image(self, image_id: str):  # type: ignore[no-untyped-def]  # as the base class
        """Two seconds late."""
        threading.Event().wait(2)
        return super().image(image_id)


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of one call, with the frame that it asks for."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def make_case(number: int) -> OpenCase:
    """A case of noise with a disc."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = (np.hypot(rows - 256, columns - 256) < 100 + number).astype(np.uint8)
    names = ("epistemic", "aleatoric", "total")
    maps = {name: rng.random(SIZE, np.float32) ** 8 for name in names}
    image = as_ultrasound_image(rng.random(SIZE, np.float32), (0.2 + 0.01 * number, 0.2))
    return OpenCase(Offer(f"case {number}"), image, Proposal(f"case {number}", mask, maps))


def swaps(widget: AnnotatorWidget) -> list[float]:
    """Cases one after the other, each until its frame is on screen."""
    info = BackendInfo("bench", {"fetal head": 1}, ("random",), None, False)
    cases = [make_case(number) for number in range(REPEATS + 1)]

    def swap(case: OpenCase) -> None:
        widget.annotator.case.open(case, info)
        QApplication.processEvents()

    swap(cases[0])
    return [timed(lambda case=case: swap(case)) for case in cases[1:]]  # type: ignore[misc]


def paints(widget: AnnotatorWidget) -> list[float]:
    """Dabs of the brush."""
    labels = widget.annotator.case.stack.labels
    labels.brush_size = 20
    spots = [(100 + 5 * number, 100) for number in range(REPEATS)]
    return [timed(lambda spot=spot: labels.paint(spot, 1)) for spot in spots]  # type: ignore[misc]


def stall(widget: AnnotatorWidget) -> float:
    """Longest pause between two beats of a 5 ms timer while a slow server answers."""
    widget.connect_to(Slow)
    while not widget.annotator.idle or widget.annotator.requests.topics:
        QTest.qWait(5)
    beats = [time.perf_counter()]
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(5)
    widget.commands["next"].trigger()
    end = time.perf_counter() + 1.5
    while time.perf_counter() < end:
        QTest.qWait(5)
    timer.stop()
    return 1e3 * float(np.diff(beats).max())


def main() -> None:
    """Measure and print."""
    ready = timed(lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", READY], check=True))
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    QApplication.processEvents()
    made: list[AnnotatorWidget] = []

    def dock() -> None:
        made.append(AnnotatorWidget(viewer, Path(tempfile.mkdtemp(prefix="lfusion-"))))
        viewer.window.add_dock_widget(made[0], name="L-FUSION", area="right")

    docked = timed(dock)
    QApplication.processEvents()
    swapped, painted = swaps(made[0]), paints(made[0])
    stalled = stall(made[0])
    figures = (
        statistics.median(swapped),
        statistics.median(painted),
        docked,
        stalled,
        ready,
    )
    table = Table("what", "measured", "budget", title=f"{SIZE[0]} x {SIZE[1]} pixels")
    for (name, budget), figure in zip(BUDGETS_MS.items(), figures, strict=True):
        table.add_row(name, f"{figure:.1f} ms", f"{budget:g} ms")
    Console().print(table)
    made[0].annotator.shut_down()
    viewer.close()


if __name__ == "__main__":
    main()
