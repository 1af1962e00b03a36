"""`meta.csv` of a dataset folder that is served: pixel sizes, splits and exams of its images."""

from __future__ import annotations

import logging
import threading
from pathlib import Path, PurePosixPath

from lfusion.errors import DatasetError
from lfusion.image.formats import stem_of
from lfusion.image.metadata import MetaRow, read_meta

logger = logging.getLogger(__name__)

META_FILE = "meta.csv"
IMAGES_FOLDER = "images"

_Stamp = tuple[int, int]


class StudiesMetadata:
    """The rows of `meta.csv` in the studies folder, read again when the file changes.

    A row belongs to the image of its id in `images/`, or in the studies folder itself when that
    has no folder `images`. A file that cannot be used is logged once, and gives no rows.

    Args:
        root: The studies folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._file = root / META_FILE
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self._rows: dict[str, MetaRow] = {}

    def refresh(self) -> None:
        """Read the file if it changed."""
        with self._lock:
            stamp = self._current_stamp()
            if stamp == self._stamp:
                return
            self._rows = {} if stamp is None else self._read()
            self._stamp = stamp

    def row(self, path: str) -> MetaRow:
        """What the file says about an image.

        Args:
            path: Of the image below the studies folder, with slashes.

        Returns:
            An empty row for an image that the file does not name.
        """
        self.refresh()
        *folders, name = PurePosixPath(path).parts
        expected = [IMAGES_FOLDER] if (self._root / IMAGES_FOLDER).is_dir() else []
        if folders != expected:
            return MetaRow()
        rows = self._rows
        return rows.get(name) or rows.get(stem_of(Path(name))) or MetaRow()

    def _read(self) -> dict[str, MetaRow]:
        """The rows, under the id given and under the id without suffix."""
        try:
            rows = read_meta(self._file)
        except DatasetError as error:
            reason = str(error).replace(f"{self._root}/", "")
            logger.warning("%s is not used until it is corrected: %s", META_FILE, reason)
            return {}
        logger.info("%s: %d rows, pixel sizes of %d", META_FILE, len(rows), _sized(rows))
        without_suffix = {stem_of(Path(name)): row for name, row in rows.items()}
        return {**without_suffix, **rows}

    def _current_stamp(self) -> _Stamp | None:
        """What changes with the content of the file; None without a file."""
        try:
            status = self._file.stat()
        except OSError:
            return None
        return (status.st_size, status.st_mtime_ns)


def _sized(rows: dict[str, MetaRow]) -> int:
    return sum(row.pixel_size_mm is not None for row in rows.values())
