"""Threads for whatever blocks, with the answers on the GUI thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

from qtpy.QtCore import QObject, Qt, Signal

from napari_lfusion.controller.requests import Finished


class ThreadRunner(QObject):
    """A thread a request.

    napari's `thread_worker` shares a pool of as many threads as there are cores: on two cores two
    slow answers would hold up the journal, and closing napari would wait for them.

    Args:
        parent: Whose thread gets the answers; with it this ends.
    """

    _answered = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._answered.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def start(self, work: Callable[[], object], finished: Finished) -> None:
        """Run `work` on a thread of its own; see `controller.requests.Runner`."""

        def run() -> None:
            try:
                result, error = work(), None
            except Exception as raised:
                # told to `finished`, on the GUI thread, which shows or raises it
                result, error = None, raised
            self._send(lambda: finished(result, error))

        threading.Thread(target=run, daemon=True, name="lfusion request").start()

    def _send(self, call: Callable[[], None]) -> None:
        try:
            self._answered.emit(call)
        except RuntimeError:  # the window was closed meanwhile and Qt has deleted this object
            return

    def _deliver(self, call: Callable[[], None]) -> None:
        call()
