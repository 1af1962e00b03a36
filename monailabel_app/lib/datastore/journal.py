"""The journal: every change of the studies as a line of JSON that is only ever appended.

It is two things in one. The index can be rebuilt from it and the studies folder. And it is the
audit trail: each line has the time and, on a server with tokens, the user. Appending happens inside
a writing transaction of the index, so that of all threads and processes one does it at a time.

A line ends with a checksum of itself. A line that is unreadable, or whose checksum differs, is
skipped; entries that are still whole inside it are used. Label files are then recovered by their
content, see `ledger`. Lines of older versions have no checksum and stay readable.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from zlib import crc32

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

logger = logging.getLogger(__name__)

_OFFSET = "journal_offset"
_TAIL = "journal_tail"
_TAIL_BYTES = 4096
_CHECKSUM = re.compile(rb',"check":"([0-9a-f]{8})"\}\s*$')
_BEGINNING = b'{"kind":'


class _Entry(BaseModel):
    """What every line has.

    Attributes:
        time: Seconds since 1970; None in lines of older versions.
        author: Name of the signed-in user; None on a server without tokens.
        client_id: Name that the client program gave itself.
    """

    model_config = ConfigDict(frozen=True)

    time: float | None = None
    author: str | None = None
    client_id: str | None = None


class ImageEntry(_Entry):
    """An image got its id."""

    kind: Literal["image"] = "image"
    image: str
    path: str


class ImageRemoved(_Entry):
    """An image was deleted with all that belongs to it."""

    kind: Literal["image removed"] = "image removed"
    image: str


class ImageInfo(_Entry):
    """Fields were added to the info of an image."""

    kind: Literal["image info"] = "image info"
    image: str
    info: dict[str, Any]


class ImageContent(_Entry):
    """The file of an image has this content from now on; labels of another do not count."""

    kind: Literal["image content"] = "image content"
    image: str
    sha256: str


class LabelEntry(_Entry):
    """A version of a label; its file was on disk before this was written.

    Attributes:
        placed: Whether the version came from the labels folder itself, where somebody put it.
        current: Whether it is the current version from now on.
        staged: Name of the file in `incoming` until it gets its name as a version.
        kept_as: Name of the version's file, where it is not `VERSION.SUFFIX`.
        image_sha256: Content of the image that was labelled; None in lines of older versions.
    """

    kind: Literal["label"] = "label"
    image: str
    tag: str
    version: int
    suffix: str
    sha256: str
    time: float
    checkpoint_id: str | None = None
    base_version: int | None = None
    conflict_with: int | None = None
    key: str | None = None
    info: dict[str, Any] = {}
    placed: bool = False
    current: bool = True
    staged: str | None = None
    kept_as: str | None = None
    image_sha256: str | None = None


class LabelInfo(_Entry):
    """Fields were added to the info of a label."""

    kind: Literal["label info"] = "label info"
    image: str
    tag: str
    info: dict[str, Any]


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


class TextEntry(_Entry):
    """The studies got a name or a description."""

    kind: Literal["text"] = "text"
    key: Literal["name", "description"]
    value: str


class TrainingEntry(_Entry):
    """A training was started, was stopped, or ended."""

    kind: Literal["training"] = "training"
    action: str
    training: str
    detail: str = ""


class ModelEntry(_Entry):
    """Another checkpoint is served: uploaded, or restored by a rollback."""

    kind: Literal["model"] = "model"
    action: Literal["uploaded", "rolled back"]
    checkpoint_id: str


class RestoredEntry(_Entry):
    """The folder was restored from a backup."""

    kind: Literal["restored"] = "restored"
    backup: str
    files: int


ImageChange = (
    ImageEntry
    | ImageRemoved
    | ImageInfo
    | ImageContent
    | LabelEntry
    | LabelInfo
    | LabelRemoved
    | AsideEntry
)
"""Entries about one image."""

Entry = Annotated[
    ImageChange | TextEntry | TrainingEntry | ModelEntry | RestoredEntry,
    Field(discriminator="kind"),
]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


@dataclass(frozen=True)
class Unapplied:
    """The part of the journal that the index has not seen.

    Attributes:
        entries: In order.
        damaged: Whether a line could not be read.
        other: Whether the journal is another one than the index has seen, such as an older copy;
            then these are all its entries.
        whole: Whether the index has seen nothing before.
    """

    entries: list[Entry]
    damaged: bool
    other: bool
    whole: bool


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
        start = _offset(db)
        try:
            end = self._write(start, entries)
            yield
            self._note(db, end)
            db.execute("COMMIT")
        except BaseException:
            if self._path.stat().st_size > start:
                os.truncate(self._path, start)
            raise

    def append(self, db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
        """Put entries that the transaction has applied on disk; the caller commits.

        Args:
            db: A writing transaction with nothing unapplied.
            entries: What was found.

        Raises:
            OSError: They cannot be written.
        """
        self._note(db, self._write(_offset(db), tuple(entries)))

    def unapplied(self, db: sqlite3.Connection) -> Unapplied:
        """Read what the index has not seen; it counts as seen when the transaction commits.

        A last line without its end was cut off by a crash, so that nothing was acknowledged for
        it; it is dropped.

        Args:
            db: A writing transaction.
        """
        start = _offset(db)
        whole, other = start == 0, not self._is_known(db, start)
        if other:
            logger.warning(
                "the journal is not the one that the index knows, perhaps an older copy; both are "
                "combined"
            )
            start = 0
        if self._path.stat().st_size == start:
            if other:
                self._note(db, start)
            return Unapplied([], damaged=False, other=other, whole=whole)
        with self._path.open("r+b") as file:
            file.seek(start)
            content = file.read()
            kept = content[: content.rfind(b"\n") + 1]
            rest = content[len(kept) :]
            if rest and _CHECKSUM.search(rest) and parsed_line(rest) is not None:
                file.seek(start + len(content))
                file.write(b"\n")  # only the end of the line was lost
                kept = content + b"\n"
            elif rest:
                logger.warning("dropping the last line of the journal, which is incomplete")
                os.truncate(self._path, start + len(kept))
            entries, damaged = read_entries(kept)
        self._note(db, start + len(kept))
        return Unapplied(entries, damaged=damaged or bool(rest), other=other, whole=whole)

    def _write(self, start: int, entries: Iterable[Entry]) -> int:
        """Append lines where the index expects the end; the new end, in bytes."""
        lines = b"".join(map(line_of, entries))
        with self._path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size != start:
                raise OSError(f"the journal has {size} bytes instead of {start}: it was exchanged")
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
        return start + len(lines)

    def _is_known(self, db: sqlite3.Connection, offset: int) -> bool:
        """Whether the journal begins with what the index has seen."""
        if self._path.stat().st_size < offset:
            return False
        row = db.execute("SELECT value FROM meta WHERE key = ?", (_TAIL,)).fetchone()
        return row is None or row[0] == self._tail(offset)

    def _tail(self, offset: int) -> str:
        """A checksum of the bytes before an offset."""
        with self._path.open("rb") as file:
            file.seek(max(0, offset - _TAIL_BYTES))
            return f"{crc32(file.read(min(offset, _TAIL_BYTES))):08x}"

    def _note(self, db: sqlite3.Connection, offset: int) -> None:
        """Note how much of the journal the index has seen."""
        _set_offset(db, offset)
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_TAIL, self._tail(offset)))


def line_of(entry: Entry) -> bytes:
    """An entry as a line of the journal, with its checksum and the time."""
    if entry.time is None:
        entry = entry.model_copy(update={"time": time.time()})
    fields = entry.model_dump(mode="json")
    ordered = {"kind": fields.pop("kind"), **fields}
    body = json.dumps(ordered, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return body + f',"check":"{crc32(body):08x}"}}\n'.encode()


def parsed_line(line: bytes) -> Entry | None:
    """The entry of one line, or None when it cannot be read or its checksum differs."""
    found = _CHECKSUM.search(line)
    if found is not None and crc32(line[: found.start()]) != int(found[1], 16):
        return None
    try:
        return _ENTRY.validate_json(line)
    except ValidationError:
        return None


def read_entries(content: bytes) -> tuple[list[Entry], bool]:
    """All entries of whole lines, in order.

    Args:
        content: Lines of the journal.

    Returns:
        The entries, and whether a line could not be read.
    """
    entries: list[Entry] = []
    bad = 0
    for line in content.split(b"\n"):
        if not line.strip():
            continue
        entry = parsed_line(line)
        if entry is not None:
            entries.append(entry)
            continue
        bad += 1
        # The end of a line may be what was damaged: then this is two entries.
        pieces = [_BEGINNING + piece for piece in line.split(_BEGINNING)[1:]]
        for piece in pieces:
            whole = re.match(rb'.*,"check":"[0-9a-f]{8}"\}', piece, re.DOTALL)
            found = None if whole is None else parsed_line(whole[0])
            if found is not None:
                entries.append(found)
    if bad:
        logger.error(
            "%d lines of the journal cannot be read and are skipped; label files are recovered by "
            "their content",
            bad,
        )
    return entries, bad > 0


def _offset(db: sqlite3.Connection) -> int:
    """Bytes of the journal that the index has seen."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (_OFFSET,)).fetchone()
    return 0 if row is None else int(row[0])


def _set_offset(db: sqlite3.Connection, offset: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_OFFSET, offset))
