"""Which files of a studies folder are images, and what they are called.

An image is a file of a format that we read, in the folder or below it, unless

* it or a folder above it is hidden (its name begins with a dot), or it is in `labels/` of the
  studies folder, where MONAI Label keeps labels;
* a folder above it or its own name is that of annotations, see `lfusion.image.annotations`;
* it is a link to something outside the studies folder, or its name is no valid Unicode.

Its id is MONAI Label's: the file name without suffix. A file below a subfolder gets
`folder--name`. Where that is taken (`a.png` and `a.jpg`) it is the whole file name, and where
that is taken or no allowed id, a part of it with a hash of the path. An id that was given is kept
(see `journal`), whatever files come and go beside it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from lfusion.image.annotations import (
    PassedOver,
    is_annotation_file,
    is_annotation_folder,
    is_image,
    may_be_image,
)
from lfusion.image.formats import suffix_of
from monailabel_app.lib.errors import InvalidNameError
from monailabel_app.lib.names import check_image_id

logger = logging.getLogger(__name__)

LABELS_FOLDER = "labels"
MASKS_FOLDER = "masks"
_LABEL_FOLDERS = (LABELS_FOLDER, MASKS_FOLDER)
"""Of the studies folder, which are looked through for labels."""

Report = Callable[[PassedOver], None]
"""Hears of each file and folder that is passed over."""


@dataclass(frozen=True)
class FoundFile:
    """A file and what changes when its content does.

    Attributes:
        path: Below the folder that was looked through, with slashes.
        size: Bytes.
        mtime_ns: Time of the last change.
    """

    path: str
    size: int
    mtime_ns: int


def find_images(root: Path, report: Report = lambda _: None) -> Iterator[FoundFile]:
    """All images of a studies folder, by the rules above.

    Args:
        root: The folder, resolved.
        report: Hears of annotations beside images, and of folders of annotations.

    Yields:
        Images, folder by folder in the order of their names.
    """
    yield from _find(root, "", report)


def find_image(root: Path, path: str) -> FoundFile | None:
    """One image, if there is one by the rules above.

    Args:
        root: The studies folder, resolved.
        path: Below it, with slashes.

    Returns:
        None when there is no such file or it is no image.
    """
    *folders, name = PurePosixPath(path).parts
    above = ["", *("/".join(folders[: n + 1]) for n in range(len(folders)))]
    if not all(_may_enter(parent, folder) for parent, folder in zip(above, folders, strict=False)):
        return None
    file = root / path
    if not is_image_name(name) or any((root / part).is_symlink() for part in above[1:]):
        return None
    found = found_file(root, file, path)
    return found if found is not None and is_image(file) else None


def is_image_name(name: str) -> bool:
    """Whether a file of this name can be an image; without a known suffix its content decides.

    Example:
        >>> is_image_name("010_HC.PNG"), is_image_name("010_HC_Annotation.png")
        (True, False)
    """
    return may_be_image(name) and _is_text(name)


def found_file(root: Path, file: Path, path: str) -> FoundFile | None:
    """A regular file that lies inside the folder, links followed.

    Args:
        root: The folder, resolved.
        file: What to look at.
        path: Its name in the result.

    Returns:
        None when it is missing, no file, or leads out of the folder.
    """
    try:
        if file.is_symlink() and not file.resolve(strict=True).is_relative_to(root):
            logger.warning("%s is not used: it is a link out of the folder; copy the file", path)
            return None
        status = file.stat()
    except (OSError, RuntimeError):  # missing, or links in a circle
        return None
    return FoundFile(path, status.st_size, status.st_mtime_ns) if file.is_file() else None


def image_id_for(path: str, taken: Container[str]) -> str:
    """The id of a new image.

    Args:
        path: Of the file, below the studies folder.
        taken: Ids of other images.

    Returns:
        The first of the three forms above that is allowed and free.

    Example:
        >>> image_id_for("a.png", ()), image_id_for("a.png", {"a"}), image_id_for("b/a.png", ())
        ('a', 'a.png', 'b--a')
    """
    pure = PurePosixPath(path)
    full = "--".join(pure.parts)
    stem = full[: len(full) - len(suffix_of(Path(path)))]
    for candidate in (stem, full):
        try:
            check_image_id(candidate)
        except InvalidNameError:
            continue
        if candidate not in taken:
            return candidate
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", stem).lstrip(".")
    return f"{plain[:100]}-{sha256(os.fsencode(path)).hexdigest()[:16]}"


def _may_enter(parent: str, name: str) -> bool:
    """Whether a folder may hold images."""
    if name.startswith(".") or (not parent and name == LABELS_FOLDER):
        return False
    return _is_text(name) and not is_annotation_folder(name)


def _is_text(name: str) -> bool:
    """Whether a name can be stored and sent: bytes that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _find(root: Path, parent: str, report: Report) -> Iterator[FoundFile]:
    """Images in one folder, then those below it."""
    try:
        with os.scandir(root / parent) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        logger.warning("the folder %s is not looked through: %s", parent or ".", error)
        return
    folders: list[str] = []
    for entry in ordered:
        path = f"{parent}/{entry.name}" if parent else entry.name
        if entry.is_dir(follow_symlinks=False):
            if _may_enter(parent, entry.name):
                folders.append(path)
            elif is_annotation_folder(entry.name) and path not in _LABEL_FOLDERS:
                report(PassedOver(f"{path}/", "a folder of annotations"))
        elif not is_image_name(entry.name):
            if is_annotation_file(entry.name) and not entry.name.startswith("."):
                report(PassedOver(path, "an annotation by its name"))
        elif entry.is_symlink():
            found = found_file(root, Path(entry.path), path)
            if found is not None and is_image(Path(entry.path)):
                yield found
        elif entry.is_file(follow_symlinks=False) and is_image(Path(entry.path)):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield FoundFile(path, status.st_size, status.st_mtime_ns)
    for folder in folders:
        yield from _find(root, folder, report)
