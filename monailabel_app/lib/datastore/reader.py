"""All that is read of the studies, by MONAI Label's datastore interface and by us."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore

from lfusion.image.metadata import MetaRow
from monailabel_app.lib.datastore.folder import StudiesFolder
from monailabel_app.lib.datastore.ledger import current_label
from monailabel_app.lib.datastore.listing import (
    all_objects,
    image_info,
    image_row,
    label_info,
    labelled_pairs,
    tallies,
)
from monailabel_app.lib.datastore.metadata import StudiesMetadata
from monailabel_app.lib.errors import InvalidNameError, RequestError, UnknownNameError
from monailabel_app.lib.index import Index


class StudiesReader(Datastore):  # type: ignore[misc]  # MONAI Label has no types
    """What is in a local folder of images and their labels.

    Args:
        folder: The folder.
        index: Its index.
    """

    def __init__(self, folder: StudiesFolder, index: Index) -> None:
        self.folder = folder
        self.index = index
        self.metadata = StudiesMetadata(folder.root)

    def image_path(self, image_id: str) -> Path:
        """The file of an image.

        Args:
            image_id: As clients name it.

        Returns:
            An absolute path inside the folder.

        Raises:
            UnknownNameError: No image of the folder has this id.
        """
        with self.index.read() as db:
            row = image_row(db, image_id)
        if row is None:
            raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
        return self.folder.image(row["path"])

    def image_metadata(self, image_id: str) -> MetaRow:
        """What `meta.csv` says about an image; an empty row where it says nothing."""
        with self.index.read() as db:
            row = image_row(db, image_id)
        return MetaRow() if row is None else self.metadata.row(row["path"])

    # What follows is MONAI Label's interface; see its `Datastore` for each.

    def name(self) -> str:
        """The name that somebody gave to the studies."""
        return self._text("name", "new-dataset")

    def description(self) -> str:
        """What somebody said of the studies."""
        return self._text("description", "New Dataset")

    def datalist(self) -> list[dict[str, Any]]:
        """Image and final label of each labelled image, as absolute paths."""
        with self.index.read() as db:
            return labelled_pairs(db, self.folder)

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """Label id by tag."""
        with self.index.read() as db:
            rows = db.execute(
                "SELECT tag FROM labels JOIN images ON image = number WHERE id = ? AND present",
                (image_id,),
            ).fetchall()
        return {tag: image_id for (tag,) in rows}

    def get_label_by_image_id(self, image_id: str, tag: str) -> str:
        """The label id, or "" without a label of this tag."""
        return self.get_labels_by_image_id(image_id).get(tag_text(tag), "")

    def get_image(self, image_id: str, params: Any = None) -> io.BytesIO | None:
        """The content of an image file, or None when there is none."""
        uri = self.get_image_uri(image_id)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def get_image_uri(self, image_id: str) -> str:
        """The path of an image, or "" when there is none."""
        try:
            return str(self.image_path(image_id))
        except (UnknownNameError, InvalidNameError):
            return ""

    def get_label(self, label_id: str, label_tag: str, params: Any = None) -> io.BytesIO | None:
        """The content of a label file, or None when there is none."""
        uri = self.get_label_uri(label_id, label_tag)
        return io.BytesIO(Path(uri).read_bytes()) if uri else None

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """The path of a label, or "" when there is none."""
        tag = tag_text(label_tag)
        with self.index.read() as db:
            row = current_label(db, label_id, tag)
        return "" if row is None else str(self.folder.label(tag, row["file"]))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What clients stored with an image and `meta.csv` says of it, its score, and its path."""
        with self.index.read() as db:
            row = image_row(db, image_id)
            if row is None:
                return {}
            info = image_info(db, self.folder, row)
        known = self.metadata.row(row["path"])
        given = {
            "pixel_size_mm": known.pixel_size_mm and list(known.pixel_size_mm),
            "group": known.group,
            "split": known.split,
        }
        return {**{key: value for key, value in given.items() if value is not None}, **info}

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What clients stored with a label."""
        with self.index.read() as db:
            row = current_label(db, label_id, tag_text(label_tag))
            return {} if row is None else label_info(db, row)

    def get_labeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """The ids of the images with a final label."""
        return self._ids("state = 'labelled'")

    def get_unlabeled_images(
        self, label_tag: str | None = None, labels: list[str] | None = None
    ) -> list[str]:
        """The ids of the images without one."""
        return self._ids("state IN ('open', 'skipped', 'flagged')")

    def list_images(self) -> list[str]:
        """The ids of all images."""
        return self._ids("state <> 'gone'")

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """Refuse: the folder itself is the archive.

        Raises:
            RequestError: Always.
        """
        raise RequestError("the studies are not packed into one file; copy their folder")

    def status(self) -> dict[str, Any]:
        """How many images there are, and how many labels by tag."""
        with self.index.read() as db:
            return tallies(db)

    def json(self) -> dict[str, Any]:
        """All images and labels, in the form of MONAI Label's own index."""
        with self.index.read() as db:
            objects = all_objects(db, self.folder)
        return {
            "name": self.name(),
            "description": self.description(),
            "images_dir": ".",
            "labels_dir": "labels",
            "objects": objects,
        }

    def _ids(self, condition: str) -> list[str]:
        with self.index.read() as db:
            rows = db.execute(f"SELECT id FROM images WHERE {condition} ORDER BY path").fetchall()
        return [image_id for (image_id,) in rows]

    def _text(self, key: str, otherwise: str) -> str:
        with self.index.read() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return otherwise if row is None else str(row[0])


def tag_text(tag: str) -> str:
    """A tag as text; MONAI Label also passes members of an enumeration."""
    return str(getattr(tag, "value", tag))
