"""Each stroke goes to disk, without the painter waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from lfusion.errors import LFusionError
from lfusion.types import LabelMap
from napari_lfusion.controller.requests import Requests
from napari_lfusion.core.journal import Journal, JournalEntry

_TOPIC = "journal"


class JournalWriter:
    """Writes the newest state, one write at a time.

    Strokes that come while a write is on its way are written together when it is done, so that
    two writes never overtake each other.

    Args:
        requests: Where it is written.
        failed: Is told when it could not be written.
    """

    def __init__(self, requests: Requests, failed: Callable[[LFusionError], None]) -> None:
        self._requests = requests
        self._failed = failed
        self._journal: Journal | None = None
        self._pending: tuple[JournalEntry, LabelMap] | None = None
        self._closing: set[str] = set()
        self._writing = threading.Lock()

    def begin(self, journal: Journal | None) -> None:
        """Write into this journal from now on.

        Args:
            journal: Of the workspace, or None when nothing is connected.
        """
        self._journal, self._pending = journal, None

    def finish(self) -> None:
        """Write what is not written yet, now; then nothing more until the next `begin`."""
        self._write(lambda work: work())
        self.begin(None)

    def record(self, entry: JournalEntry, mask: LabelMap) -> None:
        """Have a state written.

        Args:
            entry: What is kept beside the mask.
            mask: [height, width]; copied.
        """
        if self._journal is None:
            return
        self._pending = (entry, mask.copy())
        self._write()

    def forget(self, image_id: str) -> None:
        """A case ended well: its journal goes, after a write that is on its way.

        Args:
            image_id: Of the case.
        """
        if self._pending is not None and self._pending[0].image_id == image_id:
            self._pending = None
        self._closing.add(image_id)
        self._write()

    def _write(self, run: Callable[[Callable[[], None]], None] | None = None) -> None:
        journal = self._journal
        if journal is None or (run is None and _TOPIC in self._requests.topics):
            return
        pending, closing = self._pending, tuple(self._closing)
        if pending is None and not closing:
            return
        self._pending = None
        self._closing.clear()

        def work() -> None:
            with self._writing:
                for image_id in closing:
                    journal.close(image_id)
                if pending is not None:
                    journal.record(*pending)

        if run is not None:
            run(work)
        else:
            self._requests.ask(_TOPIC, work, lambda _: self._write(), self._failed)
