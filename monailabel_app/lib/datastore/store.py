"""The studies folder behind MONAI Label's datastore interface: all that changes it."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException

from lfusion.image.formats import stem_of, suffix_of
from lfusion.image.write import atomic_path
from lfusion.protocol import MAP_TAGS, Submission
from monailabel_app.lib.datastore.folder import StudiesFolder
from monailabel_app.lib.datastore.imported import import_stock_index
from monailabel_app.lib.datastore.journal import (
    AsideEntry,
    Entry,
    ImageEntry,
    ImageInfo,
    ImageRemoved,
    LabelInfo,
    LabelRemoved,
    TextEntry,
)
from monailabel_app.lib.datastore.ledger import Ledger, current_label, is_named
from monailabel_app.lib.datastore.listing import image_row
from monailabel_app.lib.datastore.masks import import_masks
from monailabel_app.lib.datastore.reader import StudiesReader, tag_text
from monailabel_app.lib.datastore.reconcile import Reconciler
from monailabel_app.lib.datastore.saving import LabelSaver
from monailabel_app.lib.datastore.scan import is_image_name
from monailabel_app.lib.datastore.watch import FolderWatch
from monailabel_app.lib.errors import ConflictError, InvalidNameError, UnknownNameError
from monailabel_app.lib.index import recovered_index
from monailabel_app.lib.names import check_image_id

logger = logging.getLogger(__name__)


class StudiesDatastore(StudiesReader):
    """A local folder of images and their labels.

    Args:
        studies: The folder.
        labels: Gives the class number by name of the served model.
        auto_reload: Watch the folder for files added or removed by others.
        read_only: Take the index as it is and reconcile nothing.
    """

    def __init__(
        self,
        studies: str,
        labels: Callable[[], Mapping[str, int]],
        *,
        auto_reload: bool,
        read_only: bool,
    ) -> None:
        folder = StudiesFolder(Path(studies))
        super().__init__(folder, recovered_index(folder.state / "index.sqlite"))
        self.ledger = Ledger(self.folder, self.index)
        self.saver = LabelSaver(self.ledger, labels)
        self._reconciler = Reconciler(self.ledger)
        self._watch: FolderWatch | None = None
        if read_only:
            return
        self.ledger.recover()
        self.folder.clean()
        import_stock_index(self.ledger)
        self.refresh()
        import_masks(self.ledger, self.saver)
        status = self.status()
        logger.info("%d images, %d of them labelled", status["total"], status["completed"])
        if auto_reload:
            self._watch = FolderWatch(self.folder.root, self._reconciler)

    # The methods are those of MONAI Label's `Datastore`, but `close` and `set_aside`.

    def close(self) -> None:
        """Stop watching and end the connections."""
        if self._watch is not None:
            self._watch.stop()
        self.index.close()

    def set_name(self, name: str) -> None:
        """Give the studies a name."""
        self.record(TextEntry(key="name", value=name))

    def set_description(self, description: str) -> None:
        """Say something of the studies."""
        self.record(TextEntry(key="description", value=description))

    def refresh(self) -> None:
        """Look through the folder."""
        self._reconciler.look_through()

    def record(self, *entries: Entry) -> None:
        """Put entries into the journal and apply them.

        Args:
            entries: What happened.

        Raises:
            OSError: The disk is full or the like; nothing happened.
        """
        with self.ledger.writing() as db:
            self.ledger.carry_out(db, *entries)

    def add_image(
        self,
        image_id: str,
        image_filename: str,
        image_info: dict[str, Any],
        author: str | None = None,
    ) -> str:
        """Copy a new image into the folder.

        Args:
            image_id: Its id, or "" for the name of the file.
            image_filename: The file.
            image_info: What to store with it.
            author: User name, or None without authentication.

        Raises:
            InvalidNameError: The id cannot be a file name, or is that of an annotation.
            ConflictError: There is an image of this id; it and its labels stay.
        """
        source = Path(image_filename)
        image_id = check_image_id(image_id or stem_of(source))
        name = f"{image_id}{suffix_of(source)}"
        if not is_image_name(name):
            raise InvalidNameError(
                f"expected the name of an image; {name[:80]!r} is that of an annotation; choose "
                "another id"
            )
        target = self.folder.image(name)
        with self.ledger.writing() as db:
            if target.exists() or is_named(db, image_id):
                raise ConflictError(
                    f"expected the id of a new image; {image_id!r} exists; choose another id or "
                    "delete that image first"
                )
            with atomic_path(target) as temporary:
                shutil.copyfile(source, temporary)
            entries: list[Entry] = [ImageEntry(image=image_id, path=name, author=author)]
            if image_info:
                entries.append(ImageInfo(image=image_id, info=image_info, author=author))
            self.ledger.carry_out(db, *entries)
        self._reconciler.look_at([name], [])
        return image_id

    def remove_image(self, image_id: str, author: str | None = None) -> None:
        """Delete an image with its labels and their versions.

        Args:
            image_id: Of the image.
            author: User name, or None without authentication.

        Raises:
            ImageNotFoundException: There is none of this id.
        """
        with self.ledger.writing() as db:
            row = image_row(db, image_id)
            if row is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            labels = db.execute(
                "SELECT tag, file FROM labels WHERE image = ?", (row["number"],)
            ).fetchall()
            self.folder.image(row["path"]).unlink(missing_ok=True)
            for tag, file in labels:
                self.folder.label(tag, file).unlink(missing_ok=True)
            self.ledger.carry_out(db, ImageRemoved(image=image_id, author=author))
        self.ledger.recover()  # its versions go once that is committed
        logger.info("removed image %s", image_id)

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Keep a label, replacing the one of the same image and tag; see `LabelSaver.save`."""
        tag, source = tag_text(label_tag), Path(label_filename)
        if tag in MAP_TAGS:
            self.saver.save_map(image_id, source, tag, label_info or {})
        else:
            self.saver.save(image_id, source, tag, Submission(**(label_info or {})), None)
        return image_id

    def remove_label(self, label_id: str, label_tag: str, author: str | None = None) -> None:
        """Delete a label; its versions are kept.

        Args:
            label_id: Id of its image.
            label_tag: Which of its labels.
            author: User name, or None without authentication.

        Raises:
            LabelNotFoundException: There is none.
        """
        tag = tag_text(label_tag)
        with self.ledger.writing() as db:
            row = current_label(db, label_id, tag)
            if row is None:
                raise LabelNotFoundException(f"Label {label_id} Tag {tag} not found")
            unseen = None
            if tag in MAP_TAGS:
                self.folder.label(tag, row["file"]).unlink(missing_ok=True)
            else:
                suffix = row["file"].removeprefix(label_id)
                unseen = self.ledger.unseen_label(db, label_id, tag, suffix)
            entry = LabelRemoved(image=label_id, tag=tag, author=author)
            self.ledger.carry_out(db, *([] if unseen is None else [unseen]), entry)

    def update_image_info(
        self, image_id: str, info: dict[str, Any], author: str | None = None
    ) -> None:
        """Store more with an image.

        Args:
            image_id: Of the image.
            info: Fields to add or replace.
            author: User name, or None without authentication.

        Raises:
            ImageNotFoundException: There is none of this id.
        """
        with self.ledger.writing() as db:
            if image_row(db, image_id) is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            self.ledger.carry_out(db, ImageInfo(image=image_id, info=info, author=author))

    def update_label_info(
        self, label_id: str, label_tag: str, info: dict[str, Any], author: str | None = None
    ) -> None:
        """Store more with a label.

        Args:
            label_id: Id of its image.
            label_tag: Which of its labels.
            info: Fields to add or replace.
            author: User name, or None without authentication.

        Raises:
            LabelNotFoundException: There is none.
        """
        tag = tag_text(label_tag)
        with self.ledger.writing() as db:
            if current_label(db, label_id, tag) is None:
                raise LabelNotFoundException(f"Label: {label_id} Tag: {tag} not found")
            entry = LabelInfo(image=label_id, tag=tag, info=info, author=author)
            self.ledger.carry_out(db, entry)

    def set_aside(
        self,
        image_id: str,
        aside: Literal["skipped", "flagged"] | None,
        reason: str,
        client_id: str | None = None,
        author: str | None = None,
    ) -> None:
        """Take an image out of the pool, or (None) back into it; a lease on it ends.

        Args:
            image_id: Of the image.
            aside: How.
            reason: Why.
            client_id: Which client asked.
            author: User name, or None without authentication.

        Raises:
            UnknownNameError: No image has this id.
        """
        with self.ledger.writing() as db:
            number = self._known(db, image_id)["number"]
            db.execute("DELETE FROM leases WHERE image = ?", (number,))
            entry = AsideEntry(
                image=image_id, aside=aside, note=reason, client_id=client_id, author=author
            )
            self.ledger.carry_out(db, entry)

    def take_back(
        self,
        image_id: str,
        aside: Literal["skipped", "flagged"],
        client_id: str | None = None,
        author: str | None = None,
    ) -> None:
        """Undo a skip or a flag: the image is in the pool again. Twice is the same.

        Args:
            image_id: Of the image.
            aside: What to undo.
            client_id: Which client asked.
            author: User name, or None without authentication.

        Raises:
            UnknownNameError: No image has this id.
            ConflictError: The image is set aside in the other way.
        """
        with self.ledger.writing() as db:
            row = self._known(db, image_id)
            if row["aside"] is None:
                return
            if row["aside"] != aside:
                raise ConflictError(
                    f"image {image_id[:80]!r} is {row['aside']}, not {aside}; undo that instead"
                )
            entry = AsideEntry(image=image_id, aside=None, client_id=client_id, author=author)
            self.ledger.carry_out(db, entry)

    def _known(self, db: sqlite3.Connection, image_id: str) -> sqlite3.Row:
        """The row of an image that is there."""
        row = image_row(db, image_id)
        if row is None:
            raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
        return row
