"""How much one request may take: bytes on the wire, and memory once they are decoded.

A few kilobytes can describe an image of terabytes, so dimensions are read from the header before
anything is decoded, and compressed files are unpacked only up to a limit.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lfusion.errors import ImageError
from lfusion.image.formats import DICOM_SUFFIXES, PICTURE_SUFFIXES, quiet_libraries, suffix_of
from lfusion.image.read import open_volume, read_size
from monailabel_app.lib.errors import RequestError, TooLargeError

MEBIBYTE = 2**20
DEFAULT_UPLOAD_MIB = 512
"""A cine loop as DICOM may have hundreds; everything else is far smaller."""

MAX_JSON_BYTES = MEBIBYTE
"""Of a body that is no upload: as Python objects, JSON takes many times its length."""

MAX_PIXELS = 64 * 10**6
"""Of one image; ultrasound machines write about one million."""

MAX_CINE_PIXELS = 10**9
"""Of all frames of a loop: 1 000 frames of one million."""

_UNPACKED_BYTES = 8 * MAX_PIXELS + MEBIBYTE
_HEADER_BYTES = 64 * 1024
_BLANK_LINE = re.compile(rb"\n\r?\n")
_NRRD_DATA_FILE = re.compile(rb"^\s*data ?file\s*:", re.I | re.M)
_META_DATA_FILE = re.compile(rb"^\s*ElementDataFile\s*[=:]\s*(\S*)", re.I | re.M)


class BodyLimit:
    """Refuses a request whose body is too long, before or while it arrives.

    Args:
        app: What answers the others.
        upload_bytes: Of a form with files; other bodies get `MAX_JSON_BYTES`.
    """

    def __init__(self, app: ASGIApp, upload_bytes: int) -> None:
        self._app = app
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        is_form = headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data")
        limit = self._upload_bytes if is_form else MAX_JSON_BYTES
        said = headers.get(b"content-length", b"")
        passed = int(said) if said.isdigit() else 0

        async def counted() -> Message:
            nonlocal passed
            message = await receive()
            if not said:
                passed += len(message.get("body", b""))
            if passed > limit:
                raise HTTPException(413, f"expected a body of at most {limit} bytes; got more")
            return message

        await self._app(scope, counted, send)


def check_upload(file: Path, *, slices: bool = False) -> None:
    """Refuse an image file that names other files, or is too large to be decoded.

    Args:
        file: As it was received; the suffix says the format.
        slices: Whether a volume may have several: a label has one for each frame of a cine.

    Raises:
        TooLargeError: Its header gives, or it unpacks to, too much.
        RequestError: Its pixels are said to lie in another file.
        ImageError: The header is damaged.
    """
    suffix = suffix_of(file)
    if suffix == ".nii.gz":
        _check_unpacked(file)
    if suffix in (".mha", ".mhd", ".nrrd"):
        _check_attached(file)
    if suffix in DICOM_SUFFIXES:
        frames, height, width = _dicom_size(file)
    elif slices and suffix not in PICTURE_SUFFIXES:
        with open_volume(file) as parsed:
            layout = parsed.layout
            frames, height, width = layout.frames, layout.height, layout.width
    else:
        frames, height, width = (1, *read_size(file))
    if height * width > MAX_PIXELS or frames * height * width > MAX_CINE_PIXELS:
        raise TooLargeError(
            f"expected at most {MAX_PIXELS} pixels, and {MAX_CINE_PIXELS} in all frames; got "
            f"{frames} x {height} x {width}; send a smaller image"
        )


def _check_unpacked(file: Path) -> None:
    """Unpack into nowhere, up to the limit."""
    length = 0
    try:
        with gzip.open(file) as packed:
            while piece := packed.read(MEBIBYTE):
                length += len(piece)
                if length > _UNPACKED_BYTES:
                    raise TooLargeError(
                        f"expected a file of at most {_UNPACKED_BYTES} bytes when unpacked; got "
                        "more; send a smaller image"
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"expected a gzip file, got a damaged one ({error})") from error


def _check_attached(file: Path) -> None:
    """Refuse a header without pixels: they would be read from a file of the server."""
    with file.open("rb") as opened:
        content = opened.read(_HEADER_BYTES)
    if suffix_of(file) == ".nrrd":
        header, *pixels = _BLANK_LINE.split(content, maxsplit=1)
        attached = bool(pixels) and not _NRRD_DATA_FILE.search(header)
    else:
        named = _META_DATA_FILE.search(content)
        attached = named is not None and named[1].upper() == b"LOCAL"
    if not attached:
        raise RequestError(
            "expected header and pixels in one file; this header names another file, or has no end"
        )


def _dicom_size(file: Path) -> tuple[int, int, int]:
    """Frames, height and width."""
    try:
        with quiet_libraries():
            if read_file_meta_info(file).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                raise RequestError("expected a DICOM file that is not deflated; export it plainly")
            header = pydicom.dcmread(file, stop_before_pixels=True)
            frames = int(header.get("NumberOfFrames") or 1)
            return frames, int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    except (InvalidDicomError, OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise ImageError(f"expected a DICOM file, got a damaged or other one ({error})") from error
