"""File suffixes, and what every reader and writer does around its library."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lfusion.errors import ImageError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom")
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
IMAGE_SUFFIXES = PICTURE_SUFFIXES + DICOM_SUFFIXES + VOLUME_SUFFIXES
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", *VOLUME_SUFFIXES)
"""The formats that keep class numbers: no lossy JPEG, no DICOM with its grey scale transforms."""

_LIBRARIES = threading.Lock()


def suffix_of(path: Path) -> str:
    """The suffix in lower case, `.nii.gz` as one.

    Example:
        >>> suffix_of(Path("Case.1.NII.GZ")), suffix_of(Path("a.b.PNG"))
        ('.nii.gz', '.png')
    """
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The file name without its suffix.

    Example:
        >>> stem_of(Path("Case.1.NII.GZ"))
        'Case.1'
    """
    return path.name.removesuffix(path.name[len(path.name) - len(suffix_of(path)) :])


def check_readable(path: Path, suffixes: tuple[str, ...]) -> str:
    """Check that there is something to read before a library words the problem in its own way.

    Args:
        path: The file.
        suffixes: The suffixes that the caller reads.

    Returns:
        The suffix in lower case.

    Raises:
        ImageError: For another suffix, and for a missing or empty file.
    """
    suffix = suffix_of(path)
    if suffix not in suffixes:
        raise ImageError(
            f"cannot read {path}: expected a file name that ends in {', '.join(suffixes)}, "
            f"got {suffix or 'no suffix'}; convert the file"
        )
    if not path.is_file():
        found = "a folder" if path.exists() else "no such file"
        raise ImageError(f"cannot read {path}: expected a file, found {found}; check the path")
    if path.stat().st_size == 0:
        raise ImageError(f"cannot read {path}: the file is empty; copy it again from its source")
    return suffix


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep the libraries' warnings away from the user while one file is read or written.

    They concern header details that do not change the pixels (unknown tags, padding); what does
    matter is checked by our readers and raised. The filters belong to the whole process, so a
    lock keeps two threads from restoring each other's state.
    """
    with _LIBRARIES, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
