"""Files that others put into the studies folder, seen while the server runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from monailabel_app.lib.datastore.metadata import META_FILE
from monailabel_app.lib.datastore.reconcile import ImagePath, LabelFile, Reconciler
from monailabel_app.lib.datastore.scan import LABELS_FOLDER, MASKS_FOLDER, is_image_name
from monailabel_app.lib.names import is_tag

logger = logging.getLogger(__name__)

_GATHER_SECONDS = 0.2
"""Between the first event and the look: a copied folder is many events."""

_LOOK_THROUGH_SECONDS = 300.0
"""On network file systems nobody tells us what other machines do."""

_RETRY_SECONDS = 5.0
"""From a look that failed to one at everything, which leaves out nothing that was noted."""


class FolderWatch(FileSystemEventHandler):
    """Looks at files that changed, and at times at all of them.

    Args:
        root: The studies folder.
        reconciler: Looks at files.
        look_beside: Looks at `meta.csv` and the folder masks.
    """

    def __init__(self, root: Path, reconciler: Reconciler, look_beside: Callable[[], None]) -> None:
        self._root = root
        self._reconciler = reconciler
        self._look_beside = look_beside
        self._beside = False
        self._lock = threading.Lock()
        self._images: set[ImagePath] = set()
        self._labels: set[LabelFile] = set()
        self._everything = False
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._observer = Observer()
        self._observer.schedule(self, str(root), recursive=True)
        self._thread = threading.Thread(target=self._run, name="folder watch", daemon=True)
        self._thread.start()
        try:
            self._observer.start()
        except OSError as error:  # the system's limit of watched folders
            logger.error("changes of the folder are seen late only, every few minutes: %s", error)

    def stop(self) -> None:
        """Stop watching; returns when no more file will be looked at."""
        self._stopped.set()
        self._changed.set()
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join()
        self._thread.join()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note a file for the next look; watchdog calls this in its own thread."""
        if event.event_type in ("opened", "closed_no_write"):
            return
        if event.is_directory and event.event_type == "modified":
            return  # a file in it came or went, which is an event of its own
        for path in (event.src_path, event.dest_path):
            if path:
                self._note(os.fsdecode(path), event.is_directory)

    def _note(self, path: str, is_directory: bool) -> None:
        """Note a path when it can concern the index."""
        parts = PurePosixPath(Path(path).relative_to(self._root).as_posix()).parts
        if not parts or any(part.startswith(".") for part in parts):
            return
        with self._lock:
            if is_directory:
                self._everything = True  # of a folder that was moved, the files are not told of
            elif parts[0] == LABELS_FOLDER:
                if len(parts) == 3 and is_tag(parts[1]):
                    self._labels.add((parts[1], parts[2]))
            elif parts[0] == MASKS_FOLDER or parts == (META_FILE,):
                self._beside = True
            elif is_image_name(parts[-1]):
                self._images.add("/".join(parts))
            else:
                return
        self._changed.set()

    def _run(self) -> None:
        """Look at what was noted, and in time at everything, until stopped."""
        due = time.monotonic() + _LOOK_THROUGH_SECONDS
        while not self._stopped.is_set():
            noticed = self._changed.wait(max(0.0, due - time.monotonic()))
            if self._stopped.wait(_GATHER_SECONDS if noticed else 0):
                return
            with self._lock:
                self._changed.clear()
                images, labels = sorted(self._images), sorted(self._labels)
                # Our own saves are events as well: silence is nothing to wait for.
                beside = self._beside or bool(images)
                everything = self._everything or time.monotonic() >= due
                self._images, self._labels, self._everything = set(), set(), False
                self._beside = False
            try:
                if everything:
                    self._reconciler.look_through()
                    due = time.monotonic() + _LOOK_THROUGH_SECONDS
                else:
                    self._reconciler.look_at(images, labels)
                if everything or beside:
                    self._look_beside()
            except Exception:  # the watch must go on, whatever one look ran into
                logger.exception("looking at changed files failed; it is done again later")
                due = time.monotonic() + _RETRY_SECONDS
