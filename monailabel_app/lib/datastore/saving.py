"""Saving a label: checked, versioned, and acknowledged when it is on disk."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lfusion.image.read import read_frame_count, read_size
from lfusion.protocol import LabelVersion, SavedLabel, Submission
from monailabel_app.lib.datastore.folder import StagedFile, digest_of
from monailabel_app.lib.datastore.journal import LabelEntry
from monailabel_app.lib.datastore.ledger import FINAL, Ledger, current_label, number_of, put_label
from monailabel_app.lib.datastore.scan import find_image
from monailabel_app.lib.errors import LabelError, UnknownNameError, storage_error
from monailabel_app.lib.labels import read_label
from monailabel_app.lib.names import STRUCTURES_KEY, check_tag

logger = logging.getLogger(__name__)


class LabelSaver:
    """Keeps labels as versions, and maps as they are.

    Args:
        ledger: Of the studies.
        labels: Gives the class number by name of the served model.
    """

    def __init__(self, ledger: Ledger, labels: Callable[[], Mapping[str, int]]) -> None:
        self._ledger = ledger
        self._folder = ledger.folder
        self._labels = labels

    def save(
        self,
        image_id: str,
        source: Path,
        tag: str,
        submission: Submission,
        author: str | None,
        *,
        offered: bool = True,
    ) -> SavedLabel:
        """Make a file the label of an image; what was its label before is kept as a version.

        Args:
            image_id: Of the image.
            source: The label; it is copied.
            tag: Which of its labels.
            submission: What the client says about it.
            author: User name, or None without authentication.
            offered: Whether all structures of the model could be drawn when it was made; else it
                is not known which.

        Returns:
            What the client is told; by then all of it is on disk.

        Raises:
            UnknownNameError: No image has this id.
            InvalidNameError: The tag cannot be a folder name.
            LabelError: The file is no label of this image; nothing was changed.
            StorageError: The disk is full or the like; nothing was changed.
            BusyError: Another process writes; nothing was changed.
        """
        tag = check_tag(tag)
        with self._ledger.index.read() as db:
            row = db.execute(
                "SELECT path FROM images WHERE id = ? AND present", (image_id,)
            ).fetchone()
        if row is None:
            raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
        self._check(source, self._folder.image(row["path"]), submission)
        try:
            staged = self._folder.stage(source)
            try:
                structures = dict(self._labels()) if offered else None
                return self._put(image_id, staged, tag, submission, author, structures)
            finally:
                staged.path.unlink(missing_ok=True)
        except (OSError, sqlite3.OperationalError) as error:
            raise storage_error(f"the label of image {image_id!r} was not saved", error) from error

    def save_map(self, image_id: str, source: Path, tag: str, info: Mapping[str, Any]) -> None:
        """Put a map of an image into its place; maps can be made again and have no versions.

        Raises:
            UnknownNameError: No image has this id.
            OSError: It cannot be written.
        """
        name = f"{image_id}{''.join(source.suffixes[-1:])}"
        with self._ledger.index.read() as db:
            if number_of(db, image_id) is None:
                raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
        target = self._folder.label(tag, name)
        self._folder.put_map(source, target)
        status = target.stat()
        with self._ledger.index.write() as db:
            number = number_of(db, image_id)
            if number is not None:
                row = (name, status.st_size, status.st_mtime_ns, 0, json.dumps(dict(info)))
                put_label(db, number, tag, row)

    def versions(self, image_id: str) -> list[LabelVersion]:
        """The versions of the final label of an image, the oldest first.

        Raises:
            UnknownNameError: No image has this id.
        """
        with self._ledger.index.read() as db:
            number = number_of(db, image_id)
            if number is None:
                raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
            row = current_label(db, image_id, FINAL)
            current = None if row is None else row["version"]
            found = db.execute(
                "SELECT version, author, client_id, checkpoint_id, base_version, time, sha256 "
                "FROM versions WHERE image = ? AND tag = ? ORDER BY version",
                (number, FINAL),
            ).fetchall()
        return [LabelVersion(**dict(one), current=one["version"] == current) for one in found]

    def version_file(self, image_id: str, version: int) -> Path:
        """The file of one version of the final label of an image.

        Raises:
            UnknownNameError: There is no such version, or its file is gone.
        """
        with self._ledger.index.read() as db:
            row = db.execute(
                "SELECT versions.* FROM versions JOIN images ON image = number "
                "WHERE id = ? AND tag = ? AND versions.version = ?",
                (image_id, FINAL, version),
            ).fetchone()
            file = None if row is None else self._ledger.version_file(db, image_id, FINAL, row)
        if file is None:
            raise UnknownNameError(
                f"image {image_id[:80]!r} has no version {version} of its label; GET /versions "
                "lists them"
            )
        return file

    def _check(self, label: Path, image: Path, submission: Submission) -> None:
        """Refuse a label that could not be learned from."""
        frames = read_frame_count(image)
        mask = read_label(label, submission.label_info, self._labels(), frames)
        expected = read_size(image)
        if mask.shape != expected:
            raise LabelError(
                f"expected a label of the image's size, {expected[0]} x {expected[1]} pixels "
                f"(height x width); got {mask.shape[0]} x {mask.shape[1]}; save the label on the "
                "image's own grid"
            )

    def _put(
        self,
        image_id: str,
        staged: StagedFile,
        tag: str,
        submission: Submission,
        author: str | None,
        structures: Mapping[str, int] | None,
    ) -> SavedLabel:
        """Number the version and carry it out."""
        with self._ledger.writing() as db:
            number = number_of(db, image_id)
            if number is None:
                raise UnknownNameError(f"image {image_id!r} was removed meanwhile")
            repeated = _saved_with(db, number, tag, submission.idempotency_key)
            if repeated is not None:
                version, conflict = repeated
                return _answer(image_id, tag, version, conflict)
            unseen = self._ledger.unseen_label(db, image_id, tag, staged.suffix)
            row = current_label(db, image_id, tag)
            current = 0 if row is None else row["version"]
            following = self._ledger.next_version(db, image_id, tag)
            if unseen is not None:
                current, following = unseen.version, unseen.version + 1
            stale = submission.base_version is not None and submission.base_version != current
            entry = LabelEntry(
                image=image_id,
                tag=tag,
                version=following,
                suffix=staged.suffix,
                sha256=staged.sha256,
                time=time.time(),
                author=author,
                client_id=submission.client_id,
                checkpoint_id=submission.checkpoint_id,
                base_version=submission.base_version,
                conflict_with=current if stale and current else None,
                key=submission.idempotency_key,
                info={**_kept_info(submission, author), STRUCTURES_KEY: structures},
                staged=staged.path.name,
                image_sha256=self._content(db, number),
            )
            self._ledger.carry_out(db, *([] if unseen is None else [unseen]), entry)
        logger.info("saved version %d of label %s of image %s", entry.version, tag, image_id)
        return _answer(image_id, tag, entry.version, entry.conflict_with)

    def _content(self, db: sqlite3.Connection, number: int) -> str | None:
        """SHA-256 of an image's file, which is only read where it changed since the last look."""
        row = db.execute("SELECT * FROM images WHERE number = ?", (number,)).fetchone()
        found = find_image(self._folder.root, row["path"])
        if found is None:
            return None
        known = row["content"] or row["sha256"]
        if known is not None and (found.size, found.mtime_ns) == (row["size"], row["mtime_ns"]):
            return str(known)
        return digest_of(self._folder.image(row["path"]))


def _answer(image_id: str, tag: str, version: int, conflict: int | None) -> SavedLabel:
    return SavedLabel(
        image=image_id, label=image_id, tag=tag, version=version, conflict_with=conflict
    )


def _saved_with(
    db: sqlite3.Connection, number: int, tag: str, key: str | None
) -> tuple[int, int | None] | None:
    """Version and conflict of the label that was saved with this key, if one was."""
    if key is None:
        return None
    row = db.execute(
        "SELECT version, conflict_with FROM versions WHERE image = ? AND tag = ? AND key = ?",
        (number, tag, key),
    ).fetchone()
    return None if row is None else (row["version"], row["conflict_with"])


def _kept_info(submission: Submission, author: str | None) -> dict[str, Any]:
    """What MONAI Label's clients read back as the info of a label."""
    info = submission.model_dump(exclude_unset=True)
    if author is not None:
        info["user"] = author
    return info
