"""The one decoder: every way from the bytes of a file to pixels begins here.

The format is recognised by content, its parser reads the header and checks the limits, and the
same parser decodes what it has parsed. Command line, server and viewer all come through
`open_image`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lfusion.errors import ImageError
from lfusion.image.dicom import parse_dicom
from lfusion.image.dicom_header import is_dicom
from lfusion.image.formats import FORMATS, IMAGE_SUFFIXES, Format, suffix_of
from lfusion.image.metaimage import parse_metaimage
from lfusion.image.nifti import parse_nifti
from lfusion.image.nrrd import parse_nrrd
from lfusion.image.parsed import ParsedImage
from lfusion.image.pictures import parse_picture
from lfusion.image.tiff import parse_tiff

_PARSERS: dict[Format, Callable[[BinaryIO], ParsedImage]] = {
    Format.PNG: parse_picture,
    Format.JPEG: parse_picture,
    Format.BMP: parse_picture,
    Format.TIFF: parse_tiff,
    Format.DICOM: parse_dicom,
    Format.NIFTI: parse_nifti,
    Format.METAIMAGE: parse_metaimage,
    Format.NRRD: parse_nrrd,
}
_DICOM_DIRECTORY = "DICOMDIR"
_HEAD_BYTES = 1024
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"\xff\xd8\xff", Format.JPEG),
    (b"II*\0", Format.TIFF),
    (b"MM\0*", Format.TIFF),
    (b"II+\0", Format.TIFF),
    (b"MM\0+", Format.TIFF),
    (b"NRRD000", Format.NRRD),
    (b"BM", Format.BMP),
)
_GZIP = b"\x1f\x8b"
_NIFTI_MAGIC = ((348, 344, (b"n+1\0", b"ni1\0")), (540, 4, (b"n+2\0", b"ni2\0")))
"""Length of the header, position and values of the magic, of NIfTI-1 and NIfTI-2."""


@contextmanager
def open_image(path: Path) -> Iterator[ParsedImage]:
    """Open a file and parse its header.

    Args:
        path: The file.

    Yields:
        The parsed file, within the limits; its pixels are decoded inside the block.

    Raises:
        ImageError: The file cannot be opened, is of no known format, or is damaged. An error
            that the block raises gets the path as well.
        TooLargeError: Decoding it would exceed the limits.
    """
    with _open(path) as file:
        try:
            form = format_of(file, path.name)
            if form is None:
                raise ImageError(_unknown(path))
            yield _PARSERS[form](file)
        except ImageError as error:
            if error.path is not None:
                raise
            raise type(error)(error.reason, path) from error


def format_of(file: BinaryIO, name: str) -> Format | None:
    """Recognise the format of a file by its content.

    Args:
        file: The open file; its position is at the start afterwards.
        name: Of the file. Its suffix decides only where the content fits several formats, and for
            MetaImage, whose text has no signature. A name without a known suffix is that of a
            DICOM file or of none.

    Returns:
        None when the content is of no format that can be read.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    named = FORMATS.get(suffix_of(Path(name)))
    found = [form for signature, form in _SIGNATURES if head.startswith(signature)]
    if _is_nifti(head, named is Format.NIFTI):
        found.append(Format.NIFTI)
    if is_dicom(file):
        # Some writers put a TIFF header into the preamble of a DICOM file.
        found.insert(0, Format.DICOM)
    file.seek(0)
    if named is None:
        return Format.DICOM if Format.DICOM in found else None
    if named in found:
        return named
    if found:
        return found[0]
    return named if named is Format.METAIMAGE and b"=" in head else None


def is_image_file(path: Path) -> bool:
    """Whether a file is an image by its name, or a DICOM file by its content.

    Args:
        path: The file; it is opened only when its name has no known suffix.
    """
    suffix = suffix_of(path)
    if suffix:
        return suffix in IMAGE_SUFFIXES
    if path.name == _DICOM_DIRECTORY or not path.is_file():  # opening a pipe would wait
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file)
    except OSError:
        return False


def _open(path: Path) -> BinaryIO:
    """Open a file for reading, with errors in the user's words.

    Args:
        path: The file.

    Raises:
        ImageError: It is missing, a folder, empty, or may not be read.
    """
    try:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "a device or a pipe"
            found = kind if path.exists() else "no such file"
            raise ImageError(f"expected a file, found {found}; check the path", path)
        file = path.open("rb")
    except OSError as error:
        reason = f"the file cannot be opened: {error.strerror}; check its permissions"
        raise ImageError(reason, path) from error
    if not file.read(1):
        file.close()
        raise ImageError("the file is empty; copy it again from its source", path)
    file.seek(0)
    return file


def _unknown(path: Path) -> str:
    """Reason why a file is of no format that can be read."""
    suffix = suffix_of(path)
    if suffix:
        return (
            f"its name ends in {suffix}, but its content is no {FORMATS[suffix]} file and of no "
            "other format that can be read; export it again"
        )
    return (
        f"expected a file name that ends in {', '.join(IMAGE_SUFFIXES)}, or a DICOM file of any "
        f"name, got {path.suffix or 'no suffix'}; convert the file"
    )


def _is_nifti(head: bytes, named: bool) -> bool:
    """Whether a header of NIfTI-1 or NIfTI-2 begins here, packed with gzip or not.

    Args:
        head: First bytes of the file.
        named: Whether the file has the suffix of NIfTI; its parser then checks the magic.
    """
    if head.startswith(_GZIP):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _HEAD_BYTES)
        except zlib.error:
            return False
    if len(head) < 4:
        return False
    lengths = struct.unpack_from("<i", head) + struct.unpack_from(">i", head)
    return any(
        length in lengths and (named or head[place : place + 4] in magics)
        for length, place, magics in _NIFTI_MAGIC
    )
