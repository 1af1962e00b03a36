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
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import napari
import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from lfusion.image import as_ultrasound_image
from napari_lfusion.core.case import BackendInfo, Offer, OpenCase, Proposal
from napari_lfusion.demo import DemoBackend
from napari_lfusion.ui import AnnotatorWidget

SIZE = (512, 512)
REPEATS = 20
DABS = 10
"""To a stroke."""
ANSWER_S = 1.0
"""How long the slow server takes for each answer."""
BEAT_MS = 5
SETTLE_MS = 300
"""For the frame of an answer, which is not a part of waiting for the next one."""
ALONE = """
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show=True, show_welcome_screen=False)
"""
DOCKED = """
from napari_lfusion.ui import AnnotatorWidget
viewer.window.add_dock_widget(AnnotatorWidget(viewer), name="L-FUSION")
"""
READY = """
QApplication.processEvents()
print("ready", flush=True)
"""
SLOW = ("info", "queue", "next_case", "image", "propose", "alternative", "submit", "skip")


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        what: Was measured.
        figures_ms: Each time it was done.
        budget_ms: Not to be exceeded by the median; None for a figure to compare with.
    """

    what: str
    figures_ms: list[float]
    budget_ms: float | None = None


class Slow(DemoBackend):
    """The demonstration behind a slow line."""

    def __getattribute__(self, name: str) -> Any:
        """Every answer comes late."""
        if name in SLOW:
            threading.Event().wait(ANSWER_S)
        return super().__getattribute__(name)


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def make_cases() -> list[OpenCase]:
    """The demonstration's cases, stretched to the size of the budgets."""
    backend = DemoBackend()
    items = backend.queue(backend.info().strategies[0], REPEATS).items
    return [stretched(backend, item.id) for item in items]


def stretched(backend: DemoBackend, image_id: str) -> OpenCase:
    """One case on the grid of the budgets."""
    image, found = backend.image(image_id), backend.propose(image_id)
    factors = tuple(size / own for size, own in zip(SIZE, found.mask.shape, strict=True))

    def stretch(values: NDArray[Any], order: int) -> NDArray[Any]:
        return np.asarray(ndimage.zoom(values, factors, order=order))

    maps = {name: stretch(values, 1) for name, values in found.maps.items()}
    proposal = Proposal(image_id, stretch(found.mask, 0), maps, found.result)
    pixels = np.clip(stretch(image.pixels, 1), 0, 1)
    return OpenCase(Offer(image_id), as_ultrasound_image(pixels, image.pixel_size_mm), proposal)


def ready(program: str) -> float:
    """Milliseconds from the start of a process until it says that its window is there."""
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "it is a pipe"
        for line in process.stdout:
            if line.strip() == "ready":
                return 1e3 * (time.perf_counter() - start)
    raise RuntimeError("the window never came; run the program by hand to see why")


def swaps(widget: AnnotatorWidget) -> list[float]:
    """Cases one after the other, each until its frame is on screen."""
    info = BackendInfo("bench", {"fetal head": 1}, ("random",), None, False)
    cases = make_cases()

    def swap(case: OpenCase) -> None:
        widget.annotator.case.open(case, info)
        QApplication.processEvents()

    swap(cases[-1])
    order = [cases[number % len(cases)] for number in range(REPEATS)]
    return [timed(lambda case=case: swap(case)) for case in order]  # type: ignore[misc]


def paints(widget: AnnotatorWidget) -> tuple[list[float], list[float]]:
    """Dabs of the brush, and the ends of their strokes: journal, measurement, undo step."""
    labels = widget.annotator.case.stack.labels
    labels.brush_size = 20
    dabs, ends = [], []
    for stroke in range(REPEATS):
        with ExitStack() as history:
            history.enter_context(labels.block_history())
            for dab in range(DABS):
                spot = 20 + 24 * stroke, 20 + 40 * dab
                value = 1 - int(labels.data[spot])  # a dab that changes nothing costs nothing
                dabs.append(timed(lambda spot=spot, value=value: labels.paint(spot, value)))  # type: ignore[misc]
            ends.append(timed(history.close))
        QApplication.processEvents()
    return dabs, ends


def stalls(widget: AnnotatorWidget) -> Iterator[Row]:
    """Longest pause between two beats of a timer while a slow server is asked."""
    annotator = widget.annotator
    asked: dict[str, Callable[[], object]] = {
        "connect": lambda: widget.connect_to(Slow),
        **{name: widget.commands[name].trigger for name in ("refresh", "next", "other_more")},
        "submit": widget.commands["submit"].trigger,
    }
    annotator.advance = False
    for name, ask in asked.items():
        yield Row(f"GUI stall while the server thinks: {name}", [stall(ask)], 50.0)
        while annotator.requests.topics:
            QTest.qWait(BEAT_MS)
        QTest.qWait(SETTLE_MS)


def stall(ask: Callable[[], object]) -> float:
    """Milliseconds of the longest pause until shortly before the answer."""
    beats = [time.perf_counter()]
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(BEAT_MS)
    ask()
    while beats[-1] - beats[0] < 0.9 * ANSWER_S:
        QTest.qWait(BEAT_MS)
    return 1e3 * float(np.diff(beats).max())


def measure() -> Iterator[Row]:
    """All rows, in one window."""
    yield Row("napari alone, ready", [ready(ALONE + READY)])
    yield Row("napari with the widget, ready", [ready(ALONE + DOCKED + READY)], 3500.0)
    viewer = napari.Viewer(show=True, show_welcome_screen=False)
    QApplication.processEvents()
    made: list[AnnotatorWidget] = []

    def dock() -> None:
        made.append(AnnotatorWidget(viewer, Path(tempfile.mkdtemp(prefix="lfusion-"))))
        viewer.window.add_dock_widget(made[0], name="L-FUSION", area="right")

    yield Row("dock", [timed(dock)], 200.0)
    QApplication.processEvents()
    yield Row("case swap, to the frame", swaps(made[0]), 250.0)
    dabs, ends = paints(made[0])
    yield Row("paint call", dabs, 5.0)
    yield Row("end of a stroke", ends)
    yield from stalls(made[0])
    made[0].annotator.shut_down()
    viewer.close()


def main() -> None:
    """Measure and print."""
    table = Table("what", "median", "worst", "budget", title=f"{SIZE[0]} x {SIZE[1]} pixels, ms")
    for row in measure():
        median, worst = statistics.median(row.figures_ms), max(row.figures_ms)
        budget = "" if row.budget_ms is None else f"{row.budget_ms:g}"
        table.add_row(row.what, f"{median:.1f}", f"{worst:.1f}", budget)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
