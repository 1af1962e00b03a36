"""The index brought to what the studies folder holds, however that came about.

Somebody copies images into the folder, exchanges one, deletes one, or puts a label where
MONAI Label users put it: all that is looked at file by file, inside a transaction, so that a file
that changes while the folder is being listed is not mistaken for another.

A label that somebody put there passes the same check as an uploaded one. A file that does not is
left as it is and noted as refused: its image is not labelled by it, and the queue says why.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from lfusion.errors import ImageError, LFusionError
from lfusion.image.annotations import PassedOver, notice
from lfusion.image.formats import IMAGE_SUFFIXES, MASK_SUFFIXES, stem_of, suffix_of
from lfusion.protocol import MAP_TAGS
from monailabel_app.lib.datastore.folder import StudiesFolder, digest_of
from monailabel_app.lib.datastore.journal import (
    Entry,
    ImageContent,
    ImageEntry,
    LabelEntry,
    LabelRemoved,
)
from monailabel_app.lib.datastore.ledger import (
    Ledger,
    current_label,
    is_named,
    number_of,
    put_label,
)
from monailabel_app.lib.datastore.scan import (
    LABELS_FOLDER,
    FoundFile,
    find_image,
    find_images,
    image_id_for,
)
from monailabel_app.lib.index.refusals import drop_refusal, is_refused, put_refusal, refused_files
from monailabel_app.lib.index.results import note_changed
from monailabel_app.lib.labels import read_label

logger = logging.getLogger(__name__)

_BATCH = 1000
"""Files a transaction: others wait for it."""

Item = TypeVar("Item")
ImagePath = str
LabelFile = tuple[str, str]
"""Tag and file name."""

_LABEL_SUFFIXES = {*IMAGE_SUFFIXES, *MASK_SUFFIXES}
"""Of files that somebody can take for a label; others in the folder of a tag are ignored."""


@dataclass(frozen=True)
class _Checked:
    """The outcome of the check of one label file.

    Attributes:
        basis: Label file, image file and classes that were compared.
        reason: Why the file cannot be used; None when it can.
    """

    basis: tuple[object, ...]
    reason: str | None


class Reconciler:
    """Looks at files and records what is new.

    Args:
        ledger: Of the studies.
        labels: Gives the class number by name of the served model.
    """

    def __init__(self, ledger: Ledger, labels: Callable[[], Mapping[str, int]]) -> None:
        self._ledger = ledger
        self._folder = ledger.folder
        self._labels = labels
        self._checked: dict[LabelFile, _Checked] = {}
        self._told: str | None = None

    def look_through(self) -> None:
        """Look at every file that is not as the index knows it."""
        started = time.monotonic()
        passed: list[PassedOver] = []
        images = self._differing_images(passed)
        self._record(images, [])
        labels = self._differing_labels(passed)  # a label of an image that is new, too
        self._record([], labels)
        told = notice(passed)
        if told != self._told:
            self._told = told
            logger.info("%s", told or "no file is left out any more")
        if images or labels:
            logger.info(
                "looked at %d image files and %d label files that were not as known, in %.1f s",
                len(images),
                len(labels),
                time.monotonic() - started,
            )

    def look_at(self, images: Iterable[ImagePath], labels: Iterable[LabelFile]) -> None:
        """Record what became of some files.

        Args:
            images: Paths below the studies folder.
            labels: Tag and name in its folder.
        """
        found = [(path, find_image(self._folder.root, path)) for path in images]
        self._record(found, [])
        with self._ledger.index.read() as db:  # most are labels and maps that we wrote ourselves
            # A label that did not fit its image may fit another one under the same name.
            looked_at = {*labels, *self._labels_beside(db, found)}
            differing = [item for item in sorted(looked_at) if self._differs(db, *item)]
        self._record([], differing)

    def _record(
        self, images: list[tuple[ImagePath, FoundFile | None]], labels: list[LabelFile]
    ) -> None:
        """Bring the index to what was found, some files at a time."""
        for batch in _batches(images):
            with self._ledger.writing() as db:
                names = _NewNames(db)
                entries = [entry for item in batch for entry in self._new(db, item, names)]
                if entries:
                    self._ledger.carry_out(db, *entries)
            with self._ledger.writing() as db:
                contents = [
                    entry for path, found in batch for entry in self._presence(db, path, found)
                ]
                if contents:
                    self._ledger.carry_out(db, *contents)
        for files in _batches(labels):
            for tag, name in files:  # before the transaction: others wait for that
                self._check(tag, name)
            with self._ledger.writing() as db:
                seen = [entry for tag, name in files for entry in self._label(db, tag, name)]
                if seen:
                    self._ledger.carry_out(db, *seen)

    def _differing_images(
        self, passed: list[PassedOver]
    ) -> list[tuple[ImagePath, FoundFile | None]]:
        """Images that are new, changed, or (None) no longer there; adds what was passed over."""
        with self._ledger.index.read() as db:
            # Labels of older programs do not say which content of the image they belong to.
            rows = db.execute(
                "SELECT path, size, mtime_ns, content IS NULL AND EXISTS "
                "(SELECT 1 FROM versions WHERE image = number) FROM images WHERE present"
            )
            known = {
                path: None if unknown else (size, mtime_ns)
                for path, size, mtime_ns, unknown in rows
            }
        differing: list[tuple[ImagePath, FoundFile | None]] = [
            (found.path, found)
            for found in find_images(self._folder.root, passed.append)
            if known.pop(found.path, None) != (found.size, found.mtime_ns)
        ]
        return differing + [(path, None) for path in sorted(known)]

    def _differing_labels(self, passed: list[PassedOver]) -> list[LabelFile]:
        """The same of labels, without files that belong to no image."""
        with self._ledger.index.read() as db:
            rows = db.execute("SELECT tag, file, size, mtime_ns FROM labels").fetchall()
            known = {(tag, file): (size, mtime_ns) for tag, file, size, mtime_ns in rows}
            images = {image_id for (image_id,) in db.execute("SELECT id FROM images").fetchall()}
            differing: list[LabelFile] = []
            for tag in self._folder.tags():
                gone = set(refused_files(db, tag))
                for found in _label_files(self._folder, tag):
                    item = (tag, found.path)
                    gone.discard(_user_path(*item))
                    same = known.pop(item, None) == (found.size, found.mtime_ns)
                    if stem_of(Path(found.path)) not in images:
                        reason = "a label of no image"
                        passed.append(PassedOver(_user_path(*item), reason))
                    elif self._is_news(db, item, same=same):
                        differing.append(item)
                inside = f"{LABELS_FOLDER}/{tag}/"
                differing += [
                    (tag, file.removeprefix(inside)) for file in gone if file.startswith(inside)
                ]
        return differing + list(known)

    def _is_news(self, db: sqlite3.Connection, item: LabelFile, *, same: bool) -> bool:
        """Whether a label file must be looked at: it, its image or the classes changed."""
        if is_refused(db, item[0], _user_path(*item)):
            checked = self._checked.get(item)
            return same or checked is None or checked.basis != self._basis(db, *item)
        return not same

    def _labels_beside(
        self, db: sqlite3.Connection, images: list[tuple[ImagePath, FoundFile | None]]
    ) -> Iterator[LabelFile]:
        """The label files that images have, by their names."""
        tags = [tag for tag in self._folder.tags() if tag not in MAP_TAGS]
        for path, found in images:
            row = db.execute("SELECT id FROM images WHERE path = ?", (path,)).fetchone()
            if row is None or found is None:
                continue
            for tag in tags:
                for suffix in _LABEL_SUFFIXES:
                    name = f"{row['id']}{suffix}"
                    if self._folder.found_label(tag, name) is not None:
                        yield tag, name

    def _new(
        self, db: sqlite3.Connection, item: tuple[ImagePath, FoundFile | None], names: _NewNames
    ) -> Iterator[Entry]:
        """An entry when the file is a new image."""
        path, found = item
        if found is None:
            return
        if db.execute("SELECT 1 FROM images WHERE path = ?", (path,)).fetchone() is None:
            image_id = image_id_for(path, names)
            names.given.add(image_id)
            yield ImageEntry(image=image_id, path=path)

    def _presence(
        self, db: sqlite3.Connection, path: ImagePath, found: FoundFile | None
    ) -> Iterator[Entry]:
        """Note what the file of a known image looks like now; another content is not scored.

        Yields:
            The new content of an image with labels.
        """
        # A file that was not there when the folder was listed may be there by now.
        found = found or find_image(self._folder.root, path)
        if found is None:
            if db.execute("UPDATE images SET present = 0 WHERE path = ?", (path,)).rowcount:
                logger.info("image file %s is gone; its labels are kept", path)
            return
        row = db.execute(
            "SELECT images.*, EXISTS (SELECT 1 FROM versions WHERE image = number) AS has_labels "
            "FROM images WHERE path = ?",
            (path,),
        ).fetchone()
        if row is None:
            return
        as_before = (row["size"], row["mtime_ns"]) == (found.size, found.mtime_ns)
        digest = None
        if row["has_labels"] and not (as_before and row["content"]):
            digest = digest_of(self._folder.image(path))
            before = row["content"] or row["sha256"]
            if row["content"] is None:  # labels of older programs
                yield ImageContent(image=row["id"], sha256=before or digest)
            if before not in (None, digest):
                yield ImageContent(image=row["id"], sha256=digest)
            as_before = as_before or before == digest  # a mere touch
        db.execute(
            "UPDATE images SET present = 1, size = ?, mtime_ns = ? WHERE path = ?",
            (found.size, found.mtime_ns, path),
        )
        if not as_before:
            db.execute("UPDATE images SET sha256 = NULL WHERE path = ?", (path,))
            note_changed(db)  # also of an image without a score, which may just be getting one
            self._remove_maps(db, row["number"])

    def _remove_maps(self, db: sqlite3.Connection, number: int) -> None:
        """Remove the maps of an image whose content is another one; inference makes new ones."""
        for tag in MAP_TAGS:
            maps = db.execute(
                "SELECT file FROM labels WHERE image = ? AND tag = ?", (number, tag)
            ).fetchall()
            for (file,) in maps:
                self._folder.label(tag, file).unlink(missing_ok=True)
            db.execute("DELETE FROM labels WHERE image = ? AND tag = ?", (number, tag))

    def _differs(self, db: sqlite3.Connection, tag: str, name: str) -> bool:
        """Whether a label file is not as the index knows it."""
        if is_refused(db, tag, _user_path(tag, name)):
            return True
        found = self._folder.found_label(tag, name)
        row = current_label(db, stem_of(Path(name)), tag)
        known = None if row is None else (row["file"], row["size"], row["mtime_ns"])
        return known != (None if found is None else (name, found.size, found.mtime_ns))

    def _label(self, db: sqlite3.Connection, tag: str, name: str) -> Iterator[Entry]:
        """An entry when the file is a label that the index does not know, or knew."""
        image_id = stem_of(Path(name))
        number = number_of(db, image_id)
        if number is None or not self._differs(db, tag, name):
            return
        found = self._folder.found_label(tag, name)
        row = current_label(db, image_id, tag)
        other = row is not None and row["file"] != name
        known = None if row is None else (row["file"], row["size"], row["mtime_ns"])
        if found is None:
            drop_refusal(db, tag, _user_path(tag, name))
            if row is not None and not other:
                logger.info("label file %s/%s is gone; its versions are kept", tag, name)
                yield LabelRemoved(image=image_id, tag=tag)
        elif known == (name, found.size, found.mtime_ns):
            drop_refusal(db, tag, _user_path(tag, name))  # saved since in place of the refused file
        elif row is None or not other or found.mtime_ns > row["mtime_ns"]:
            # Of two files for one image, the younger is the label.
            if self._accepted(db, number, tag, found):
                yield from self._adopted(db, (number, image_id), tag, found)
            elif row is not None and not other:
                yield LabelRemoved(image=image_id, tag=tag)

    def _accepted(self, db: sqlite3.Connection, number: int, tag: str, found: FoundFile) -> bool:
        """Whether a label file can be used; notes it as refused when it cannot.

        While its image is not there, it can neither be used nor refused.
        """
        file = _user_path(tag, found.path)
        if tag in MAP_TAGS:
            return True
        checked = self._check(tag, found.path, db)
        if checked is None:
            return False
        if checked.reason is None:
            drop_refusal(db, tag, file)
            return True
        stamp = (found.size, found.mtime_ns)
        if put_refusal(db, tag, file, number, stamp, checked.reason):
            logger.warning("the label file %s is not used: %s", file, checked.reason)
        return False

    def _check(
        self, tag: str, name: str, transaction: sqlite3.Connection | None = None
    ) -> _Checked | None:
        """Check a label file as an uploaded one; once while nothing changes that it depends on.

        Args:
            tag: Of the label.
            name: Of the file.
            transaction: To read from; None for one of its own.

        Returns:
            None when the file, or its image, is not there.
        """
        if transaction is None:
            with self._ledger.index.read() as db:
                return self._check(tag, name, db)
        basis = None if tag in MAP_TAGS else self._basis(transaction, tag, name)
        if basis is None:
            return None
        checked = self._checked.get((tag, name))
        if checked is None or checked.basis != basis:
            checked = _Checked(basis, self._reason(transaction, tag, name, str(basis[0])))
            self._checked[tag, name] = checked
        return checked

    def _basis(self, db: sqlite3.Connection, tag: str, name: str) -> tuple[object, ...] | None:
        """What the check of a label file depends on: image, label and classes."""
        found = self._folder.found_label(tag, name)
        image = db.execute(
            "SELECT path FROM images WHERE id = ? AND present", (stem_of(Path(name)),)
        ).fetchone()
        source = None if image is None else find_image(self._folder.root, image["path"])
        if found is None or source is None:
            return None
        return (source.path, source, found, tuple(self._labels().items()))

    def _reason(self, db: sqlite3.Connection, tag: str, name: str, image: str) -> str | None:
        """Why a label file cannot be used; None when it can."""
        file = self._folder.label(tag, name)
        rows = db.execute(
            "SELECT versions.sha256 FROM versions JOIN images ON image = number "
            "WHERE id = ? AND tag = ? AND coalesce(image_sha256 = content, TRUE)",
            (stem_of(Path(name)), tag),
        ).fetchall()
        try:
            # A version of this image that was acknowledged comes back as it was.
            if rows and digest_of(file) in {digest for (digest,) in rows}:
                return None
            read_label(file, self._folder.image(image), None, self._labels())
        except ImageError as error:
            return f"its image cannot be read: {error.reason}"
        except (LFusionError, OSError) as error:
            return str(error)
        return None

    def _adopted(
        self, db: sqlite3.Connection, image: tuple[int, str], tag: str, found: FoundFile
    ) -> Iterator[Entry]:
        """A label file that somebody put into the labels folder."""
        number, image_id = image
        if tag in MAP_TAGS:
            put_label(db, number, tag, (found.path, found.size, found.mtime_ns, 0, "{}"))
            return
        suffix = found.path.removeprefix(image_id)
        digest = digest_of(self._folder.label(tag, found.path))
        latest = db.execute(
            "SELECT * FROM versions WHERE image = ? AND tag = ? ORDER BY version DESC LIMIT 1",
            (number, tag),
        ).fetchone()
        if latest is not None and latest["sha256"] == digest:
            known = self._folder.version(image_id, tag, latest["version"], latest["suffix"])
            if known.exists():
                known.rename(self._folder.version(image_id, tag, latest["version"], suffix))
            fields = {**_fields(latest), "suffix": suffix}  # `.tif` may be called `.tiff` by now
            entry = LabelEntry(**fields, image=image_id, placed=True)
        else:
            logger.info("label file %s/%s is a new version, made by hand", tag, found.path)
            entry = LabelEntry(
                image=image_id,
                tag=tag,
                version=self._ledger.next_version(db, image_id, tag),
                suffix=suffix,
                sha256=digest,
                time=found.mtime_ns / 1e9,
                placed=True,
            )
        yield entry


class _NewNames:
    """The ids that are taken: in the index, or given in this transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.given: set[str] = set()

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.given or is_named(self._db, str(image_id))


def _label_files(folder: StudiesFolder, tag: str) -> Iterator[FoundFile]:
    """The files in the folder of a tag that have the suffix of a label."""
    with os.scandir(folder.labels(tag)) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and suffix_of(Path(entry.name)) in _LABEL_SUFFIXES:
                found = folder.found_label(tag, entry.name)
                if found is not None:
                    yield found


def _user_path(tag: str, name: str) -> str:
    """A label file as its user finds it, below the studies folder."""
    return f"{LABELS_FOLDER}/{tag}/{name}"


def _fields(row: sqlite3.Row) -> dict[str, Any]:
    """A row of `versions` as the fields of a journal entry."""
    values = dict(row)
    del values["image"]
    return {**values, "info": json.loads(values["info"])}


def _batches(items: list[Item]) -> Iterator[list[Item]]:
    """The items, a transaction's worth at a time."""
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch
