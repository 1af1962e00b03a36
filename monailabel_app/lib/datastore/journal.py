"""What may not be lost, as lines of JSON that are only ever appended.

The index can be made anew from this file and the studies folder; nothing else of
it is worth a backup. Appending happens inside a writing transaction of the index,
so that of all threads and processes one does it at a time.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

logger = logging.getLogger(__name__)

_OFFSET = "journal_offset"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True)


class ImageEntry(_Entry):
    """An image got its id."""

    kind: Literal["image"] = "image"
    image: str
    path: str


class ImageRemoved(_Entry):
    """An image was deleted with all that belongs to it."""

    kind: Literal["image removed"] = "image removed"
    image: str


class LabelEntry(_Entry):
    """A version of a label; its file was on disk before this was written.

    Attributes:
        placed: Whether the version came from the labels folder itself, where somebody put it.
    """

    kind: Literal["label"] = "label"
    image: str
    tag: str
    version: int
    suffix: str
    sha256: str
    time: float
    author: str | None = None
    client_id: str | None = None
    checkpoint_id: str | None = None
    base_version: int | None = None
    conflict_with: int | None = None
    key: str | None = None
    info: dict[str, Any] = {}
    placed: bool = False


class LabelRemoved(_Entry):
    """An image lost its label of one tag; the versions are kept."""

    kind: Literal["label removed"] = "label removed"
    image: str
    tag: str


class AsideEntry(_Entry):
    """An image was set aside, or (`aside` is None) taken back into the pool."""

    kind: Literal["aside"] = "aside"
    image: str
    aside: Literal["skipped", "flagged"] | None
    note: str = ""


Entry = Annotated[
    ImageEntry | ImageRemoved | LabelEntry | LabelRemoved | AsideEntry,
    Field(discriminator="kind"),
]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


class Journal:
    """The journal of one studies folder.

    Args:
        path: The file; it is made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()

    @contextmanager
    def appending(self, db: sqlite3.Connection, *entries: Entry) -> Iterator[None]:
        """Put entries on disk, let the block apply them, and commit.

        When the block or the commit fails, they are taken back. When the process dies meanwhile,
        they are found as `unapplied` by whoever writes next.

        Args:
            db: The writing transaction that the block uses, with nothing unapplied.
            entries: What happens.

        Raises:
            OSError: They cannot be written, for instance because the disk is full.
        """
        lines = b"".join(entry.model_dump_json().encode() + b"\n" for entry in entries)
        start = _offset(db)
        try:
            with self._path.open("r+b") as file:
                file.seek(start)
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
            yield
            _set_offset(db, start + len(lines))
            db.execute("COMMIT")
        except BaseException:
            os.truncate(self._path, start)
            raise

    def unapplied(self, db: sqlite3.Connection) -> Iterator[Entry]:
        """Entries that the index has not seen; each counts as seen when the next is asked for.

        Args:
            db: A writing transaction.

        Yields:
            The entries in order. A line that was cut off by a crash, so that nothing was
            acknowledged for it, is dropped.
        """
        start = _offset(db)
        size = self._path.stat().st_size
        if size < start:
            logger.warning("the journal is shorter than the index knows; going on from its end")
            _set_offset(db, size)
        if size <= start:
            return
        with self._path.open("r+b") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    logger.warning("dropping the last line of the journal, which is incomplete")
                    os.truncate(self._path, start)
                    break
                start += len(line)
                try:
                    yield _ENTRY.validate_json(line)
                except ValidationError as error:
                    logger.error("skipping a line of the journal that is none: %s", error)
        _set_offset(db, start)


def _offset(db: sqlite3.Connection) -> int:
    """Bytes of the journal that the index has seen."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_OFFSET,)).fetchone()
    return 0 if row is None else int(row[0])


def _set_offset(db: sqlite3.Connection, offset: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_OFFSET, offset))
