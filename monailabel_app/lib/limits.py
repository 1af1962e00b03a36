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


def check_upload(file: Path) -> None:
    """Refuse an image file that cannot be read, or is too large to be decoded.

    Args:
        file: As it was received.

    Raises:
        TooLargeError: Decoding it would exceed the limits.
        ImageError: The header is damaged, or the pixels lie in another file.
    """
    with open_image(file):
        pass
