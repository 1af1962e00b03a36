"""JPEG: markers, sizes and colour parsed here, the checked stream decoded by libjpeg-turbo."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import limits
from lfusion.image.image import Geometry
from lfusion.image.limits import PixelLayout, check_decoded_bytes, read_exactly
from lfusion.image.orientation import UPRIGHT, exif_orientation, upright, upright_size
from lfusion.image.parsed import ParsedImage

START = b"\xff\xd8"
MAX_SCANS = 100
"""Progressive JPEG has about ten; a decoder reads the whole picture again for each."""

_END = b"\xff\xd9"
_SOF_DECODED = (0xC0, 0xC1, 0xC2)
_PROGRESSIVE = 0xC2
_SOF_REFUSED = {
    0xC3: "lossless",
    0xC5: "hierarchical",
    0xC6: "hierarchical",
    0xC7: "lossless hierarchical",
    0xC9: "arithmetic-coded",
    0xCA: "arithmetic-coded",
    0xCB: "lossless arithmetic-coded",
    0xCD: "arithmetic-coded",
    0xCE: "arithmetic-coded",
    0xCF: "lossless arithmetic-coded",
    0xCC: "arithmetic-coded",
    0xDE: "hierarchical",
    0xDF: "hierarchical",
    0xF7: "JPEG-LS",
}
_DHT, _DQT, _DRI, _SOS, _DNL, _EOI = 0xC4, 0xDB, 0xDD, 0xDA, 0xDC, 0xD9
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_MARKER_IN_SCAN = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])", re.DOTALL)
_COEFFICIENTS = 64
# Sampling factors of luma and of both chroma components that the decoder knows, as in the stream.
_SAMPLINGS = frozenset(
    {
        *((0x11, 0x11), (0x12, 0x12), (0x13, 0x13), (0x21, 0x21), (0x31, 0x31)),
        *((0x21, 0x11), (0x12, 0x11), (0x22, 0x11), (0x41, 0x11), (0x14, 0x11)),
        *((0x22, 0x12), (0x22, 0x21)),
    }
)
_DAMAGED = "the picture was damaged or cut off: copy it again from its source"


@dataclass
class JpegStream:
    """One JPEG picture whose markers were parsed.

    Attributes:
        height: Rows.
        width: Columns.
        components: Identifiers of the colour components.
        progressive: Whether several scans refine the picture.
        segments: What a decoder needs, in order: tables, frame header, scans.
        scans: Number of scans.
        jfif: Whether the stream says that it is JFIF, so grey or YCbCr.
        adobe_transform: Colour transform that Adobe's marker names: 0 none, 1 YCbCr, 2 YCCK.
        orientation: 1 to 8, from EXIF.
        pictures: Number of pictures in the file that the stream announces.
    """

    height: int = 0
    width: int = 0
    components: bytes = b""
    progressive: bool = False
    segments: list[bytes] = field(default_factory=list)
    scans: int = 0
    jfif: bool = False
    adobe_transform: int | None = None
    orientation: int = UPRIGHT
    pictures: int = 1

    @property
    def layout(self) -> PixelLayout:
        """Size of the picture as stored."""
        return PixelLayout(1, self.height, self.width, len(self.components), np.dtype(np.uint8))

    def is_ycbcr(self, otherwise: bool = True) -> bool:
        """Tell whether three components are YCbCr and not RGB, by the stream's own markers.

        Args:
            otherwise: Answer where neither JFIF nor Adobe's marker tells.

        Returns:
            As libjpeg, and so every viewer, decides.
        """
        if self.jfif:
            return True
        if self.adobe_transform is not None:
            return self.adobe_transform != 0
        return otherwise and self.components != b"RGB"

    def decode(self, ycbcr: bool | None = None) -> NDArray[Any]:
        """Decode the picture.

        Args:
            ycbcr: Whether three components are YCbCr; None: what the markers tell.

        Returns:
            [height, width] or [height, width, 3] of uint8, not turned.

        Raises:
            ImageError: The scans are incomplete or damaged.
        """
        colour = len(self.components) == 3
        transform = int(self.is_ycbcr() if ycbcr is None else ycbcr)
        adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform]) if colour else b""
        content = b"".join((START, adobe, *self.segments, _END))
        try:
            pixels = simplejpeg.decode_jpeg(content, "RGB" if colour else "GRAY", strict=True)
        except ValueError as error:
            raise ImageError(
                f"the JPEG stream is incomplete or contradicts itself; {_DAMAGED}"
            ) from error
        decoded: NDArray[Any] = pixels if colour else pixels[..., 0]
        assert decoded.shape[:2] == (self.height, self.width)
        return decoded


class JpegImage(ParsedImage):
    """A JPEG picture of 8 bits, grey or colour."""

    format = "JPEG"
    lossless = False

    def __init__(self, stream: JpegStream) -> None:
        self._stream = stream
        height, width = upright_size(stream.height, stream.width, stream.orientation)
        self.layout = PixelLayout(1, height, width, len(stream.components), np.dtype(np.uint8))
        self.geometry = Geometry.grid()

    def stored(self) -> NDArray[Any]:
        """Refuse: class numbers do not survive the compression."""
        raise_lossy()

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """See `ParsedImage.shown`."""
        return upright(self._stream.decode(), self._stream.orientation)[None]


def raise_lossy() -> NoReturn:
    """Refuse to take class numbers from a JPEG stream.

    Raises:
        ImageError: Always.
    """
    raise ImageError(
        "expected a mask of class numbers, got a lossy JPEG, which changes them; "
        "save the mask as PNG"
    )


def parse_jpeg(file: BinaryIO) -> JpegImage:
    """Parse the markers of a JPEG file.

    Colour profiles are not used. EXIF orientation is.

    Args:
        file: A JPEG file; stays open.

    Returns:
        The picture.

    Raises:
        ImageError: The file is cut off, of a kind that is not read, or holds several pictures.
        TooLargeError: The picture exceeds the limits.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    stream = parse_jpeg_stream(read_exactly(file, size))
    if stream.pictures > 1:
        raise ImageError(
            f"expected one image, got a file of {stream.pictures} pictures; "
            "save the picture as its own file"
        )
    return JpegImage(stream)


def parse_jpeg_stream(content: bytes, tables: bytes = b"") -> JpegStream:
    """Parse the markers of one JPEG stream, and check its size and its scans.

    Args:
        content: From the start marker on; what follows the end marker is ignored.
        tables: A stream of tables that come before, as TIFF shares them; may be empty.

    Returns:
        The stream, ready to decode.

    Raises:
        ImageError: The stream is cut off or of a kind that is not read.
        TooLargeError: The picture, or the work to decode it, exceeds the limits.
    """
    stream = JpegStream()
    precision = _Precision()
    if tables:
        _parse_segments(tables, stream, precision)
    _parse_segments(content, stream, precision)
    if not stream.components or not stream.scans:
        raise ImageError(f"the JPEG stream holds no pixel data; {_DAMAGED}")
    precision.check(stream)
    return stream


class _Precision:
    """Lowest bit of every coefficient that the scans have given so far."""

    def __init__(self) -> None:
        self.missing: dict[int, list[int | None]] = {}

    def add(self, components: bytes, first: int, last: int, low: int) -> None:
        """Record the coefficients of one scan."""
        for component in components:
            known = self.missing.setdefault(component, [None] * _COEFFICIENTS)
            known[first : last + 1] = [low] * (last + 1 - first)

    def check(self, stream: JpegStream) -> None:
        """Refuse a picture that decodes to a blurred one, for its last scans are missing."""
        for component in stream.components:
            known = self.missing.get(component, [None])
            if any(low != 0 for low in known):
                raise ImageError(
                    f"the JPEG stream lacks scans: a part of the picture is not stored; {_DAMAGED}"
                )


def _parse_segments(content: bytes, stream: JpegStream, precision: _Precision) -> None:
    if not content.startswith(START):
        raise ImageError(f"the JPEG stream has no start mark; {_DAMAGED}")
    position = len(START)
    while True:
        marker, position = _marker(content, position)
        if marker == _EOI:
            return
        if marker in _SOF_REFUSED:
            raise ImageError(
                f"the picture is {_SOF_REFUSED[marker]} JPEG, which is not read; "
                "save it as PNG or baseline JPEG"
            )
        body = _segment(content, position)
        segment = bytes([0xFF, marker]) + content[position : position + 2] + body
        position += 2 + len(body)
        if marker in _SOF_DECODED:
            _parse_frame(body, stream, marker)
        elif marker == _SOS:
            end = _scan_end(content, position)
            _parse_scan(body, stream, precision)
            segment += content[position:end]
            position = end
        elif marker in (_DHT, _DQT, _DRI):
            pass
        elif _APP0 <= marker <= 0xEF or marker == 0xFE:
            _parse_application(marker, body, stream)
            continue
        else:
            raise ImageError(f"the JPEG stream has the unknown mark {marker:02X}; {_DAMAGED}")
        stream.segments.append(segment)


def _marker(content: bytes, position: int) -> tuple[int, int]:
    """Return the marker at the position and the position behind it."""
    if position + 2 > len(content):
        raise ImageError(f"the file ends before the end mark of a JPEG; {_DAMAGED}")
    if content[position] != 0xFF:
        raise ImageError(f"the JPEG stream has no mark where one is due; {_DAMAGED}")
    while content[position] == 0xFF:
        position += 1
        if position == len(content):
            raise ImageError(f"the file ends before the end mark of a JPEG; {_DAMAGED}")
    return content[position], position + 1


def _segment(content: bytes, position: int) -> bytes:
    length = int.from_bytes(content[position : position + 2], "big")
    body = content[position + 2 : position + length]
    if length < 2 or len(body) < length - 2:
        raise ImageError(
            f"a part of the JPEG stream has {length} bytes, the file holds "
            f"{len(content) - position} of them; {_DAMAGED}"
        )
    return body


def _scan_end(content: bytes, position: int) -> int:
    found = _MARKER_IN_SCAN.search(content, position)
    if found is None:
        raise ImageError(f"the file ends before the end mark of a JPEG; {_DAMAGED}")
    return found.start()


def _parse_frame(body: bytes, stream: JpegStream, marker: int) -> None:
    if stream.components:
        raise ImageError(f"the JPEG stream gives its size twice; {_DAMAGED}")
    if len(body) < 6 or len(body) != 6 + 3 * body[5]:
        raise ImageError(f"the frame header of the JPEG stream is incomplete; {_DAMAGED}")
    bits, stream.height, stream.width, count = struct.unpack_from(">BHHB", body)
    if bits != 8:
        raise ImageError(
            f"the picture is JPEG of {bits} bits, which is not read; save it as 16-bit PNG"
        )
    if count == 4:
        raise ImageError(
            "the picture is a CMYK JPEG, which viewers show in different colours; "
            "save it as grey or RGB"
        )
    if count not in (1, 3):
        raise ImageError(f"the picture has {count} colour components, expected 1 or 3; {_DAMAGED}")
    factors = body[7::3]
    if count == 3 and not (factors[1] == factors[2] and (factors[0], factors[1]) in _SAMPLINGS):
        raise ImageError(
            "the picture is JPEG with an unusual subsampling of its colours, which is not read; "
            "save it as PNG"
        )
    stream.components = body[6::3]
    stream.progressive = marker == _PROGRESSIVE
    if len(set(stream.components)) < count:
        raise ImageError(f"the JPEG stream names a colour component twice; {_DAMAGED}")
    stream.layout.check()
    copies = 3 if stream.progressive or count > 1 else 1
    check_decoded_bytes(copies * stream.layout.frame_bytes)


def _parse_scan(body: bytes, stream: JpegStream, precision: _Precision) -> None:
    if not stream.components:
        raise ImageError(f"the JPEG stream has pixel data before their size; {_DAMAGED}")
    count = body[0] if body else 0
    if not 1 <= count <= 4 or len(body) != 4 + 2 * count:
        raise ImageError(f"the scan header of the JPEG stream is incomplete; {_DAMAGED}")
    stream.scans += 1
    pixels = stream.height * stream.width
    if stream.scans > MAX_SCANS or (
        stream.progressive and stream.scans * pixels > limits.MAX_FILE_PIXELS
    ):
        raise TooLargeError(
            f"the JPEG stream has more than {stream.scans - 1} scans of {pixels} pixels; "
            f"the limits are {MAX_SCANS} scans and {limits.MAX_FILE_PIXELS} pixels in all scans; "
            "save the picture as baseline JPEG or PNG"
        )
    first, last, low = body[-3], body[-2], body[-1] & 15
    if not stream.progressive:
        first, last, low = 0, _COEFFICIENTS - 1, 0
    if first > last or last >= _COEFFICIENTS:
        raise ImageError(f"the scan header of the JPEG stream is wrong; {_DAMAGED}")
    precision.add(body[1 : 1 + 2 * count : 2], first, last, low)


def _parse_application(marker: int, body: bytes, stream: JpegStream) -> None:
    if marker == _APP0 and body.startswith(b"JFIF\0"):
        stream.jfif = True
    elif marker == _APP1 and body.startswith(b"Exif\0") and stream.orientation == UPRIGHT:
        stream.orientation = exif_orientation(body[6:])
    elif marker == _APP2 and body.startswith(b"MPF\0"):
        stream.pictures = max(stream.pictures, _picture_count(body[4:]))
    elif marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        stream.adobe_transform = body[11]


def _picture_count(index: bytes) -> int:
    """Return the number of pictures that the index of a multi-picture file names, at least 1."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(index[:4])
    if order is None or len(index) < 10:
        return 1
    (start,) = struct.unpack_from(order + "I", index, 4)
    for offset in range(start + 2, len(index) - 11, 12):
        tag, _, _, value = struct.unpack_from(order + "HHII", index, offset)
        if tag == 0xB001:
            return max(1, int(value))
    return 1
