"""Size, kind and colour of compressed images by their own markers, before anything is decoded.

Sources: ITU-T T.81 annex B (JPEG), T.87 annex C (JPEG-LS), T.800 annex A (JPEG 2000),
T.871 section 6 (JFIF), T.872 section 6.5.3 (Adobe).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from lfusion.errors import ImageError


class Codec(enum.Enum):
    """Kind of a compressed image."""

    JPEG = "JPEG"
    """With 8 bits, sequential or progressive; see `jpeg`."""
    JPEG_12_BIT = "JPEG with 12 bits"
    JPEG_LOSSLESS = "lossless JPEG"
    JPEG_LS = "JPEG-LS"
    JPEG_2000 = "JPEG 2000"


class Colour(enum.Enum):
    """Colour space that the markers of an image tell."""

    RGB = "RGB"
    YBR = "YBR"
    UNMARKED = "unmarked"


@dataclass(frozen=True)
class Codestream:
    """What the markers of one compressed image say.

    Attributes:
        codec: Its kind.
        height: Rows.
        width: Columns.
        components: Samples of one pixel.
        precision: Bits of one sample.
        colour: Of the stored components; of JPEG 2000 with its own transform RGB, which the
            decoder gives.
    """

    codec: Codec
    height: int
    width: int
    components: int
    precision: int
    colour: Colour


class ShortHeaderError(ImageError):
    """The part of the stream that was given ends before its header does."""


_SOF_CODECS = {
    0xC0: Codec.JPEG,
    0xC1: Codec.JPEG,
    0xC2: Codec.JPEG,
    0xC3: Codec.JPEG_LOSSLESS,
    0xF7: Codec.JPEG_LS,
}
_UNSUPPORTED_SOF = {
    0xC5: "hierarchical JPEG",
    0xC6: "hierarchical JPEG",
    0xC7: "hierarchical JPEG",
    0xC9: "JPEG with arithmetic coding",
    0xCA: "JPEG with arithmetic coding",
    0xCB: "JPEG with arithmetic coding",
    0xCD: "hierarchical JPEG",
    0xCE: "hierarchical JPEG",
    0xCF: "hierarchical JPEG",
    0xDE: "hierarchical JPEG",
}
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP14, _COM = 0xE0, 0xEE, 0xFE
_RGB_IDS = (0x52, 0x47, 0x42)
_SOC_SIZ = b"\xff\x4f\xff\x51"
_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_COD, _SOT, _SOD, _EOC = 0xFF52, 0xFF90, 0xFF93, 0xFFD9


def starts_codestream(head: bytes) -> bool:
    """Return whether a fragment begins with the start of an image.

    Args:
        head: Its first bytes, at least 12.
    """
    return head[:3] == b"\xff\xd8\xff" or head[:4] == _SOC_SIZ or head[:12] == _JP2_SIGNATURE


def parse_codestream(data: bytes) -> Codestream:
    """Parse the markers up to the first coded data.

    Args:
        data: The stream, or the beginning of it.

    Returns:
        Its size and kind.

    Raises:
        ShortHeaderError: The header goes on after `data`.
        ImageError: The stream is of no known kind, or its header is damaged.
    """
    if data[:2] == b"\xff\xd8":
        return _parse_jpeg(data)
    return _parse_jpeg_2000(unboxed(data))


def plain_jpeg(data: bytes, *, ybr: bool | None, tail: bytes = b"") -> bytes:
    """Return a JPEG stream with only the segments that decoding needs.

    Args:
        data: The whole stream.
        ybr: Whether its three components are YCbCr or RGB, which is written into an Adobe
            marker; None for grey, JPEG-LS and lossless streams.
        tail: Bytes to add to the coded data, see `sandbox`.

    Raises:
        ImageError: The stream is cut off.
    """
    parts = [b"\xff\xd8"]
    if ybr is not None:
        parts.append(b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([int(ybr)]))
    for marker, start, stop in _segments(data):
        if marker == _SOS:
            parts.append(data[start:])
            break
        if not (_APP0 <= marker <= _APP0 + 15 or marker == _COM):
            parts.append(data[start:stop])
    stream = b"".join(parts).rstrip(b"\0")
    if not stream.endswith(b"\xff\xd9"):
        end = stream.rfind(b"\xff\xd9")
        # some writers fill the last fragment with other bytes than 0
        if end < 0 or len(stream) - end > 16:
            raise _cut_off()
        stream = stream[: end + 2]
    return stream if not tail else stream[:-2] + tail + stream[-2:]


def plain_jpeg_ls(data: bytes) -> bytes:
    """Return a JPEG-LS stream without application data, a colour transform excepted.

    It always ends with an end marker: without one, the decoder tries a short stream for seconds.
    """
    parts = [b"\xff\xd8"]
    for marker, start, stop in _segments(data):
        if marker == _SOS:
            parts.append(data[start:])
            break
        transform = marker == _APP0 + 8 and data[start + 4 : start + 8] == b"mrfx"
        if transform or not (_APP0 <= marker <= _APP0 + 15 or marker == _COM):
            parts.append(data[start:stop])
    return b"".join([*parts, b"\xff\xd9"])


def complete_jpeg_2000(data: bytes) -> bytes:
    """Return a bare JPEG 2000 codestream whose tiles are all there.

    Args:
        data: The stream, in a JP2 file or bare.

    Raises:
        ImageError: A tile is missing or cut off.
    """
    stream = unboxed(data)
    width, height, x0, y0, tile_width, tile_height, tile_x, tile_y = struct.unpack(
        ">8I", stream[8:40]
    )
    if not (tile_width and tile_height and tile_x <= x0 < width and tile_y <= y0 < height):
        raise _damaged("JPEG 2000")
    columns = -(-(width - tile_x) // tile_width)
    rows = -(-(height - tile_y) // tile_height)
    position = _first_tile(stream)
    seen: set[int] = set()
    while stream[position : position + 2] == b"\xff\x90":
        if position + 12 > len(stream):
            raise _cut_off()
        tile, length = struct.unpack(">HI", stream[position + 4 : position + 10])
        end = position + length if length else _last_marker(stream)
        if end - position < 12 or end > len(stream):
            raise _cut_off()
        seen.add(tile)
        position = end
    if len(seen) != rows * columns:
        raise ImageError(
            f"the compressed image has {rows * columns} tiles, the file holds {len(seen)}; "
            "it was cut off: copy it again from its source"
        )
    return stream[:position] + b"\xff\xd9"


def unboxed(data: bytes) -> bytes:
    """Return the codestream inside a JP2 file, or the data themselves where they are bare.

    Raises:
        ShortHeaderError: It starts after `data`.
        ImageError: The file holds a palette, or no codestream.
    """
    if data[:12] != _JP2_SIGNATURE:
        return data
    position = 0
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        start = position + 8
        if length == 1:
            length = int.from_bytes(data[start : start + 8], "big")
            start += 8
        if kind == b"jp2c":
            return data[start : position + length if length else len(data)]
        if kind == b"jp2h" and b"pclr" in data[start : position + length]:
            raise ImageError(
                "the compressed image has a palette of its own; export it as grey or RGB"
            )
        if length < 8:
            raise _damaged("JPEG 2000")
        position += length
    raise ShortHeaderError("the compressed image has no codestream; export the image again")


def _parse_jpeg(data: bytes) -> Codestream:
    jfif, adobe = False, None
    frame: tuple[Codec, bytes] | None = None
    for marker, start, stop in _segments(data):
        body = data[start + 4 : stop]
        if marker in _UNSUPPORTED_SOF:
            raise ImageError(
                f"the image is compressed as {_UNSUPPORTED_SOF[marker]}, which is not read; "
                "export it uncompressed or as baseline JPEG"
            )
        if marker in _SOF_CODECS:
            if frame is not None or len(body) < 6 or len(body) < 6 + 3 * body[5]:
                raise _damaged("JPEG")
            frame = (_SOF_CODECS[marker], body)
        elif marker == _APP0 and body[:5] == b"JFIF\0":
            jfif = True
        elif marker == _APP14 and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker == _SOS:
            if frame is None:
                raise _damaged("JPEG")
            return _jpeg_frame(*frame, jfif=jfif, adobe=adobe)
    raise ShortHeaderError("the compressed image ends inside its header; export the image again")


def _jpeg_frame(codec: Codec, body: bytes, *, jfif: bool, adobe: int | None) -> Codestream:
    precision, height, width, components = struct.unpack(">BHHB", body[:6])
    if codec is Codec.JPEG and precision == 12:
        codec = Codec.JPEG_12_BIT
    elif codec is Codec.JPEG and precision != 8:
        raise ImageError(
            f"the image is compressed as JPEG with {precision} bits, which is not read; "
            "export it uncompressed"
        )
    if height == 0 or width == 0:
        raise ImageError("the compressed image does not say its height; export the image again")
    table = [body[6 + 3 * number : 9 + 3 * number] for number in range(components)]
    ids = tuple(entry[0] for entry in table)
    subsampled = len({entry[1] for entry in table}) > 1
    if components != 3:
        colour = Colour.UNMARKED
    elif codec in (Codec.JPEG_LOSSLESS, Codec.JPEG_LS):
        # without a transform of its own; JFIF is written by some encoders whatever they store
        colour = Colour.RGB if ids == _RGB_IDS or adobe == 0 else Colour.UNMARKED
    elif jfif or subsampled:
        colour = Colour.YBR
    elif adobe is not None:
        colour = Colour.RGB if adobe == 0 else Colour.YBR
    else:
        colour = Colour.RGB if ids == _RGB_IDS else Colour.UNMARKED
    return Codestream(codec, height, width, components, precision, colour)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and stop of the segments of a JPEG stream, up to the first scan."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            raise _damaged("JPEG")
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in (0, 1, _SOI, _EOI) or 0xD0 <= marker <= 0xD7:
            raise _damaged("JPEG")
        length = struct.unpack(">H", data[position + 2 : position + 4])[0]
        stop = position + 2 + length
        if length < 2:
            raise _damaged("JPEG")
        if stop > len(data):
            break
        yield marker, position, stop
        if marker == _SOS:
            return
        position = stop
    raise ShortHeaderError("the compressed image ends inside its header; export the image again")


def _parse_jpeg_2000(data: bytes) -> Codestream:
    if data[:4] != _SOC_SIZ:
        raise ImageError(
            "the compressed image is no JPEG, JPEG-LS or JPEG 2000; export the image again"
        )
    if len(data) < 42:
        raise ShortHeaderError("the compressed image ends inside its header")
    x1, y1, x0, y0 = struct.unpack(">4I", data[8:24])
    components = struct.unpack(">H", data[40:42])[0]
    table = data[42 : 42 + 3 * components]
    if x1 <= x0 or y1 <= y0 or components == 0:
        raise _damaged("JPEG 2000")
    if len(table) < 3 * components:
        raise ShortHeaderError("the compressed image ends inside its header")
    depths, steps = set(table[::3]), set(table[1::3]) | set(table[2::3])
    if len(depths) > 1 or steps != {1}:
        raise ImageError(
            "the components of the compressed image differ in size or depth; "
            "export it as grey or RGB"
        )
    _first_tile(data)
    precision = (depths.pop() & 0x7F) + 1
    transformed = _jpeg_2000_transform(data) and components == 3
    colour = Colour.RGB if transformed else Colour.UNMARKED
    return Codestream(Codec.JPEG_2000, y1 - y0, x1 - x0, components, precision, colour)


def _first_tile(data: bytes) -> int:
    """Return the offset of the first tile part."""
    position = 2
    while position + 4 <= len(data):
        marker, length = struct.unpack(">HH", data[position : position + 4])
        if marker == _SOT:
            return position
        if marker <= 0xFF00 or length < 2:
            raise _damaged("JPEG 2000")
        position += 2 + length
    raise ShortHeaderError("the compressed image ends inside its header; export the image again")


def _jpeg_2000_transform(data: bytes) -> bool:
    position, end = 2, _first_tile(data)
    while position < end:
        marker, length = struct.unpack(">HH", data[position : position + 4])
        if marker == _COD and length >= 12:
            return data[position + 8] == 1
        position += 2 + length
    raise _damaged("JPEG 2000")


def _last_marker(stream: bytes) -> int:
    """Return the offset of the end marker, after which only padding may follow."""
    end = stream.rstrip(b"\0").rfind(b"\xff\xd9")
    if end < 0:
        raise _cut_off()
    return end


def _damaged(kind: str) -> ImageError:
    return ImageError(f"the compressed image is a damaged {kind}; export the image again")


def _cut_off() -> ImageError:
    return ImageError(
        "the compressed image ends early; the file was cut off: copy it again from its source"
    )
