"""Journal entries carried out: in the index and, for labels, in the labels folder.

A label is saved in this order:

1. its file is written to `.lfusion/versions`, and on disk;
2. a line of the journal says so, and is on disk: from here on the label cannot be lost;
3. the file in `labels/<tag>`, if there is one, gets its name in `.lfusion/versions`;
4. the new file is renamed to its name in `labels/<tag>`;
5. the index is committed, with the length of the journal that it has seen;
6. the client is answered.

A process that dies leaves a journal that is longer than the index knows; whoever writes or starts
next carries out the rest, steps 3 to 5. So the current version of a label is the file in
`labels/`, and the older ones are in `.lfusion/versions`.

The versions of an image that was removed go only after that is committed: the index notes that
they are to go, and whoever writes next removes them. A label that was saved since, of an image
that was added under the same id, takes the note back.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lfusion.acquisition import random_score
from monailabel_app.lib.datastore.folder import StudiesFolder
from monailabel_app.lib.datastore.journal import (
    AsideEntry,
    Entry,
    ImageEntry,
    ImageRemoved,
    Journal,
    LabelEntry,
    LabelRemoved,
)
from monailabel_app.lib.index import Index

logger = logging.getLogger(__name__)

FINAL = "final"

_REMOVED = "removed "
"""In `meta`, before the id of an image whose versions are to go."""


class Ledger:
    """The only way in which images, labels and what was set aside change.

    Args:
        folder: The studies.
        index: Their index.
    """

    def __init__(self, folder: StudiesFolder, index: Index) -> None:
        self.folder = folder
        self.index = index
        self._journal = Journal(folder.state / "journal.jsonl")

    def recover(self) -> None:
        """Finish what a process that died has begun."""
        with self.writing():
            pass

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A writing transaction that has seen all of the journal; see `Index.write`."""
        with self.index.write() as db:
            recovered = self._catch_up(db)
            if recovered:
                # Of its own, so that what was acknowledged does not hang on what comes now.
                db.execute("COMMIT")
                db.execute("BEGIN IMMEDIATE")
            self._clear_removed(db)
            yield db

    def carry_out(self, db: sqlite3.Connection, *entries: Entry) -> None:
        """Put entries into the journal, apply them, and commit; the last step of `writing`.

        Raises:
            OSError: The disk is full or the like; nothing happened.
            sqlite3.Error: The same, of the index.
        """
        with ExitStack() as undo:
            with self._journal.appending(db, *entries):
                for entry in entries:
                    if isinstance(entry, LabelEntry) and not entry.placed:
                        before = current_label(db, entry.image, entry.tag)
                        undo.callback(self._put_back, entry, before)
                        self._place(entry, before)
                    self._apply(db, entry)
            undo.pop_all()

    def keep(self, entry: LabelEntry | LabelRemoved, before: sqlite3.Row) -> Path | None:
        """Keep the file of a current label as a version; None when it is gone already."""
        file = self.folder.label(entry.tag, before["file"])
        suffix = before["file"].removeprefix(entry.image)
        kept = self.folder.version(entry.image, entry.tag, before["version"], suffix)
        if not file.exists():
            return None
        self.folder.keep(file, kept)
        return kept

    def _place(self, entry: LabelEntry, before: sqlite3.Row | None) -> None:
        """Steps 3 and 4."""
        target = self.folder.label(entry.tag, f"{entry.image}{entry.suffix}")
        if before is not None:
            self.keep(entry, before)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._version(entry).replace(target)
        if before is not None and before["file"] != target.name:
            self.folder.label(entry.tag, before["file"]).unlink(missing_ok=True)

    def _put_back(self, entry: LabelEntry, before: sqlite3.Row | None) -> None:
        """Undo `_place` after a failure; renaming needs no room on the disk."""
        target = self.folder.label(entry.tag, f"{entry.image}{entry.suffix}")
        if not self._version(entry).exists():
            target.unlink(missing_ok=True)
        self._version(entry).unlink(missing_ok=True)
        if before is not None:
            suffix = before["file"].removeprefix(entry.image)
            kept = self.folder.version(entry.image, entry.tag, before["version"], suffix)
            if kept.exists():
                kept.replace(target.with_name(before["file"]))

    def _version(self, entry: LabelEntry) -> Path:
        return self.folder.version(entry.image, entry.tag, entry.version, entry.suffix)

    def _catch_up(self, db: sqlite3.Connection) -> int:
        """Carry out what a process that died, or another index, has put into the journal."""
        entries = list(self._journal.unapplied(db))
        last = {
            (entry.image, entry.tag): number
            for number, entry in enumerate(entries)
            if isinstance(entry, LabelEntry | LabelRemoved)
        }
        for number, entry in enumerate(entries):
            if isinstance(entry, LabelEntry) and not entry.placed:
                before = current_label(db, entry.image, entry.tag)
                # A version that another one followed is in its place, whatever came to pass.
                if last[entry.image, entry.tag] == number and self._version(entry).exists():
                    logger.warning("finishing to save label %s of image %s", entry.tag, entry.image)
                    self._place(entry, before)
            self._apply(db, entry)
        if entries:
            labels = {key[0] for key in last}
            logger.warning(
                "recovered %d entries of the journal, with labels of %d images",
                len(entries),
                len(labels),
            )
        return len(entries)

    def _clear_removed(self, db: sqlite3.Connection) -> None:
        """Remove the versions of images whose removal is committed; twice is the same."""
        notes = db.execute("SELECT key FROM meta WHERE key GLOB ?", (f"{_REMOVED}*",)).fetchall()
        for (note,) in notes:
            for folder in self.folder.versions(note.removeprefix(_REMOVED)):
                shutil.rmtree(folder, ignore_errors=True)
            db.execute("DELETE FROM meta WHERE key = ?", (note,))

    def _apply(self, db: sqlite3.Connection, entry: Entry) -> None:
        """Bring the index to the state after an entry; once or twice is the same."""
        if isinstance(entry, ImageEntry):
            db.execute(
                "INSERT OR IGNORE INTO images (id, path, draw) VALUES (?, ?, ?)",
                (entry.image, entry.path, random_score(entry.image)),
            )
            return
        number = number_of(db, entry.image)
        if number is None:
            logger.warning("the journal tells of image %s, which it never named", entry.image)
        elif isinstance(entry, LabelEntry):
            self._apply_label(db, number, entry)
        elif isinstance(entry, LabelRemoved):
            self._apply_label_removed(db, number, entry)
        elif isinstance(entry, ImageRemoved):
            db.execute("DELETE FROM images WHERE number = ?", (number,))
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, 1)", (_REMOVED + entry.image,))
        elif isinstance(entry, AsideEntry):
            db.execute(
                "UPDATE images SET aside = ?, note = ? WHERE number = ?",
                (entry.aside, entry.note or None, number),
            )

    def _apply_label(self, db: sqlite3.Connection, number: int, entry: LabelEntry) -> None:
        """A version, and that it is the current one."""
        # In a journal that is applied anew the versions are already those of this image.
        db.execute("DELETE FROM meta WHERE key = ?", (_REMOVED + entry.image,))
        info = json.dumps(entry.info)
        name = f"{entry.image}{entry.suffix}"
        values = entry.model_dump(exclude={"kind", "image", "info", "placed"})
        columns = ", ".join(("image", "info", *values))
        marks = ", ".join("?" * (len(values) + 2))
        db.execute(
            f"INSERT OR REPLACE INTO versions ({columns}) VALUES ({marks})",
            (number, info, *values.values()),
        )
        found = self.folder.found_label(entry.tag, name)
        size, mtime_ns = (0, 0) if found is None else (found.size, found.mtime_ns)
        put_label(db, number, entry.tag, (name, size, mtime_ns, entry.version, info))
        if entry.tag == FINAL:
            db.execute(
                "UPDATE images SET version = ?, aside = NULL, note = NULL WHERE number = ?",
                (entry.version, number),
            )
            db.execute("DELETE FROM leases WHERE image = ?", (number,))

    def _apply_label_removed(
        self, db: sqlite3.Connection, number: int, entry: LabelRemoved
    ) -> None:
        """No current label of this tag."""
        db.execute("DELETE FROM labels WHERE image = ? AND tag = ?", (number, entry.tag))
        if entry.tag == FINAL:
            db.execute("UPDATE images SET version = 0 WHERE number = ?", (number,))


def number_of(db: sqlite3.Connection, image_id: str) -> int | None:
    """The number of an image in the index, whether its file is there or not."""
    row = db.execute("SELECT number FROM images WHERE id = ?", (image_id,)).fetchone()
    return None if row is None else int(row[0])


def current_label(db: sqlite3.Connection, image_id: str, tag: str) -> sqlite3.Row | None:
    """The row of `labels` of an image and tag."""
    row: sqlite3.Row | None = db.execute(
        "SELECT labels.* FROM labels JOIN images ON image = number WHERE id = ? AND tag = ?",
        (image_id, tag),
    ).fetchone()
    return row


def put_label(
    db: sqlite3.Connection, number: int, tag: str, row: tuple[str, int, int, int, str]
) -> None:
    """Insert or replace a row of `labels`: (file, size, mtime_ns, version, info)."""
    db.execute(
        "INSERT INTO labels (image, tag, file, size, mtime_ns, version, info) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (image, tag) DO UPDATE SET "
        "file = excluded.file, size = excluded.size, mtime_ns = excluded.mtime_ns, "
        "version = excluded.version, info = excluded.info",
        (number, tag, *row),
    )
