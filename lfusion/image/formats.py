"""Names and suffixes of the file formats, and what every reader does around its library."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
DICOM_SUFFIXES = (".dcm", ".dicom")
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
SEGMENTATION_SUFFIX = ".seg.nrrd"
"""3D Slicer's segmentations: labels with named segments, never images."""
IMAGE_SUFFIXES = PICTURE_SUFFIXES + DICOM_SUFFIXES + VOLUME_SUFFIXES
MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", *VOLUME_SUFFIXES, SEGMENTATION_SUFFIX)
"""The formats that keep class numbers: no lossy JPEG, no DICOM with its grey scale transforms."""

_KNOWN_SUFFIXES = (SEGMENTATION_SUFFIX, *sorted(IMAGE_SUFFIXES, key=len, reverse=True))
_LIBRARIES = threading.Lock()


class Format(StrEnum):
    """A format that can be read."""

    PNG = "PNG"
    JPEG = "JPEG"
    BMP = "BMP"
    TIFF = "TIFF"
    DICOM = "DICOM"
    NIFTI = "NIfTI"
    METAIMAGE = "MetaImage"
    NRRD = "NRRD"


PICTURES = (Format.PNG, Format.JPEG, Format.BMP, Format.TIFF)
FORMATS = {
    ".png": Format.PNG,
    ".jpg": Format.JPEG,
    ".jpeg": Format.JPEG,
    ".bmp": Format.BMP,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".dcm": Format.DICOM,
    ".dicom": Format.DICOM,
    ".nii": Format.NIFTI,
    ".nii.gz": Format.NIFTI,
    ".mha": Format.METAIMAGE,
    ".mhd": Format.METAIMAGE,
    ".nrrd": Format.NRRD,
    SEGMENTATION_SUFFIX: Format.NRRD,
}


def suffix_of(path: Path) -> str:
    """The suffix of a known format in lower case, `.nii.gz` and `.seg.nrrd` as one.

    A name without one has none, whatever follows its last dot: DICOM files are often named by
    their UID.

    Example:
        >>> suffix_of(Path("Case.1.NII.GZ")), suffix_of(Path("a.b.PNG")), suffix_of(Path("1.2.840"))
        ('.nii.gz', '.png', '')
    """
    name = path.name.lower()
    return next((suffix for suffix in _KNOWN_SUFFIXES if name.endswith(suffix)), "")


def stem_of(path: Path) -> str:
    """The file name without the suffix of a known format.

    Example:
        >>> stem_of(Path("Case.1.NII.GZ")), stem_of(Path("1.2.840"))
        ('Case.1', '1.2.840')
    """
    return path.name[: len(path.name) - len(suffix_of(path))]


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
