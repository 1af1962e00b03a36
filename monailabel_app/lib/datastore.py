"""The studies folder as a MONAI Label datastore that keeps what it acknowledged.

The layout on disk is MONAI Label's own (`STUDIES/ID.png`,
`STUDIES/labels/final/ID.png`, `STUDIES/datastore_v2.json`). What differs: ids
and tags are validated before a path is built, label files and the index are
replaced atomically, a label is checked against its image before it replaces
anything, and all access within the process is serialised, because the stock
class clears its index while other threads read it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore
from watchdog.events import FileSystemEvent

from lfusion.image.formats import IMAGE_SUFFIXES, suffix_of
from lfusion.image.read import read_size
from lfusion.image.write import atomic_path
from lfusion.protocol import MAP_TAGS
from monailabel_app.lib.errors import ConflictError, LabelError, UnknownNameError
from monailabel_app.lib.labels import read_label
from monailabel_app.lib.names import check_image_id, check_tag

logger = logging.getLogger(__name__)


def _synchronised(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, run under the datastore's lock."""

    @wraps(method)
    def locked(self: StudiesDatastore, *args: Any, **kwargs: Any) -> Any:
        with self._mutex:
            return method(self, *args, **kwargs)

    return locked


class StudiesDatastore(LocalDatastore):  # type: ignore[misc]  # MONAI Label has no types
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
        self._mutex = threading.RLock()
        self._labels = labels
        patterns = [
            f"*{case(suffix)}" for suffix in IMAGE_SUFFIXES for case in (str.lower, str.upper)
        ]
        super().__init__(studies, extensions=patterns, auto_reload=auto_reload, read_only=read_only)

    datalist = _synchronised(LocalDatastore.datalist)
    get_image_info = _synchronised(LocalDatastore.get_image_info)
    get_image_uri = _synchronised(LocalDatastore.get_image_uri)
    get_label_info = _synchronised(LocalDatastore.get_label_info)
    get_label_uri = _synchronised(LocalDatastore.get_label_uri)
    get_labeled_images = _synchronised(LocalDatastore.get_labeled_images)
    get_labels_by_image_id = _synchronised(LocalDatastore.get_labels_by_image_id)
    get_unlabeled_images = _synchronised(LocalDatastore.get_unlabeled_images)
    json = _synchronised(LocalDatastore.json)
    list_images = _synchronised(LocalDatastore.list_images)
    refresh = _synchronised(LocalDatastore.refresh)
    remove_image = _synchronised(LocalDatastore.remove_image)
    remove_label = _synchronised(LocalDatastore.remove_label)
    status = _synchronised(LocalDatastore.status)
    update_image_info = _synchronised(LocalDatastore.update_image_info)
    update_label_info = _synchronised(LocalDatastore.update_label_info)
    _init_from_datastore_file = _synchronised(LocalDatastore._init_from_datastore_file)

    def image_path(self, image_id: str) -> Path:
        """The file of an image.

        Args:
            image_id: As clients name it.

        Returns:
            An absolute path.

        Raises:
            UnknownNameError: No image of the folder has this id.
        """
        uri: str = self.get_image_uri(image_id)
        if not uri:
            raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
        return Path(uri)

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Copy a new image into the folder; see the base class.

        Raises:
            InvalidNameError: The id cannot be a file name.
            ConflictError: There is an image of this id; it and its labels stay.
        """
        stem, suffix = self._to_id(Path(image_filename).name)
        image_id = check_image_id(image_id or stem)
        name = f"{image_id}{suffix}"
        with self._mutex, FileLock(self._lock_file):
            if image_id in self._datastore.objects:
                raise ConflictError(
                    f"expected the id of a new image; {image_id!r} exists; choose another id or "
                    "delete that image first"
                )
            with atomic_path(Path(self._datastore.image_path()) / name) as temporary:
                shutil.copyfile(image_filename, temporary)
            info = {**(image_info or {}), "ts": int(time.time()), "name": name}
            self._datastore.objects[image_id] = ImageLabelModel(
                image=DataModel(info=info, ext=suffix)
            )
            self._update_datastore_file(lock=False)
        return image_id

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]
    ) -> str:
        """Keep a label, replacing the one of the same image and tag; see the base class.

        Raises:
            UnknownNameError: No image has this id.
            InvalidNameError: The tag cannot be a folder name.
            LabelError: The file is no label of this image; nothing was changed.
        """
        image = self.image_path(image_id)
        tag = check_tag(str(getattr(label_tag, "value", label_tag)))
        info = label_info or {}
        source = Path(label_filename)
        if tag not in MAP_TAGS:
            self._check_label(source, image, info)
        with self._mutex:
            self._put_label(image_id, source, tag, {**info, "ts": int(time.time())})
        logger.info("saved label %s of image %s", tag, image_id)
        return image_id

    def _check_label(self, label: Path, image: Path, info: Mapping[str, Any]) -> None:
        """Refuse a label that could not be learned from."""
        mask = read_label(label, info.get("label_info"), self._labels())
        expected = read_size(image)
        if mask.shape != expected:
            raise LabelError(
                f"expected a label of the image's size, {expected[0]} x {expected[1]} pixels "
                f"(height x width); got {mask.shape[0]} x {mask.shape[1]}; save the label on the "
                "image's own grid"
            )

    def _put_label(self, image_id: str, source: Path, tag: str, info: dict[str, Any]) -> None:
        """Replace file and index entry of one label; the lock is held."""
        entry = self._datastore.objects.get(image_id)
        if entry is None:
            raise UnknownNameError(f"image {image_id!r} was removed meanwhile")
        folder = Path(self._datastore.label_path(tag))
        _, suffix = self._to_id(source.name)
        folder.mkdir(parents=True, exist_ok=True)
        previous = entry.labels.get(tag)
        with FileLock(self._lock_file):
            with atomic_path(folder / f"{image_id}{suffix}") as temporary:
                shutil.copyfile(source, temporary)
            info = {**info, "name": f"{image_id}{suffix}"}
            entry.labels[tag] = DataModel(info=info, ext=suffix)
            self._update_datastore_file(lock=False)
        if previous is not None and previous.ext != suffix:
            (folder / f"{image_id}{previous.ext}").unlink(missing_ok=True)

    def _list_files(self, path: str, patterns: Sequence[str]) -> dict[str, str]:
        """Files of the folder that match, without hidden ones (`._x.png` of macOS)."""
        files: dict[str, str] = super()._list_files(path, patterns)
        return {name: file for name, file in files.items() if not name.startswith(".")}

    def _on_any_event(self, event: FileSystemEvent) -> None:
        """Look at the folder again, unless the file is hidden: one that is being written."""
        if not Path(os.fsdecode(event.src_path)).name.startswith("."):
            super()._on_any_event(event)

    def _to_id(self, file: str) -> tuple[str, str]:
        """Stem and suffix, the suffix as it is written and `.nii.gz` as one."""
        length = len(suffix_of(Path(file)))
        return (file[:-length], file[-length:]) if length else (file, "")

    def _update_datastore_file(self, lock: bool = True) -> None:
        """Replace the index as one atomic step, so that a crash leaves the old or the new."""
        if lock:
            with self._mutex, FileLock(self._lock_file):
                self._update_datastore_file(lock=False)
            return
        index = Path(self._datastore_config_path)
        content = self._datastore.model_dump(exclude={"base_path"})
        with atomic_path(index) as temporary:
            temporary.write_text(json.dumps(content, indent=2, default=str), encoding="utf-8")
        self._config_ts = index.stat().st_mtime
