"""PNG: chunks and sizes parsed here, filters undone by libpng on a stream rebuilt from them."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.image import Geometry
from lfusion.image.limits import PixelLayout, check_decoded_bytes
from lfusion.image.orientation import exif_orientation, upright, upright_size
from lfusion.image.parsed import ParsedImage
from lfusion.image.samples import (
    looked_up,
    refuse_transparency,
    scaled_to_bytes,
    unpacked,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_DEPTHS = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GREY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}
_KINDS = {
    _RGB: "RGB colour",
    _PALETTE: "a palette",
    _GREY_ALPHA: "grey with an alpha channel",
    _RGBA: "RGBA colour",
}
# (first row, first column, row step, column step) of the seven passes of Adam7.
_PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
_HEADER = ">IIBBBBB"
_USED = (b"PLTE", b"tRNS", b"sBIT", b"eXIf", b"acTL")
_MAX_USED_BYTES = 2**20
"""Of one chunk that is used besides the pixels; EXIF data are a few kB."""

_DAMAGED = "the picture was damaged or cut off: copy it again from its source"


@dataclass(frozen=True)
class _Header:
    """Fields of IHDR.

    Attributes:
        height: Rows as stored.
        width: Columns as stored.
        bits: Of one sample.
        colour: Colour type.
        interlaced: Whether the rows are stored in seven passes.
    """

    height: int
    width: int
    bits: int
    colour: int
    interlaced: bool

    @property
    def channels(self) -> int:
        return _CHANNELS[self.colour]

    @property
    def passes(self) -> tuple[tuple[int, int, int, int], ...]:
        """Passes that hold a pixel, as `_PASSES`."""
        every = _PASSES if self.interlaced else ((0, 0, 1, 1),)
        return tuple(one for one in every if min(self.pass_size(one)) > 0)

    def pass_size(self, one: tuple[int, int, int, int]) -> tuple[int, int]:
        """Rows and columns of a pass."""
        row, column, row_step, column_step = one
        return -(-(self.height - row) // row_step), -(-(self.width - column) // column_step)

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of samples, without the byte that names the filter."""
        return -(-width * self.channels * self.bits // 8)

    @property
    def filtered_bytes(self) -> int:
        """Bytes of all rows as they are compressed."""
        sizes = map(self.pass_size, self.passes)
        return sum(height * (1 + self.row_bytes(width)) for height, width in sizes)


@dataclass
class _Chunks:
    """Chunks that are used.

    Attributes:
        header: IHDR.
        data: (offset, length) of each IDAT.
        used: Content of the others by type.
        frames: Of an animation; 1 for a picture.
    """

    header: _Header
    data: list[tuple[int, int]] = field(default_factory=list)
    used: dict[bytes, bytes] = field(default_factory=dict)
    frames: int = 1


class PngImage(ParsedImage):
    """A PNG picture of any colour type and bit depth."""

    format = "PNG"

    def __init__(self, file: BinaryIO, chunks: _Chunks) -> None:
        self._file = file
        self._chunks = chunks
        header = chunks.header
        self._orientation = exif_orientation(chunks.used.get(b"eXIf", b""))
        height, width = upright_size(header.height, header.width, self._orientation)
        dtype = np.dtype(np.uint16 if header.bits == 16 else np.uint8)
        self.layout = PixelLayout(1, height, width, header.channels, dtype)
        self.geometry = Geometry.grid()
        self.significant_bits = _significant_bits(chunks)

    def stored(self) -> NDArray[Any]:
        """See `ParsedImage.stored`; one grey channel only."""
        colour = self._chunks.header.colour
        if colour != _GREY:
            raise ImageError(
                f"expected one grey channel of class numbers, got {_KINDS[colour]}; "
                "save it as 8-bit grey with pixel value = class number"
            )
        return upright(self._samples()[..., 0], self._orientation)[None]

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """See `ParsedImage.shown`."""
        header, used = self._chunks.header, self._chunks.used
        samples = self._samples()
        if header.colour == _PALETTE:
            pixels = _looked_up(samples[..., 0], used)
        else:
            pixels = _opaque(samples, header, used.get(b"tRNS"))
            if header.bits < 8:
                pixels = scaled_to_bytes(pixels, header.bits)
        return upright(pixels, self._orientation)[None]

    def _samples(self) -> NDArray[Any]:
        """Decode [height, width, channels] as stored, not turned."""
        header = self._chunks.header
        content = _inflated(self._file, self._chunks.data, header.filtered_bytes)
        samples = np.empty((header.height, header.width, header.channels), self.layout.dtype)
        start = 0
        for one in header.passes:
            height, width = header.pass_size(one)
            end = start + height * (1 + header.row_bytes(width))
            row, column, row_step, column_step = one
            samples[row::row_step, column::column_step] = _unfiltered(
                content[start:end], height, width, header
            )
            start = end
        return samples


def parse_png(file: BinaryIO) -> PngImage:
    """Parse the chunks of a PNG file.

    Colour corrections (gAMA, cHRM, sRGB, iCCP, cICP) and texts are not used, so they are never
    decompressed.

    Args:
        file: At the signature; stays open for the pixels.

    Returns:
        The picture.

    Raises:
        ImageError: The file is cut off, contradicts itself, or is an animation.
        TooLargeError: The picture exceeds the limits.
    """
    chunks = _parse_chunks(file)
    if chunks.frames != 1:
        raise ImageError(
            f"expected one image, got an animation of {chunks.frames} frames; "
            "save the frame as its own file"
        )
    if not chunks.data:
        raise ImageError(f"the file holds no pixel data; {_DAMAGED}")
    picture = PngImage(file, chunks)
    picture.layout.check()
    header = chunks.header
    if header.colour == _PALETTE:
        length = len(chunks.used.get(b"PLTE", b""))
        if not length or length % 3 or length > 3 * 2**header.bits:
            raise ImageError(
                f"the palette has {length} bytes, expected 3 for each of 1 to "
                f"{2**header.bits} colours; save the picture again as grey"
            )
    check_decoded_bytes(header.filtered_bytes + picture.layout.frame_bytes)
    return picture


def _parse_chunks(file: BinaryIO) -> _Chunks:
    size = file.seek(0, os.SEEK_END)
    file.seek(len(SIGNATURE))
    chunks: _Chunks | None = None
    previous = b""
    for kind, length in _chunk_heads(file, size):
        start = file.tell()
        if chunks is None:
            if (kind, length) != (b"IHDR", struct.calcsize(_HEADER)):
                raise ImageError(f"the file does not begin with a PNG header; {_DAMAGED}")
            chunks = _Chunks(_parse_header(_checked(file, kind, length)))
        elif kind == b"IDAT":
            if chunks.data and previous != b"IDAT":
                raise ImageError(f"the pixel data are in two places; {_DAMAGED}")
            chunks.data.append((start, length))
        elif kind in _USED:
            if kind in chunks.used or length > _MAX_USED_BYTES:
                raise ImageError(f"the part {_name(kind)} is repeated or too long; {_DAMAGED}")
            chunks.used[kind] = _checked(file, kind, length)
            if kind == b"acTL":
                chunks.frames = _animation_frames(chunks.used[kind])
        elif kind == b"fdAT":
            chunks.frames = max(chunks.frames, 2)
        elif kind == b"IEND":
            return chunks
        elif not kind[0] & 0x20:
            raise ImageError(f"the part {_name(kind)} is unknown; save the picture again as PNG")
        file.seek(start + length + 4)
        previous = kind
    raise ImageError(f"the file ends before the end mark of a PNG; {_DAMAGED}")


def _chunk_heads(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield (type, length); the file is at the chunk's content then, and after it on return."""
    while (head := file.read(8)) and len(head) == 8:
        length, kind = struct.unpack(">I4s", head)
        if file.tell() + length + 4 > size:
            raise ImageError(
                f"the part {_name(kind)} of the file has {length} bytes, the file holds "
                f"{max(0, size - file.tell() - 4)} of them; {_DAMAGED}"
            )
        yield kind, length


def _name(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalnum() else kind.hex()


def _checked(file: BinaryIO, kind: bytes, length: int) -> bytes:
    """Read the content of a chunk and compare its check sum."""
    content = file.read(length)
    stored = file.read(4)
    if zlib.crc32(kind + content).to_bytes(4, "big") != stored:
        raise ImageError(f"the check sum of the part {_name(kind)} is wrong; {_DAMAGED}")
    return content


def _parse_header(content: bytes) -> _Header:
    width, height, bits, colour, compression, filtering, interlace = struct.unpack(_HEADER, content)
    if bits not in _DEPTHS.get(colour, ()):
        raise ImageError(
            f"the header gives {bits} bits for colour type {colour}, which PNG does not have; "
            f"{_DAMAGED}"
        )
    if compression or filtering or interlace > 1:
        raise ImageError(
            "the header gives a compression, a filter or an interlacing that PNG does not have; "
            f"{_DAMAGED}"
        )
    return _Header(height, width, bits, colour, interlace == 1)


def _animation_frames(content: bytes) -> int:
    if len(content) != 8:
        raise ImageError(f"the header of the animation has {len(content)} bytes; {_DAMAGED}")
    return int.from_bytes(content[:4], "big")


def _significant_bits(chunks: _Chunks) -> int | None:
    """Greatest number of bits that sBIT names; None if it names none, or not so many."""
    header = chunks.header
    named = chunks.used.get(b"sBIT", b"")[: header.channels]
    bits = max(named, default=0)
    return bits if header.colour != _PALETTE and 0 < bits <= header.bits else None


def _inflated(file: BinaryIO, data: list[tuple[int, int]], expected: int) -> bytes:
    """Decompress all IDAT chunks, and never more than the header promises."""
    inflate = zlib.decompressobj()
    parts: list[bytes] = []
    count = 0
    try:
        for start, length in data:
            file.seek(start)
            pending = _checked(file, b"IDAT", length)
            while pending and not inflate.eof:
                part = inflate.decompress(pending, expected + 1 - count)
                parts.append(part)
                count += len(part)
                if count > expected:
                    raise ImageError(
                        f"the header promises {expected} bytes of pixel data, the file holds "
                        f"more; {_DAMAGED}"
                    )
                pending = inflate.unconsumed_tail
    except zlib.error as error:
        raise ImageError(f"the compressed pixel data are damaged; {_DAMAGED}") from error
    if count < expected or not inflate.eof:
        raise ImageError(
            f"the header promises {expected} bytes of pixel data, the file holds {count}; "
            f"{_DAMAGED}"
        )
    return b"".join(parts)


def _unfiltered(content: bytes, height: int, width: int, header: _Header) -> NDArray[Any]:
    """Undo the filters of one pass: libpng decodes a picture made of the checked rows.

    Samples of less than 8 bits are filtered as whole bytes, so their rows are handed over as
    8-bit grey: libpng returns the bytes, and nothing scales the samples.
    """
    row_bytes = header.row_bytes(width)
    rows = np.frombuffer(content, np.uint8).reshape(height, 1 + row_bytes)
    if rows[:, 0].max() > 4:
        raise ImageError(f"a row has a filter that PNG does not have; {_DAMAGED}")
    packed = header.bits < 8 or header.colour == _PALETTE
    fields = (
        (row_bytes, height, 8, _GREY, 0, 0, 0)
        if packed
        else (width, height, header.bits, header.colour, 0, 0, 0)
    )
    rebuilt = b"".join(
        (
            SIGNATURE,
            _chunk(b"IHDR", struct.pack(_HEADER, *fields)),
            _chunk(b"IDAT", zlib.compress(content, 0)),
            _chunk(b"IEND", b""),
        )
    )
    try:
        decoded = imagecodecs.png_decode(rebuilt)
    except imagecodecs.PngError as error:
        raise ImageError(
            f"a picture of {height} x {width} pixels cannot be decoded; crop or shrink it"
        ) from error
    if not packed:
        return decoded.reshape(height, width, header.channels)
    if header.bits == 8:
        return decoded.reshape(height, width, 1)
    rows = decoded.reshape(height, row_bytes)
    return unpacked(rows, header.bits, width)[..., None]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return b"".join(
        (
            len(content).to_bytes(4, "big"),
            kind,
            content,
            zlib.crc32(content, zlib.crc32(kind)).to_bytes(4, "big"),
        )
    )


def _looked_up(indices: NDArray[Any], used: dict[bytes, bytes]) -> NDArray[Any]:
    """Resolve the palette; transparent colours that no pixel has do not matter."""
    palette = np.frombuffer(used[b"PLTE"], np.uint8).reshape(-1, 3)
    alpha = np.full(2**8, 255, np.uint8)
    transparency = np.frombuffer(used.get(b"tRNS", b""), np.uint8)[:256]
    alpha[: len(transparency)] = transparency
    refuse_transparency((alpha[indices] < 255).any())
    return looked_up(indices, palette)


def _opaque(samples: NDArray[Any], header: _Header, key: bytes | None) -> NDArray[Any]:
    """Drop an opaque alpha channel; [height, width] or [height, width, 3]."""
    if header.colour in (_GREY_ALPHA, _RGBA):
        refuse_transparency((samples[..., -1] < 2**header.bits - 1).any())
        samples = samples[..., :-1]
    elif key is not None and len(key) == 2 * header.channels:
        transparent = np.frombuffer(key, ">u2")
        refuse_transparency((samples == transparent).all(axis=-1).any())
    return samples[..., 0] if samples.shape[-1] == 1 else samples
