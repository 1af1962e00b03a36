"""Journal entries carried out: in the index and, for labels, in the labels folder.

Every version of a label has a file of its own in `.lfusion/versions/TAG/IMAGE`, which is written
once and never changed, renamed or replaced. The file in `labels/TAG` is a copy of the current one.
A label is saved in this order:

1. its file, and the copy for `labels/TAG`, are written to `.lfusion/incoming`, and on disk;
2. a line of the journal with its SHA-256 is on disk: from here on the label cannot be lost;
3. the file is renamed to its name in `.lfusion/versions`;
4. the copy is renamed to its name in `labels/TAG`;
5. the index is committed, with the length of the journal that it has seen;
6. the client is answered.

A process that dies leaves a journal that is longer than the index knows; whoever writes or starts
next carries out the rest, steps 3 to 5.

Recovery trusts files by their content. It knows the SHA-256 of each version from the journal.

* A file in `versions` with an unknown digest is a version whose line was lost, as in a copy whose
  journal is older. It is recorded under the number in its name, or under the next free number
  where another version has that. The file itself stays as it is.
* It is the current version if its number is above all known ones.
* A file in `labels/TAG` with an unknown digest is copied to `versions` and is the current version.
* A file in `labels/TAG` with the digest of an older version is replaced by the current one.
* A journal that the index does not know, such as an older copy, gets the lines that it lacks.

So a file is only replaced in `labels/TAG`, and only while `versions` has its content. Folders of
older versions of this program have the current version in `labels/TAG` alone; it is copied to
`versions` before anything replaces it.

A label belongs to the content of its image. When another content takes the image's name, the
label is withdrawn: its versions stay, the file in `labels/TAG` goes, and the image is open again.
When the content returns, the label does too.

The versions of an image that was removed go only after that is committed: the index notes that
they are to go, and whoever writes next removes them. A label that was saved since, of an image
that was added under the same id, takes the note back.
"""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lfusion.acquisition import random_score
from lfusion.image.formats import suffix_of
from lfusion.protocol import MAP_TAGS
from monailabel_app.lib.datastore.folder import StudiesFolder, digest_of
from monailabel_app.lib.datastore.journal import (
    AsideEntry,
    Entry,
    ImageChange,
    ImageContent,
    ImageEntry,
    ImageInfo,
    ImageRemoved,
    Journal,
    LabelEntry,
    LabelInfo,
    LabelRemoved,
    TextEntry,
    Unapplied,
)
from monailabel_app.lib.errors import InvalidNameError
from monailabel_app.lib.index import Index

logger = logging.getLogger(__name__)

FINAL = "final"

_REMOVED = "removed "
"""In `meta`, before the id of an image whose versions are to go."""

_UNNAMED = ".unnamed/"
"""Path of an image whose line in the journal was lost, until its file is found."""

_INFO_IN_JOURNAL = "info_in_journal"


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
        with self.writing() as db:
            self._journal_infos(db)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A writing transaction that has seen all of the journal; see `Index.write`."""
        with self.index.write() as db:
            if self._catch_up(db):
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
        spent: list[Path] = []
        with ExitStack() as undo:
            for entry in entries:
                if isinstance(entry, LabelEntry) and entry.placed and entry.kept_as is None:
                    label = self.folder.label(entry.tag, f"{entry.image}{entry.suffix}")
                    made = self.folder.put_version(label, entry.sha256, *_place(entry))
                    if made is not None:
                        undo.callback(made.unlink, missing_ok=True)
            copies = {
                id(entry): self._copy(undo, self.folder.staged(entry.staged))
                for entry in entries
                if isinstance(entry, LabelEntry) and entry.staged is not None
            }
            with self._journal.appending(db, *entries):
                for entry in entries:
                    if isinstance(entry, LabelEntry) and entry.staged is not None:
                        self._keep_current(db, entry.image, entry.tag)
                        made = self._name_version(entry)
                        if made is not None:
                            undo.callback(made.unlink, missing_ok=True)
                        spent += self._exchange(undo, db, entry, copies[id(entry)])
                    if isinstance(entry, LabelRemoved | ImageContent):
                        for tag in self._tags(db, entry.image):
                            self._keep_current(db, entry.image, tag)
                    self._apply(db, entry)
                    if isinstance(entry, LabelEntry | LabelRemoved | ImageContent):
                        spent += self._withdraw_files(undo, db, entry.image)
                    if isinstance(entry, ImageContent):
                        for tag in self._tags(db, entry.image):
                            self._publish(db, entry.image, tag, adopt=False)
            undo.pop_all()
        for path in spent:
            path.unlink(missing_ok=True)

    def next_version(self, db: sqlite3.Connection, image_id: str, tag: str) -> int:
        """A number that no version of a label has, nor a file in `versions`."""
        row = db.execute(
            "SELECT max(versions.version) FROM versions JOIN images ON image = number "
            "WHERE id = ? AND tag = ?",
            (image_id, tag),
        ).fetchone()
        return 1 + max([row[0] or 0, *self.folder.numbered(image_id, tag).values()])

    def unseen_label(
        self, db: sqlite3.Connection, image_id: str, tag: str, suffix: str
    ) -> LabelEntry | None:
        """A version of the label file that somebody has put in its place since the last look.

        Args:
            db: A writing transaction.
            image_id: Of the image.
            tag: Of the label.
            suffix: Of the label that comes next.

        Returns:
            The entry to carry out before the file is replaced, or None.
        """
        known = self._known(db, image_id, tag)
        row = current_label(db, image_id, tag)
        for name in {f"{image_id}{suffix}", *([] if row is None else [row["file"]])}:
            file = self.folder.label(tag, name)
            if file.is_file() and digest_of(file) not in known:
                return self._placed(db, image_id, tag, file)
        return None

    def version_file(
        self, db: sqlite3.Connection, image_id: str, tag: str, row: sqlite3.Row
    ) -> Path | None:
        """The file of a version, found by its content; None when it is gone.

        Args:
            db: A transaction.
            image_id: Of the image.
            tag: Of the label.
            row: Of `versions`.
        """
        numbered = self.folder.numbered(image_id, tag)
        usual = self.folder.version(image_id, tag, row["version"], row["suffix"])
        own = usual if row["kept_as"] is None else usual.with_name(row["kept_as"])
        files = sorted(numbered, key=lambda file: (file != own, numbered[file] != row["version"]))
        current = current_label(db, image_id, tag)
        if current is not None:
            files.append(self.folder.label(tag, current["file"]))
        for file in files:
            if file.is_file() and digest_of(file) == row["sha256"]:
                return file
        return None

    # Files of labels.

    def _copy(self, undo: ExitStack, source: Path) -> Path:
        """A second copy of a staged file, so that room for it is certain."""
        copy = self.folder.stage(source).path
        undo.callback(copy.unlink, missing_ok=True)
        return copy

    def _name_version(self, entry: LabelEntry) -> Path | None:
        """Step 3; the new file, or None when it was there."""
        if entry.staged is None:
            return None
        staged = self.folder.staged(entry.staged)
        if not staged.exists():
            return None
        target = self.folder.version_target(entry.sha256, *_place(entry))
        if target is None:
            staged.unlink()
            return None
        staged.replace(target)
        return target

    def _keep_current(self, db: sqlite3.Connection, image_id: str, tag: str) -> None:
        """Copy the current label to `versions` where an older program left it out."""
        row = current_label(db, image_id, tag)
        if row is None or not row["version"]:
            return
        version = _version_row(db, row["image"], tag, row["version"])
        file = self.folder.label(tag, row["file"])
        if version is not None and file.is_file() and digest_of(file) == version["sha256"]:
            suffix = version["suffix"]
            self.folder.put_version(file, version["sha256"], image_id, tag, row["version"], suffix)

    def _exchange(
        self, undo: ExitStack, db: sqlite3.Connection, entry: LabelEntry, copy: Path
    ) -> list[Path]:
        """Step 4; the files that can go once it is committed."""
        target = self.folder.label(entry.tag, f"{entry.image}{entry.suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        before = current_label(db, entry.image, entry.tag)
        files = (
            {target} if before is None else {target, self.folder.label(entry.tag, before["file"])}
        )
        spent = [away for file in files for away in self._put_away(undo, file, target)]
        undo.callback(_unlink_if, target, entry.sha256)
        copy.replace(target)
        return spent

    def _put_away(self, undo: ExitStack, file: Path, target: Path | None = None) -> list[Path]:
        """Move a label file to where it can be put back from without room on the disk.

        The one that is about to be replaced stays readable, where the file system has links.
        """
        if not file.is_file():
            return []
        away = self.folder.staged(f"{uuid.uuid4().hex}{suffix_of(file)}")
        undo.callback(_put_back, away, file)
        if file == target:
            with suppress(OSError):  # a file system without links
                away.hardlink_to(file)
                return [away]
        file.replace(away)
        return [away]

    def _withdraw_files(self, undo: ExitStack, db: sqlite3.Connection, image_id: str) -> list[Path]:
        """Take the files out of `labels` whose label does not count; `versions` has them."""
        spent = []
        for tag, file, digest in self._stray(db, image_id):
            if digest in self._kept(image_id, tag):
                spent += self._put_away(undo, file)
        return spent

    def _label_file(self, tag: str, name: str) -> Path | None:
        """The path of a label; None where it leads out of the folder by now."""
        try:
            return self.folder.label(tag, name)
        except InvalidNameError:
            logger.warning("label file %s/%s leads out of the folder and is not used", tag, name)
            return None

    def _stray(self, db: sqlite3.Connection, image_id: str) -> Iterator[tuple[str, Path, str]]:
        """Tag, file and digest of label files of known versions that are not the current label."""
        rows = db.execute(
            "SELECT DISTINCT tag, suffix FROM versions JOIN images ON image = number WHERE id = ?",
            (image_id,),
        ).fetchall()
        for tag, suffix in rows:
            name = f"{image_id}{suffix}"
            current = current_label(db, image_id, tag)
            file = self._label_file(tag, name)
            if file is not None and (current is None or current["file"] != name) and file.is_file():
                digest = digest_of(file)
                if digest in self._known(db, image_id, tag):
                    yield tag, file, digest

    def _kept(self, image_id: str, tag: str) -> set[str]:
        """Digests of the files in `versions`."""
        return {digest_of(file) for file in self.folder.numbered(image_id, tag)}

    def _known(self, db: sqlite3.Connection, image_id: str, tag: str) -> set[str]:
        """Digests of the versions in the index."""
        rows = db.execute(
            "SELECT versions.sha256 FROM versions JOIN images ON image = number "
            "WHERE id = ? AND tag = ?",
            (image_id, tag),
        ).fetchall()
        return {digest for (digest,) in rows}

    def _placed(self, db: sqlite3.Connection, image_id: str, tag: str, file: Path) -> LabelEntry:
        """An entry of a label file that somebody put in its place."""
        return LabelEntry(
            image=image_id,
            tag=tag,
            version=self.next_version(db, image_id, tag),
            suffix=file.name.removeprefix(image_id),
            sha256=digest_of(file),
            time=file.stat().st_mtime,
            placed=True,
        )

    # Recovery.

    def _catch_up(self, db: sqlite3.Connection) -> bool:
        """Carry out what a process that died, or another index, has put into the journal."""
        found = self._journal.unapplied(db)
        if found.other:
            self._combine(db, found)
        touched: dict[tuple[str, str], None] = {}
        for entry in [] if found.other else found.entries:
            if isinstance(entry, LabelEntry):
                self._name_version(entry)
            if isinstance(entry, LabelEntry | LabelRemoved):
                touched[entry.image, entry.tag] = None
            self._apply(db, entry)
            if isinstance(entry, ImageContent):
                touched |= dict.fromkeys((entry.image, tag) for tag in self._tags(db, entry.image))
        if found.whole or found.damaged or found.other:
            self._clear_removed(db)
            touched |= dict.fromkeys(self._adopt_versions(db))
        if found.whole:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, 1)", (_INFO_IN_JOURNAL,))
        if found.whole or found.other:
            touched |= dict.fromkeys(self._labelled(db))
        for image_id, tag in touched:
            self._publish(db, image_id, tag)
            if not found.whole:
                self._remove_stray(db, image_id)
        if found.entries:
            labels = {image_id for image_id, _ in touched}
            logger.warning(
                "recovered %d entries of the journal, with labels of %d images",
                len(found.entries),
                len(labels),
            )
        return bool(found.entries or found.damaged or found.other or touched)

    def _combine(self, db: sqlite3.Connection, found: Unapplied) -> None:
        """Bring an index and a journal together that do not know each other."""
        for entry in found.entries:
            if isinstance(entry, ImageEntry):
                self._apply(db, entry)
            elif isinstance(entry, LabelEntry):
                self._name_version(entry)  # where a save died before the journal was exchanged
                number = number_of(db, entry.image)
                if number is None or _version_row(db, number, entry.tag, entry.version) is None:
                    known = number is not None and current_label(db, entry.image, entry.tag)
                    self._apply(db, entry.model_copy(update={"current": not known}))
        written = {
            (entry.image, entry.tag, entry.version, entry.sha256)
            for entry in found.entries
            if isinstance(entry, LabelEntry)
        }
        images = {entry.image for entry in found.entries if isinstance(entry, ImageEntry)}
        self._journal.append(db, _entries_of(db, images, written))

    def _adopt_versions(self, db: sqlite3.Connection) -> list[tuple[str, str]]:
        """Record files in `versions` whose content no version has; image ids and tags."""
        adopted: list[tuple[str, str]] = []
        for image_id, tag in self.folder.versioned():
            known = self._known(db, image_id, tag)
            rows = db.execute(
                "SELECT versions.version FROM versions JOIN images ON image = number "
                "WHERE id = ? AND tag = ?",
                (image_id, tag),
            ).fetchall()
            numbers = {number for (number,) in rows}
            last = max(numbers, default=0)
            files = sorted(self.folder.numbered(image_id, tag).items(), key=lambda item: item[1])
            for file, own in files:
                digest = digest_of(file)
                if digest in known:
                    continue
                free = 1 + max([*numbers, *(number for _, number in files)])
                entry = LabelEntry(
                    image=image_id,
                    tag=tag,
                    version=free if own in numbers else own,
                    suffix=suffix_of(file) or "".join(file.suffixes),
                    sha256=digest,
                    time=file.stat().st_mtime,
                    current=own > last,
                    kept_as=file.name,
                )
                logger.warning(
                    "adopting a file as version %d of label %s of image %s; the journal does not "
                    "know it",
                    entry.version,
                    tag,
                    image_id,
                )
                self._journal.append(db, [entry])
                self._apply(db, entry)
                known.add(digest)
                numbers.add(entry.version)
                adopted.append((image_id, tag))
        return adopted

    def _publish(
        self, db: sqlite3.Connection, image_id: str, tag: str, *, adopt: bool = True
    ) -> None:
        """Make the file in `labels` the current version, or the other way round.

        Args:
            db: A writing transaction.
            image_id: Of the image.
            tag: Of the label.
            adopt: Whether a file of unknown content is recorded; else it stays for the next look.
        """
        row = current_label(db, image_id, tag)
        if tag in MAP_TAGS or row is None or not row["version"]:
            return
        file = self._label_file(tag, row["file"])
        if file is None:
            return
        version = _version_row(db, row["image"], tag, row["version"])
        digest = digest_of(file) if file.is_file() else None
        if version is None:
            return
        if digest == version["sha256"]:
            self._keep_current(db, image_id, tag)
        elif digest is not None and digest not in self._known(db, image_id, tag):
            if not adopt:
                return
            entry = self._placed(db, image_id, tag, file)
            self.folder.put_version(file, entry.sha256, *_place(entry))
            logger.warning("label file %s/%s is a version that is not known", tag, file.name)
            self._journal.append(db, [entry])
            self._apply(db, entry)
            return
        else:
            source = self.version_file(db, image_id, tag, version)
            if source is None:
                logger.error(
                    "version %d of label %s of image %s has no file", row["version"], tag, image_id
                )
                return
            logger.warning("finishing to save label %s of image %s", tag, image_id)
            if digest is not None and digest not in self._kept(image_id, tag):
                self._keep_known(db, image_id, tag, file, digest)
            file.parent.mkdir(parents=True, exist_ok=True)
            self.folder.stage(source).path.replace(file)
        self._note_file(db, row["image"], tag, row["file"])

    def _keep_known(
        self, db: sqlite3.Connection, image_id: str, tag: str, file: Path, digest: str
    ) -> None:
        """Copy a label file of an older version to `versions` before it is replaced."""
        row = db.execute(
            "SELECT versions.* FROM versions JOIN images ON image = number "
            "WHERE id = ? AND tag = ? AND versions.sha256 = ?",
            (image_id, tag, digest),
        ).fetchone()
        self.folder.put_version(file, digest, image_id, tag, row["version"], row["suffix"])

    def _remove_stray(self, db: sqlite3.Connection, image_id: str) -> None:
        """Finish taking files out of `labels`."""
        for tag, file, digest in list(self._stray(db, image_id)):
            if digest not in self._kept(image_id, tag):
                self._keep_known(db, image_id, tag, file, digest)
            file.unlink()

    def _tags(self, db: sqlite3.Connection, image_id: str) -> list[str]:
        """Tags that have versions of an image."""
        rows = db.execute(
            "SELECT DISTINCT tag FROM versions JOIN images ON image = number WHERE id = ?",
            (image_id,),
        ).fetchall()
        return [tag for (tag,) in rows]

    def _labelled(self, db: sqlite3.Connection) -> list[tuple[str, str]]:
        """Image ids and tags of all labels."""
        rows = db.execute(
            "SELECT id, tag FROM labels JOIN images ON image = number WHERE labels.version > 0"
        ).fetchall()
        return [(image_id, tag) for image_id, tag in rows]

    def _note_file(self, db: sqlite3.Connection, number: int, tag: str, name: str) -> None:
        """Note what a label file looks like now."""
        found = self.folder.found_label(tag, name)
        if found is not None:
            db.execute(
                "UPDATE labels SET size = ?, mtime_ns = ? WHERE image = ? AND tag = ?",
                (found.size, found.mtime_ns, number, tag),
            )

    def _clear_removed(self, db: sqlite3.Connection) -> None:
        """Remove the versions of images whose removal is committed; twice is the same."""
        notes = db.execute("SELECT key FROM meta WHERE key GLOB ?", (f"{_REMOVED}*",)).fetchall()
        for (note,) in notes:
            for folder in self.folder.versions(note.removeprefix(_REMOVED)):
                shutil.rmtree(folder, ignore_errors=True)
            db.execute("DELETE FROM meta WHERE key = ?", (note,))

    def _journal_infos(self, db: sqlite3.Connection) -> None:
        """Put infos into the journal that an older program kept in the index alone; once."""
        done = db.execute("SELECT 1 FROM meta WHERE key = ?", (_INFO_IN_JOURNAL,)).fetchone()
        if done is not None:
            return
        images = db.execute("SELECT id, info FROM images WHERE info <> '{}'").fetchall()
        entries: list[Entry] = [ImageInfo(image=i, info=json.loads(info)) for i, info in images]
        labels = db.execute(
            "SELECT id, labels.tag, labels.info FROM labels JOIN images ON labels.image = number "
            "JOIN versions ON versions.image = labels.image AND versions.tag = labels.tag "
            "AND versions.version = labels.version WHERE labels.info <> versions.info"
        ).fetchall()
        entries += [LabelInfo(image=i, tag=t, info=json.loads(info)) for i, t, info in labels]
        texts = db.execute("SELECT key, value FROM meta WHERE key IN ('name', 'description')")
        entries += [TextEntry(key=key, value=str(value)) for key, value in texts.fetchall()]
        self._journal.append(db, entries)
        db.execute("INSERT OR REPLACE INTO meta VALUES (?, 1)", (_INFO_IN_JOURNAL,))

    # Entries in the index.

    def _apply(self, db: sqlite3.Connection, entry: Entry) -> None:
        """Bring the index to the state after an entry; once or twice is the same."""
        if isinstance(entry, TextEntry):
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (entry.key, entry.value))
        elif isinstance(entry, ImageEntry):
            if not _has_path(db, entry.path):
                db.execute(
                    "INSERT INTO images (id, path, draw) VALUES (?, ?, ?) ON CONFLICT (id) "
                    "DO UPDATE SET path = excluded.path WHERE images.path GLOB ?",
                    (entry.image, entry.path, random_score(entry.image), f"{_UNNAMED}*"),
                )
        elif isinstance(entry, ImageChange):
            self._apply_change(db, entry)

    def _apply_change(self, db: sqlite3.Connection, entry: ImageChange) -> None:
        """An entry about an image that has a name."""
        number = number_of(db, entry.image)
        if number is None:
            if isinstance(entry, ImageRemoved):
                return
            logger.warning("the line that names image %s is missing in the journal", entry.image)
            path = f"{_UNNAMED}{entry.image}"
            self._apply(db, ImageEntry(image=entry.image, path=path))
            number = number_of(db, entry.image)
            assert number is not None
        if isinstance(entry, LabelEntry):
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
        elif isinstance(entry, ImageContent):
            self._apply_content(db, number, entry.sha256)
        elif isinstance(entry, ImageInfo):
            _merge_info(db, "images WHERE number = ?", (number,), entry.info)
        elif isinstance(entry, LabelInfo):
            _merge_info(db, "labels WHERE image = ? AND tag = ?", (number, entry.tag), entry.info)

    def _apply_label(self, db: sqlite3.Connection, number: int, entry: LabelEntry) -> None:
        """A version, and that it is the current one."""
        # In a journal that is applied anew the versions are already those of this image.
        db.execute("DELETE FROM meta WHERE key = ?", (_REMOVED + entry.image,))
        if entry.image_sha256 is not None:
            self._apply_content(db, number, entry.image_sha256)
        info = json.dumps(entry.info)
        name = f"{entry.image}{entry.suffix}"
        values = entry.model_dump(exclude={"kind", "image", "info", "placed", "current", "staged"})
        if entry.image_sha256 is None and entry.current:
            row = db.execute("SELECT content FROM images WHERE number = ?", (number,)).fetchone()
            values["image_sha256"] = row["content"]
        columns = ", ".join(("image", "info", *values))
        marks = ", ".join("?" * (len(values) + 2))
        db.execute(
            f"INSERT OR REPLACE INTO versions ({columns}) VALUES ({marks})",
            (number, info, *values.values()),
        )
        if not entry.current:
            return
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
        db.execute(
            "UPDATE versions SET withdrawn = 0 WHERE image = ? AND tag = ?", (number, entry.tag)
        )
        if entry.tag == FINAL:
            db.execute("UPDATE images SET version = 0 WHERE number = ?", (number,))

    def _apply_content(self, db: sqlite3.Connection, number: int, digest: str) -> None:
        """Labels of another content of the image are withdrawn; those of this one return."""
        image = db.execute("SELECT id, content FROM images WHERE number = ?", (number,)).fetchone()
        if image["content"] == digest:
            return
        db.execute("UPDATE images SET content = ? WHERE number = ?", (digest, number))
        if image["content"] is None:  # labels of older programs: they belong to what is seen first
            db.execute(
                "UPDATE versions SET image_sha256 = ? WHERE image = ? AND image_sha256 IS NULL",
                (digest, number),
            )
        rows = db.execute(
            "SELECT versions.* FROM versions JOIN labels USING (image, tag, version) "
            "WHERE image = ? AND image_sha256 <> ?",
            (number, digest),
        ).fetchall()
        for row in rows:
            given = (number, row["tag"], row["version"])
            db.execute(
                "UPDATE versions SET withdrawn = 1 WHERE image = ? AND tag = ? AND version = ?",
                given,
            )
            db.execute("DELETE FROM labels WHERE image = ? AND tag = ?", given[:2])
            if row["tag"] == FINAL:
                note = (
                    f"The image file was exchanged. Version {row['version']} of the label belongs "
                    "to the file before and does not count."
                )
                db.execute(
                    "UPDATE images SET version = 0, note = ? WHERE number = ?", (note, number)
                )
                logger.warning("image %s: %s", image["id"], note)
        self._return_labels(db, number, image["id"], digest)

    def _return_labels(
        self, db: sqlite3.Connection, number: int, image_id: str, digest: str
    ) -> None:
        """Labels that were withdrawn when the image had this content are current again."""
        rows = db.execute(
            "SELECT versions.*, max(version) FROM versions WHERE image = ? AND withdrawn "
            "AND image_sha256 = ? GROUP BY tag",
            (number, digest),
        ).fetchall()
        for row in rows:
            name = f"{image_id}{row['suffix']}"
            put_label(db, number, row["tag"], (name, 0, 0, row["version"], row["info"]))
            db.execute(
                "UPDATE versions SET withdrawn = 0 WHERE image = ? AND tag = ? AND version = ?",
                (number, row["tag"], row["version"]),
            )
            if row["tag"] == FINAL:
                db.execute(
                    "UPDATE images SET version = ?, note = NULL WHERE number = ?",
                    (row["version"], number),
                )


def number_of(db: sqlite3.Connection, image_id: str) -> int | None:
    """The number of an image in the index, whether its file is there or not."""
    row = db.execute("SELECT number FROM images WHERE id = ?", (image_id,)).fetchone()
    return None if row is None else int(row[0])


def is_named(db: sqlite3.Connection, image_id: str) -> bool:
    """Whether an id belongs to a file; not so for one whose line in the journal was lost."""
    row = db.execute(
        "SELECT 1 FROM images WHERE id = ? AND NOT path GLOB ?", (image_id, f"{_UNNAMED}*")
    ).fetchone()
    return row is not None


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


def _place(entry: LabelEntry) -> tuple[str, str, int, str]:
    """Where a version lies: image, tag, number and suffix."""
    return entry.image, entry.tag, entry.version, entry.suffix


def _version_row(db: sqlite3.Connection, number: int, tag: str, version: int) -> sqlite3.Row | None:
    """A row of `versions`."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM versions WHERE image = ? AND tag = ? AND version = ?", (number, tag, version)
    ).fetchone()
    return row


def _has_path(db: sqlite3.Connection, path: str) -> bool:
    """Whether a file has an id."""
    return db.execute("SELECT 1 FROM images WHERE path = ?", (path,)).fetchone() is not None


def _merge_info(
    db: sqlite3.Connection, where: str, given: tuple[object, ...], info: dict[str, object]
) -> None:
    """Add fields to the info of a row."""
    row = db.execute(f"SELECT info FROM {where}", given).fetchone()
    if row is not None:
        table, _, condition = where.partition(" ")
        merged = json.dumps({**json.loads(row["info"]), **info})
        db.execute(f"UPDATE {table} SET info = ? {condition}", (merged, *given))


def _entries_of(
    db: sqlite3.Connection, images: set[str], written: set[tuple[str, str, int, str]]
) -> list[Entry]:
    """What the index knows as entries, without what a journal has of it.

    Args:
        db: A transaction.
        images: Ids that the journal names.
        written: Image, tag, version and digest of the labels in it.
    """
    entries: list[Entry] = []
    for image in db.execute("SELECT * FROM images ORDER BY number").fetchall():
        image_id = image["id"]
        if image_id not in images and not image["path"].startswith(_UNNAMED):
            entries.append(ImageEntry(image=image_id, path=image["path"]))
        entries += [
            LabelEntry(**fields_of(row), image=image_id, current=bool(row["is_current"]))
            for row in db.execute(
                "SELECT versions.*, labels.version IS NOT NULL AS is_current FROM versions "
                "LEFT JOIN labels USING (image, tag, version) WHERE image = ? "
                "ORDER BY tag, is_current, version",
                (image["number"],),
            ).fetchall()
            if row["is_current"]
            or (image_id, row["tag"], row["version"], row["sha256"]) not in written
        ]
        entries += [
            LabelRemoved(image=image_id, tag=tag)
            for (tag,) in db.execute(
                "SELECT DISTINCT tag FROM versions WHERE image = ? "
                "AND tag NOT IN (SELECT tag FROM labels WHERE labels.image = versions.image)",
                (image["number"],),
            ).fetchall()
        ]
        if image["content"] is not None:
            entries.append(ImageContent(image=image_id, sha256=image["content"]))
        if json.loads(image["info"]):
            entries.append(ImageInfo(image=image_id, info=json.loads(image["info"])))
        if image["aside"] is not None:
            entries.append(
                AsideEntry(image=image_id, aside=image["aside"], note=image["note"] or "")
            )
    return entries


def fields_of(row: sqlite3.Row) -> dict[str, Any]:
    """A row of `versions` as the fields of a journal entry."""
    values = dict(row)
    del values["image"]
    return {**values, "info": json.loads(values["info"])}


def _put_back(away: Path, file: Path) -> None:
    """Undo of a file that was put away."""
    if away.exists():
        away.replace(file)


def _unlink_if(file: Path, digest: str) -> None:
    """Undo of a file that was put in its place."""
    if file.is_file() and digest_of(file) == digest:
        file.unlink()
