"""Names of images and annotations: one rule for the command line and the server.

A file is an annotation, never an image, when

* its name without suffix is or ends in _mask, _label, _annotation, _segmentation, _seg or _gt (or
  the plural; also with a hyphen), which leaves out HC18's `*_Annotation.png`;
* it ends in `.seg.nrrd`, a segmentation of 3D Slicer.

A folder holds annotations when it is called mask, label, annotation, segmentation or gt (or the
plural). Hidden files and folders are neither. A file without a known suffix is an image when its
content is DICOM.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lfusion.errors import DatasetError
from lfusion.image.decode import is_image_file
from lfusion.image.formats import (
    IMAGE_SUFFIXES,
    MASK_SUFFIXES,
    SEGMENTATION_SUFFIX,
    stem_of,
    suffix_of,
)

_WORDS = "(mask|label|annotation|segmentation|gt)s?"
_ANNOTATION_FILE = re.compile(rf"(^|.*[_-])({_WORDS}|seg)", re.IGNORECASE)
_ANNOTATION_FOLDER = re.compile(_WORDS, re.IGNORECASE)
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "dicomdir")
_EXAMPLES = 3


@dataclass(frozen=True)
class PassedOver:
    """A file or folder that was not read.

    Attributes:
        path: As a user finds it, below the folder that was read.
        reason: Why it was left out.
    """

    path: str
    reason: str


def is_annotation_file(name: str) -> bool:
    """Whether a file of this name is an annotation by the rule above.

    Example:
        >>> is_annotation_file("010_HC_Annotation.png"), is_annotation_file("scan.seg.nrrd")
        (True, True)
        >>> is_annotation_file("010_HC.png"), is_annotation_file("segmented_head.png")
        (False, False)
    """
    path = Path(name)
    if suffix_of(path) == SEGMENTATION_SUFFIX:
        return True
    return _ANNOTATION_FILE.fullmatch(stem_of(path)) is not None


def is_annotation_folder(name: str) -> bool:
    """Whether a folder of this name holds annotations by the rule above."""
    return _ANNOTATION_FOLDER.fullmatch(name) is not None


def may_be_image(name: str) -> bool:
    """Whether a file of this name can be an image; without a known suffix its content decides."""
    if name.startswith(".") or name.lower() in _SYSTEM_FILES or is_annotation_file(name):
        return False
    return suffix_of(Path(name)) in ("", *IMAGE_SUFFIXES)


def is_image(path: Path) -> bool:
    """Whether a file is an image: by its name, or without a known suffix by its content.

    Args:
        path: An existing file; it is opened only when its name has no known suffix.
    """
    return may_be_image(path.name) and is_image_file(path)


def image_files(folder: Path) -> tuple[dict[str, Path], list[PassedOver]]:
    """The images of a folder by id, and what was left out; folders in it are not entered.

    Args:
        folder: An existing folder.

    Returns:
        Paths by id, sorted; the id is the name without suffix. And all other files and folders
        that are not hidden.

    Raises:
        DatasetError: If two images have the same id.
    """
    found: dict[str, Path] = {}
    passed: list[PassedOver] = []
    for path in _visible(folder):
        where = f"{folder.name}/{path.name}"
        if path.is_dir():
            passed.append(PassedOver(f"{where}/", "a folder in the folder of images"))
        elif is_annotation_file(path.name):
            passed.append(PassedOver(where, "an annotation by its name"))
        elif is_image(path):
            _add(found, path)
        else:
            passed.append(PassedOver(where, "not an image format that can be read"))
    return dict(sorted(found.items())), passed


def mask_files(folder: Path) -> tuple[dict[str, Path], list[PassedOver]]:
    """The masks of a folder by id, and what was left out.

    Args:
        folder: An existing folder.

    Returns:
        As `image_files`.

    Raises:
        DatasetError: If two masks have the same id.
    """
    found: dict[str, Path] = {}
    passed: list[PassedOver] = []
    for path in _visible(folder):
        where = f"{folder.name}/{path.name}"
        if path.is_dir():
            passed.append(PassedOver(f"{where}/", "a folder in the folder of masks"))
        elif suffix_of(path) in MASK_SUFFIXES:
            _add(found, path)
        else:
            kind = path.suffix or "a file without suffix"
            passed.append(PassedOver(where, f"{kind} does not keep class numbers; save PNG"))
    return dict(sorted(found.items())), passed


def notice(passed: Sequence[PassedOver]) -> str | None:
    """One line that names what was passed over.

    Args:
        passed: Files and folders that were not read.

    Returns:
        Their number, the reasons with examples; None when nothing was passed over.

    Example:
        >>> notice([PassedOver("masks/a.jpg", "not lossless")])
        '1 left out: masks/a.jpg (not lossless)'
    """
    if not passed:
        return None
    reasons: dict[str, list[str]] = {}
    for item in passed:
        reasons.setdefault(item.reason, []).append(item.path)
    parts = (f"{_some(paths)} ({reason})" for reason, paths in reasons.items())
    return f"{len(passed)} left out: {'; '.join(parts)}"


def _some(paths: Sequence[str]) -> str:
    """The first paths, and how many more there are."""
    more = len(paths) - _EXAMPLES
    return ", ".join(paths[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def _visible(folder: Path) -> Iterator[Path]:
    """Files and folders in order, without hidden ones and those of the operating system."""
    for path in sorted(folder.iterdir()):
        if not path.name.startswith(".") and path.name.lower() not in _SYSTEM_FILES:
            yield path


def _add(found: dict[str, Path], path: Path) -> None:
    """Add a file under its id."""
    name = stem_of(path)
    if name in found:
        raise DatasetError(
            f"{path.parent}: expected one file for each id, got {found[name].name} and "
            f"{path.name}; remove or rename one"
        )
    found[name] = path
