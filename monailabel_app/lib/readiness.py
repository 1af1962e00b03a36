"""Whether the server can do its work now: room on the disk, an index, a model."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from monailabel.interfaces.utils.app import app_instance

from lfusion.errors import LFusionError

logger = logging.getLogger(__name__)

MIN_FREE_BYTES = 64 * 2**20
"""On each disk: room for a few hundred labels, or for one retrained model."""

REMEMBERED_SECONDS = 5.0
"""For which an answer is given again: anybody may ask, and the check writes to the index."""

Folders = Mapping[str, Path]
"""Name for people -> folder, such as `studies`."""


class Readiness:
    """Checks disk, index and model, at most every few seconds.

    Args:
        folders: Those that need room.
    """

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._lock = threading.Lock()
        self._checked: tuple[float, tuple[str, ...]] | None = None

    def problems(self) -> tuple[str, ...]:
        """Reasons why the server cannot do its work, without paths; empty when it can."""
        with self._lock:
            if self._checked is None or time.monotonic() > self._checked[0] + REMEMBERED_SECONDS:
                self._checked = (time.monotonic(), tuple(self._check()))
            return self._checked[1]

    def _check(self) -> Iterator[str]:
        for name, folder in self._folders.items():
            yield from _disk_problem(name, folder)
        try:
            _write_and_read_index()
        except (sqlite3.Error, OSError, LFusionError) as error:
            logger.error("not ready, the index cannot be used: %s", error)
            yield "the index of the studies cannot be read and written; see the server's log"
        try:
            app_instance().served.predictor()
        except (OSError, LFusionError) as error:
            logger.error("not ready, the model cannot be loaded: %s", error)
            yield "the model cannot be loaded; see the server's log"


def _disk_problem(name: str, folder: Path) -> Iterator[str]:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        logger.error("not ready, the folder %s cannot be used: %s", folder, error)
        yield f"the {name} folder cannot be reached; see the server's log"
        return
    if free < MIN_FREE_BYTES:
        yield (
            f"the disk of the {name} folder has {free // 2**20} MiB left, and "
            f"{MIN_FREE_BYTES // 2**20} MiB are needed; make room on it"
        )


def _write_and_read_index() -> None:
    index = app_instance().datastore().index
    now = str(time.time())
    with index.write() as db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('ready', ?)", (now,))
    with index.read() as db:
        row = db.execute("SELECT value FROM meta WHERE key = 'ready'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("a row that was committed is not there")
