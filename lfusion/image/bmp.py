"""BMP: headers, palettes and run lengths, decoded here from the bytes of the file."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError, TooLargeError
from lfusion.image.image import Geometry
from lfusion.image.limits import PixelLayout, check_decoded_bytes, read_exactly
from lfusion.image.parsed import ParsedImage
from lfusion.image.samples import looked_up, refuse_transparency

SIGNATURE = b"BM"
MAX_RUNS = 4 * 10**6
"""Of a run-length coded picture; they are expanded one by one."""

_FILE_HEADER = 14
_CORE, _INFO, _V2, _V3, _OS2, _V4, _V5 = 12, 40, 52, 56, 64, 108, 124
_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_COMPRESSIONS = {
    4: "an embedded JPEG",
    5: "an embedded PNG",
    11: "CMYK colours",
    12: "CMYK colours",
    13: "CMYK colours",
}
_MASKS_16 = (0x7C00, 0x03E0, 0x001F, 0)
_MASKS_32 = (0xFF0000, 0xFF00, 0xFF, 0)
_DAMAGED = "the picture was damaged or cut off: copy it again from its source"


@dataclass(frozen=True)
class _Header:
    """Fields of the two headers.

    Attributes:
        height: Rows.
        width: Columns.
        top_down: Whether the first row stored is the upper one.
        bits: Of one pixel.
        compression: Number of the header.
        masks: Bits of red, green, blue and alpha, for 16 and 32 bits.
        palette: [colours, 3] red, green, blue; None for true colours.
        offset: Of the pixel data in the file.
    """

    height: int
    width: int
    top_down: bool
    bits: int
    compression: int
    masks: tuple[int, ...]
    palette: NDArray[np.uint8] | None
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of a row without its padding."""
        return -(-self.width * self.bits // 8)

    @property
    def stride(self) -> int:
        """Bytes from row to row."""
        return -(-self.width * self.bits // 32) * 4


class BmpImage(ParsedImage):
    """A BMP picture of 1 to 32 bits."""

    format = "BMP"

    def __init__(self, file: BinaryIO, header: _Header) -> None:
        self._file = file
        self._header = header
        channels = 1 if header.palette is not None else 3
        wide = header.palette is None and max(m.bit_count() for m in header.masks[:3]) > 8
        dtype = np.dtype(np.uint16 if wide else np.uint8)
        self.layout = PixelLayout(1, header.height, header.width, channels, dtype)
        self.geometry = Geometry.grid()

    def stored(self) -> NDArray[Any]:
        """See `ParsedImage.stored`; palette numbers where the palette shows them as they are."""
        header = self._header
        palette = header.palette
        if palette is None:
            raise ImageError(
                "expected one grey channel of class numbers, got RGB colour; "
                "save it as 8-bit grey with pixel value = class number"
            )
        top = 2**header.bits - 1
        ramp = np.arange(len(palette)) * 255 // top
        if not (palette == ramp[:, None]).all():
            raise ImageError(
                "expected one grey channel of class numbers, got a palette; "
                "save it as 8-bit grey with pixel value = class number"
            )
        indices = self._indices()
        looked_up(indices, palette)  # refuses numbers beyond the palette
        return indices[None]

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """See `ParsedImage.shown`."""
        palette = self._header.palette
        if palette is None:
            return self._colours()[None]
        indices = self._indices()
        return looked_up(indices, palette)[None]

    def _rows(self) -> NDArray[np.uint8]:
        """[height, bytes], the upper row first, without padding."""
        header = self._header
        self._file.seek(header.offset)
        # Some programs leave out the padding of the last row.
        count = header.stride * (header.height - 1) + header.row_bytes
        content = read_exactly(self._file, count) + bytes(header.stride - header.row_bytes)
        rows = np.frombuffer(content, np.uint8).reshape(header.height, header.stride)
        rows = rows[:, : header.row_bytes]
        return rows if header.top_down else rows[::-1]

    def _indices(self) -> NDArray[np.uint8]:
        header = self._header
        assert header.palette is not None
        if header.compression in (_RLE8, _RLE4):
            indices = self._runs()
        else:
            rows = self._rows()
            per_byte = 8 // header.bits
            shifts = np.arange(per_byte - 1, -1, -1, dtype=np.uint8) * np.uint8(header.bits)
            mask = np.uint8(2**header.bits - 1)
            indices = (rows[..., None] >> shifts & mask).reshape(header.height, -1)
            indices = indices[:, : header.width]
        return indices

    def _runs(self) -> NDArray[np.uint8]:
        header = self._header
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(header.offset)
        content = self._file.read(max(0, size - header.offset))
        rows = _expanded(content, header)
        return rows[::-1]

    def _colours(self) -> NDArray[Any]:
        header = self._header
        if header.bits == 24:
            return self._rows().reshape(header.height, header.width, 3)[..., ::-1]
        words = np.ascontiguousarray(self._rows()).view(f"<u{header.bits // 8}")
        colours = np.empty((header.height, header.width, 3), self.layout.dtype)
        for channel, mask in enumerate(header.masks[:3]):
            colours[..., channel] = _component(words, mask, self.layout.dtype)
        alpha = header.masks[3]
        refuse_transparency(bool(alpha) and ((words & words.dtype.type(alpha)) != alpha).any())
        return colours


def parse_bmp(file: BinaryIO) -> BmpImage:
    """Parse the headers and the palette of a BMP file.

    Args:
        file: A BMP file; stays open for the pixels.

    Returns:
        The picture.

    Raises:
        ImageError: The file is cut off, contradicts itself, or has an option that is not read.
        TooLargeError: The picture exceeds the limits.
    """
    header = _parse_header(file)
    picture = BmpImage(file, header)
    picture.layout.check()
    # Of rows, words and shifted samples at one time.
    check_decoded_bytes(header.stride * header.height + 2 * picture.layout.frame_bytes)
    return picture


def _parse_header(file: BinaryIO) -> _Header:
    file.seek(0)
    start = file.read(_FILE_HEADER + 4)
    if len(start) < _FILE_HEADER + 4:
        raise ImageError(f"the file ends inside its header; {_DAMAGED}")
    (offset,) = struct.unpack_from("<I", start, 10)
    (size,) = struct.unpack_from("<I", start, 14)
    if size not in (_CORE, 16, _INFO, _V2, _V3, _OS2, _V4, _V5):
        raise ImageError(f"the header has {size} bytes, which BMP does not have; {_DAMAGED}")
    fields = file.read(size - 4)
    if len(fields) < size - 4:
        raise ImageError(f"the file ends inside its header; {_DAMAGED}")
    compression = colours = 0
    if size == _CORE:
        width, height, planes, bits = struct.unpack("<HHHH", fields)
    else:
        width, height, planes, bits = struct.unpack_from("<iiHH", fields)
    if size >= _INFO:
        (compression,) = struct.unpack_from("<I", fields, 12)
        (colours,) = struct.unpack_from("<I", fields, 28)
    PixelLayout(1, abs(height), width, 1, np.dtype(np.uint8)).check()
    _check_kind(planes, bits, compression, size)
    masks = _masks(file, fields, bits, compression, size)
    palette = _palette(file, bits, colours, 3 if size == _CORE else 4, offset)
    if file.tell() > offset:
        raise ImageError(f"the pixel data would begin inside the header; {_DAMAGED}")
    if height < 0 and compression in (_RLE8, _RLE4):
        raise ImageError(f"the run lengths are stored from the top, which BMP lacks; {_DAMAGED}")
    return _Header(abs(height), width, height < 0, bits, compression, masks, palette, offset)


def _check_kind(planes: int, bits: int, compression: int, size: int) -> None:
    if planes != 1 or bits not in (1, 4, 8, 16, 24, 32):
        raise ImageError(
            f"the header gives {planes} planes of {bits} bits, expected one of 1, 4, 8, 16, 24 "
            "or 32 bits; save the picture as PNG"
        )
    kind = _COMPRESSIONS.get(compression)
    if size == _OS2 and compression > _RLE4:
        kind = "a compression of OS/2"
    if kind is not None:
        raise ImageError(f"the BMP file holds {kind}, which is not read; save it as PNG")
    allowed = {
        1: (_RGB,),
        4: (_RGB, _RLE4),
        8: (_RGB, _RLE8),
        16: (_RGB, _BITFIELDS, _ALPHA_BITFIELDS),
        24: (_RGB,),
        32: (_RGB, _BITFIELDS, _ALPHA_BITFIELDS),
    }
    if compression not in allowed[bits]:
        raise ImageError(
            f"the header gives compression {compression} for {bits} bits, which BMP does not "
            "have; save the picture as PNG"
        )


def _masks(
    file: BinaryIO, fields: bytes, bits: int, compression: int, size: int
) -> tuple[int, ...]:
    """Bits of red, green, blue and alpha: from the header, or behind a header of 40 bytes."""
    if compression not in (_BITFIELDS, _ALPHA_BITFIELDS):
        return _MASKS_16 if bits == 16 else _MASKS_32
    count = 4 if compression == _ALPHA_BITFIELDS or size >= _V3 else 3
    content = fields[36:] if size >= _V2 else file.read(4 * count)
    if len(content) < 4 * count:
        raise ImageError(f"the file ends inside its header; {_DAMAGED}")
    masks = (*struct.unpack_from(f"<{count}I", content), 0)[:4]
    together = 0
    for mask in masks:
        low = mask & -mask
        contiguous = mask == 0 or ((mask // low) & (mask // low + 1)) == 0
        if not contiguous or mask & together or mask >= 2**bits or mask.bit_count() > 16:
            raise ImageError(f"the header gives colours that share bits or have gaps; {_DAMAGED}")
        together |= mask
    if 0 in masks[:3]:
        raise ImageError("the header gives no bits for a colour; save the picture as PNG")
    return masks


def _palette(
    file: BinaryIO, bits: int, colours: int, entry: int, offset: int
) -> NDArray[np.uint8] | None:
    if bits > 8:
        return None
    room = max(0, offset - file.tell()) // entry
    count = min(colours or 2**bits, 2**bits, room)
    if count == 0:
        raise ImageError(f"the file has no palette for its {bits} bits; {_DAMAGED}")
    content = file.read(count * entry)
    if len(content) < count * entry:
        raise ImageError(f"the file ends inside its palette; {_DAMAGED}")
    return np.frombuffer(content, np.uint8).reshape(count, entry)[:, 2::-1]


def _component(words: NDArray[Any], mask: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Take one colour from its bits and scale it to the whole range of the type, rounded."""
    bits = mask.bit_count()
    shift = (mask & -mask).bit_length() - 1
    top, whole = 2**bits - 1, int(np.iinfo(dtype).max)
    values = words >> words.dtype.type(shift) & words.dtype.type(top)
    scale = (np.arange(top + 1, dtype=np.int64) * whole + top // 2) // top
    scaled: NDArray[Any] = scale.astype(dtype)[values]
    return scaled


def _expanded(content: bytes, header: _Header) -> NDArray[np.uint8]:
    """Expand the run lengths: [height, width], the lower row first.

    Skipped pixels are not in the file, and viewers differ in what they show there: refused.
    """
    height, width = header.height, header.width
    pixels = np.zeros((height, width), np.uint8)
    column = row = position = count = 0
    nibbles = header.compression == _RLE4
    runs = 0
    while position + 2 <= len(content):
        runs += 1
        if runs > MAX_RUNS:
            raise TooLargeError(
                f"the picture has more runs of pixels than the limit of {MAX_RUNS}; save it as PNG"
            )
        length, value = content[position], content[position + 1]
        position += 2
        if length == 0 and value == 1:
            break
        if length == 0 and value == 0:
            column, row = 0, row + 1
            continue
        if length == 0 and value == 2:
            break
        if length:
            run = np.full(length, value, np.uint8)
            if nibbles:
                run[0::2], run[1::2] = value >> 4, value & 15
        else:
            length = value
            packed = -(-length // 2) if nibbles else length
            part = np.frombuffer(content[position : position + packed], np.uint8)
            if len(part) < packed:
                break
            position += packed + packed % 2
            run = np.stack([part >> 4, part & 15], axis=1).ravel()[:length] if nibbles else part
        if row >= height or column + length > width:
            raise ImageError(f"a run of pixels passes the end of its row; {_DAMAGED}")
        pixels[row, column : column + length] = run
        column += length
        count += length
    if count < height * width:
        raise ImageError(
            f"the header promises {height * width} pixels, the run lengths give {count}; "
            "save the picture again as PNG"
        )
    return pixels
