"""Threads for whatever blocks, with the answers on the GUI thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from qtpy.QtCore import QObject, QTimer

from napari_lfusion.controller.requests import Finished

LOOK_MS = 10
"""Between two looks for answers, while any is on its way."""


class ThreadRunner(QObject):
    """A thread a request.

    napari's `thread_worker` shares a pool of as many threads as there are cores: on two cores two
    slow answers would hold up the journal, and closing napari would wait for them. The answers
    are fetched by a timer and not sent as signals, because a thread that sends to a window that
    is being closed takes the whole process down.

    Args:
        parent: Whose thread gets the answers; with it this ends.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._answers: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pending = 0
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._deliver)

    def start(self, work: Callable[[], object], finished: Finished) -> None:
        """Run `work` on a thread of its own; see `controller.requests.Runner`."""
        answers = self._answers

        def run() -> None:
            try:
                result, error = work(), None
            except Exception as raised:
                # told to `finished`, on the GUI thread, which shows it
                result, error = None, raised
            answers.put(lambda: finished(result, error))

        self._pending += 1
        self._timer.start()
        threading.Thread(target=run, daemon=True, name="lfusion request").start()

    def _deliver(self) -> None:
        while self._pending:
            try:
                answer = self._answers.get_nowait()
            except Empty:
                return
            self._pending -= 1
            answer()
        self._timer.stop()
