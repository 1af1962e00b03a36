"""TIFF: directories parsed here, segments decompressed to a size known beforehand."""

from __future__ import annotations

import lzma
import math
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError, TooLargeError
from lfusion.image.grey import full_scale_of
from lfusion.image.image import Geometry
from lfusion.image.jpeg import JpegStream, parse_jpeg_stream, raise_lossy
from lfusion.image.limits import PixelLayout, check_decoded_bytes
from lfusion.image.orientation import orientation_or_upright, upright, upright_size
from lfusion.image.parsed import ParsedImage
from lfusion.image.samples import looked_up, scaled_to_bytes, unpacked

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 10_000
MAX_TAGS = 10**6
"""Of all pages of a file."""

MAX_SEGMENTS = 10**6
"""Strips or tiles of one page; they are read one by one."""

_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION = 254, 255, 256, 257, 258, 259
_PHOTOMETRIC, _FILL_ORDER, _DESCRIPTION, _STRIP_OFFSETS, _ORIENTATION = 262, 266, 270, 273, 274
_SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS, _PLANAR, _PREDICTOR = 277, 278, 279, 284, 317
_COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 320, 322, 323, 324, 325
_EXTRA, _SAMPLE_FORMAT, _JPEG_TABLES, _DEPTH = 338, 339, 347, 32997
_TIFFFILE_SHAPE = re.compile(rb'\{"shape": \[(\d{1,9}(?:, \d{1,9}){0,9})\]')
"""In the description of a stack; tifffile can write one behind a single directory."""

_TAGS = frozenset(
    {
        *(_SUBFILE, _OLD_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC),
        *(_FILL_ORDER, _DESCRIPTION, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP),
        *(_STRIP_COUNTS, _PLANAR, _PREDICTOR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT),
        *(_TILE_OFFSETS, _TILE_COUNTS, _EXTRA, _SAMPLE_FORMAT, _JPEG_TABLES, _DEPTH),
    }
)
_TABLE_BYTES = 2**16
_TEXT_BYTES = 4096
"""Of a description that are read; ImageJ writes its number of images at the start."""

_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4"} | {
    16: "u8",
    17: "i8",
    18: "u8",
}
_BYTES = (1, 2, 6, 7)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4} | {
    16: 8,
    17: 8,
    18: 8,
}
_VALUES = {_COLOUR_MAP: 3 * 2**16} | dict.fromkeys(
    (_STRIP_OFFSETS, _STRIP_COUNTS, _TILE_OFFSETS, _TILE_COUNTS), MAX_SEGMENTS
)
_FEW_VALUES = 64
"""Of a tag that are read; a picture with more channels is refused."""

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_COLOURS = {
    _WHITE_IS_ZERO: 1,
    _BLACK_IS_ZERO: 1,
    _RGB: 3,
    _PALETTE: 1,
    _YCBCR: 3,
}
_COLOURS_REFUSED = {
    4: "a transparency mask",
    5: "CMYK colours",
    8: "CIELab colours",
    9: "ICCLab colours",
    10: "ITULab colours",
    32803: "a colour filter array",
    32844: "logarithmic luminance",
    32845: "logarithmic luminance and colour",
    34892: "linear raw data",
}

_NONE, _LZW, _JPEG, _DEFLATE, _PACKBITS = 1, 5, 7, 8, 32773
_OLD_DEFLATE, _LZMA, _ZSTD, _OLD_ZSTD = 32946, 34925, 50000, 34926
_COMPRESSIONS_REFUSED = {
    2: "CCITT fax compression",
    3: "CCITT fax compression",
    4: "CCITT fax compression",
    6: "JPEG in the obsolete form",
    9: "JBIG compression",
    10: "JBIG compression",
    32766: "NeXT compression",
    32771: "CCITT fax compression",
    32809: "ThunderScan compression",
    33003: "JPEG 2000 compression",
    33004: "JPEG 2000 compression",
    33005: "JPEG 2000 compression",
    34661: "JBIG compression",
    34676: "SGI compression",
    34677: "SGI compression",
    34712: "JPEG 2000 compression",
    34887: "LERC compression",
    34892: "lossy JPEG compression of DNG",
    34927: "WebP compression",
    34933: "PNG compression",
    34934: "JPEG XR compression",
    50001: "WebP compression",
    50002: "JPEG XL compression",
}
_PREDICTABLE = (_LZW, _DEFLATE, _OLD_DEFLATE, _LZMA, _ZSTD, _OLD_ZSTD)
_LZMA_MEMORY = 2**27
_PACKBITS_RUN = 128
_DAMAGED = "the picture was damaged or cut off: copy it again from its source"


@dataclass(frozen=True)
class _Entry:
    """One tag: its type, and place and number of its values."""

    kind: int
    count: int
    offset: int


@dataclass(frozen=True)
class _Page:
    """Known tags of one directory; values are read when they are asked for.

    Attributes:
        reader: Of the file.
        entries: By tag; a tag that is absent or empty is left out.
    """

    reader: _Reader
    entries: dict[int, _Entry]

    def numbers(self, tag: int) -> list[int]:
        """All numbers of a tag, empty where it is absent."""
        entry = self.entries.get(tag)
        if entry is None:
            return []
        if entry.kind not in _INTEGERS:
            raise ImageError(f"the tag {tag} of the file holds no whole numbers; {_DAMAGED}")
        dtype = np.dtype(_INTEGERS[entry.kind]).newbyteorder(self.reader.order)
        count = min(entry.count, _VALUES.get(tag, _FEW_VALUES))
        content = self.reader.at(entry.offset, count * dtype.itemsize, f"the tag {tag}")
        values: list[int] = np.frombuffer(content, dtype).tolist()
        return values

    def content(self, tag: int, limit: int) -> bytes:
        """Text or bytes of a tag up to a limit, empty where it is absent."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _BYTES:
            return b""
        return self.reader.at(entry.offset, min(entry.count, limit), f"the tag {tag}")

    def number(self, tag: int, default: int) -> int:
        """The first number of a tag; absent and zero give the default."""
        return next(iter(self.numbers(tag)), 0) or default

    def common(self, tag: int, default: int, name: str) -> int:
        """The number that a tag gives for every sample."""
        values = set(self.numbers(tag)) or {default}
        if len(values) > 1:
            raise ImageError(
                f"the channels differ in their {name}: {sorted(values)}; save the picture as PNG"
            )
        return values.pop() or default

    @property
    def reduced(self) -> bool:
        """Whether the page is a smaller copy of another."""
        return bool(self.number(_SUBFILE, 0) & 1) or self.number(_OLD_SUBFILE, 0) == 2

    @property
    def transparency(self) -> bool:
        """Whether the page is the transparency mask of another."""
        return bool(self.number(_SUBFILE, 0) & 4)

    @property
    def images(self) -> int:
        """Images that ImageJ or tifffile store behind one directory; 1 without them."""
        text = self.content(_DESCRIPTION, _TEXT_BYTES)
        shape = _TIFFFILE_SHAPE.match(text)
        if shape:
            values = self.number(_HEIGHT, 1) * self.number(_WIDTH, 1) * self.number(_SAMPLES, 1)
            return max(1, math.prod(map(int, shape[1].split(b","))) // max(1, values))
        if text.startswith(b"ImageJ="):
            found = re.search(rb"^images=(\d{1,9})\s*$", text, re.MULTILINE)
            return max(1, int(found[1])) if found else 1
        return 1


@dataclass(frozen=True)
class _Format:
    """Format of the samples of a page.

    Attributes:
        height: Rows as stored.
        width: Columns as stored.
        channels: Samples of one pixel.
        bits: Of one sample.
        dtype: Of one decoded sample, in the order of this machine.
        order: `<` or `>`, of samples in the file.
        compression: Number of the tag.
        photometric: Number of the tag.
        predictor: 1 for none, 2 for differences, 3 for differences of floats.
        fill_order: 2 where the bits of each byte are reversed.
        planar: Whether each channel has its own segments.
    """

    height: int
    width: int
    channels: int
    bits: int
    dtype: np.dtype[Any]
    order: Literal["<", ">"]
    compression: int
    photometric: int
    predictor: int
    fill_order: int
    planar: bool

    @property
    def colours(self) -> int:
        """Channels without the extra ones."""
        return _COLOURS[self.photometric]

    @property
    def segment_channels(self) -> int:
        """Channels of one segment."""
        return 1 if self.planar else self.channels

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of a segment."""
        return -(-width * self.segment_channels * self.bits // 8)


@dataclass(frozen=True)
class _Segments:
    """Strips or tiles of a page.

    Attributes:
        kind: `strip` or `tile`.
        height: Rows of each; the last strip has fewer.
        width: Columns of each.
        offsets: Of each in the file.
        counts: Bytes of each in the file.
    """

    kind: str
    height: int
    width: int
    offsets: list[int]
    counts: list[int]


class TiffImage(ParsedImage):
    """One page of a TIFF file, grey, palette or colour."""

    format = "TIFF"

    def __init__(self, file: BinaryIO, page: _Page, samples: _Format, segments: _Segments) -> None:
        self._file = file
        self._page = page
        self._format = samples
        self._segments = segments
        self._orientation = orientation_or_upright(page.number(_ORIENTATION, 1))
        height, width = upright_size(samples.height, samples.width, self._orientation)
        self.layout = PixelLayout(1, height, width, samples.channels, samples.dtype)
        self.geometry = Geometry.grid()
        self.lossless = samples.compression != _JPEG
        self.significant_bits = samples.bits if 8 < samples.bits < 16 else None

    def stored(self) -> NDArray[Any]:
        """See `ParsedImage.stored`; one channel, in WhiteIsZero files too as it is stored."""
        if not self.lossless:
            raise_lossy()
        kind = {_PALETTE: "a palette", _RGB: "RGB colour"}.get(self._format.photometric)
        if kind is None and self._format.channels > 1:
            kind = f"{self._format.channels} channels"
        if kind is not None:
            raise ImageError(
                f"expected one grey channel of class numbers, got {kind}; "
                "save it as 8-bit grey with pixel value = class number"
            )
        return upright(self._samples()[..., 0], self._orientation)[None]

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """See `ParsedImage.shown`."""
        samples = self._opaque(self._samples())
        photometric, bits = self._format.photometric, self._format.bits
        if photometric == _PALETTE:
            pixels = self._looked_up(samples[..., 0])
        else:
            pixels = samples[..., 0] if samples.shape[-1] == 1 else samples
            if photometric == _WHITE_IS_ZERO:
                pixels = self._inverted(pixels)
            if bits < 8:
                pixels = scaled_to_bytes(pixels, bits)
        return upright(pixels, self._orientation)[None]

    def _samples(self) -> NDArray[Any]:
        """Decode [height, width, channels] as stored, not turned."""
        form, segments = self._format, self._segments
        samples = np.empty((form.height, form.width, form.channels), form.dtype)
        numbers = iter(range(len(segments.offsets)))
        for channel in range(form.channels if form.planar else 1):
            channels = slice(channel, channel + 1) if form.planar else slice(None)
            for row in range(0, form.height, segments.height):
                height = min(segments.height, form.height - row)
                for column in range(0, form.width, segments.width):
                    part = self._segment(next(numbers), height)
                    place = samples[
                        row : row + segments.height, column : column + segments.width, channels
                    ]
                    place[...] = part[: place.shape[0], : place.shape[1]]
        return samples

    def _segment(self, number: int, height: int) -> NDArray[Any]:
        """Decode [height, width, channels] of one segment; tiles have their whole height."""
        form, segments = self._format, self._segments
        if segments.kind == "tile":
            height = segments.height
        name = f"{segments.kind} {number + 1} of {len(segments.offsets)}"
        content = self._content(number, name)
        if form.compression == _JPEG:
            return self._jpeg(content, height, name)
        if form.fill_order == 2:
            content = bytes(imagecodecs.bitorder_decode(content))
        row_bytes = form.row_bytes(segments.width)
        expected = height * row_bytes
        whole = segments.height * row_bytes
        try:
            content = _DECODERS[form.compression](content, whole)
        except _DECODING_ERRORS as error:
            raise ImageError(f"{name} cannot be decompressed; {_DAMAGED}") from error
        if len(content) < expected:
            raise ImageError(
                f"the header promises {expected} bytes of pixel data in {name}, the file holds "
                f"{len(content)}; {_DAMAGED}"
            )
        rows = np.frombuffer(content, np.uint8, expected).reshape(height, row_bytes)
        return _unpredicted(rows, segments.width, form)

    def _content(self, number: int, name: str) -> bytes:
        """Read the bytes of one segment, all of them."""
        offset, count = self._segments.offsets[number], self._segments.counts[number]
        self._file.seek(offset)
        content = self._file.read(count)
        if count == 0 or len(content) < count:
            raise ImageError(
                f"{name} has {count} bytes by the header, the file holds {len(content)}; {_DAMAGED}"
            )
        return content

    def _jpeg(self, content: bytes, height: int, name: str) -> NDArray[Any]:
        form = self._format
        tables = self._page.content(_JPEG_TABLES, _TABLE_BYTES)
        stream: JpegStream = parse_jpeg_stream(content, tables)
        if stream.progressive:
            raise ImageError(
                "the file has progressive JPEG data, which TIFF does not allow; save it with LZW "
                "compression"
            )
        size = (stream.height, stream.width, len(stream.components))
        expected = (height, self._segments.width, form.segment_channels)
        # The last strip may be padded to the height of the others.
        if not height <= stream.height <= self._segments.height or size[1:] != expected[1:]:
            raise ImageError(
                f"the header promises {expected[0]} x {expected[1]} pixels of {expected[2]} "
                f"channels in {name}, its JPEG stream holds {size[0]} x {size[1]} of {size[2]}; "
                f"{_DAMAGED}"
            )
        ycbcr = stream.is_ycbcr(otherwise=form.photometric == _YCBCR)
        decoded = stream.decode(ycbcr)
        return decoded.reshape(*decoded.shape[:2], form.segment_channels)

    def _opaque(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Drop channels beyond the colours if they hide nothing."""
        colours = self._format.colours
        extra = samples[..., colours:]
        if extra.shape[-1]:
            whole = _whole(self._format)
            if whole is None or (extra != whole).any():
                raise ImageError(
                    f"the picture has {self._format.channels} channels, and the last is no opaque "
                    "alpha channel: viewers differ in what they show; save it without "
                    "transparency and with one image only"
                )
        return samples[..., :colours]

    def _looked_up(self, indices: NDArray[Any]) -> NDArray[Any]:
        """Replace palette numbers by colours of 8 bits, or by grey where all of them are."""
        colour_map = self._page.numbers(_COLOUR_MAP)
        size = 2**self._format.bits
        if len(colour_map) != 3 * size:
            raise ImageError(
                f"the palette has {len(colour_map)} values, expected {3 * size}; {_DAMAGED}"
            )
        values = np.array(colour_map, np.uint16).reshape(3, size).T
        # Some writers store 8 bits where the specification asks for 16; viewers follow them.
        bytewise = values if values.max() < 256 else values >> 8
        return looked_up(indices, bytewise.astype(np.uint8))

    def _inverted(self, pixels: NDArray[Any]) -> NDArray[Any]:
        whole = _whole(self._format)
        if whole is None:
            raise ImageError(
                "the file counts white as 0 with signed or float values, which viewers show "
                "differently; save it with black as 0"
            )
        if self._format.bits > 8:
            # The scale is that of the data: 12 bits stored in 16 are inverted within 12.
            scale = full_scale_of((pixels,), self.significant_bits)
            whole = whole if scale is None else int(scale)
        inverted: NDArray[Any] = pixels.dtype.type(whole) - pixels
        return inverted


def parse_tiff(file: BinaryIO) -> TiffImage:
    """Parse the directories of a TIFF or BigTIFF file.

    Smaller copies of the picture (thumbnails, pyramids) are passed over. Resolution tags are not
    a pixel size: they say how to print. Colour profiles and GDAL's nodata value are not used.

    Args:
        file: A TIFF file; stays open for the pixels.

    Returns:
        The one page.

    Raises:
        ImageError: The file is cut off, contradicts itself, has several pages, or an option
            that is not read.
        TooLargeError: The picture exceeds the limits.
    """
    pages = list(_Reader(file).pages())
    if any(page.transparency for page in pages):
        raise ImageError(
            "the file has a transparency mask, and viewers differ in what they show there; "
            "save it without transparency"
        )
    shown = [page for page in pages if not page.reduced] or pages
    count = max(len(shown), *(page.images for page in shown), shown[0].number(_DEPTH, 1))
    if count != 1:
        raise ImageError(
            f"expected one image, got {count} frames or pages; save each as its own file"
        )
    page = shown[0]
    samples = _parse_format(page)
    picture = TiffImage(file, page, samples, _parse_segments(page, samples))
    if (samples.photometric == _YCBCR or samples.compression == _JPEG) and (
        samples.bits != 8 or samples.compression != _JPEG or samples.photometric == _PALETTE
    ):
        raise ImageError(
            "the file holds YCbCr colours or JPEG data in a form that is not read; save it as PNG"
        )
    return picture


class _Reader:
    """Reader of the directories of a file, in either size of TIFF."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size: Final = file.seek(0, os.SEEK_END)
        head = self.at(0, 8, "the header")
        if head[:4] not in SIGNATURES:
            raise ImageError("the content is no TIFF image; open and save it in an image viewer")
        self.order: Final[Literal["<", ">"]] = "<" if head[:2] == b"II" else ">"
        self._big = self._unpack("H", head[2:4]) == 43
        if not self._big:
            self._first = self._unpack("I", head[4:])
        elif head[4:] == struct.pack(self.order + "HH", 8, 0):
            self._first = self._unpack("Q", self.at(8, 8, "the header"))
        else:
            raise ImageError(f"the header of the TIFF file is wrong; {_DAMAGED}")

    def pages(self) -> Iterator[_Page]:
        """Parse one page after the other.

        Raises:
            ImageError: A directory lies outside the file, or pages form a loop.
            TooLargeError: There are too many pages, or too many tags in them.
        """
        offset = self._first
        known: set[int] = set()
        tags = 0
        while offset:
            if offset in known:
                raise ImageError(f"the pages of the TIFF file refer to each other; {_DAMAGED}")
            known.add(offset)
            head, entry, word = (8, 20, "Q") if self._big else (2, 12, "I")
            count = self._unpack("Q" if self._big else "H", self.at(offset, head, "a page"))
            tags += count
            if len(known) > MAX_PAGES or tags > MAX_TAGS:
                raise TooLargeError(
                    f"the TIFF file has {len(known)} pages or more with {tags} tags; the limits "
                    f"are {MAX_PAGES} and {MAX_TAGS}; save one image as its own file"
                )
            offset += head
            body = self.at(offset, count * entry, "a page")
            entries: dict[int, _Entry] = {}
            for tag, start in self._known(body, entry):
                parsed = self._entry(tag, body[start : start + entry], offset + start)
                if parsed.count:
                    entries[tag] = parsed
            following = self.at(offset + len(body), struct.calcsize(word), "a page")
            offset = self._unpack(word, following)
            yield _Page(self, entries)
        if not known:
            raise ImageError(f"the TIFF file has no page; {_DAMAGED}")

    def _known(self, body: bytes, entry: int) -> list[tuple[int, int]]:
        """Find (tag, offset) of the first entry of each known tag in a directory."""
        layout = np.dtype({"names": ["tag"], "formats": [self.order + "u2"], "itemsize": entry})
        found, first = np.unique(np.frombuffer(body, layout)["tag"], return_index=True)
        pairs = zip(found.tolist(), (first * entry).tolist(), strict=True)
        return [(tag, start) for tag, start in pairs if tag in _TAGS]

    def _entry(self, tag: int, content: bytes, place: int) -> _Entry:
        word = "Q" if self._big else "I"
        width = struct.calcsize(word)
        kind = self._unpack("H", content[2:4])
        count = self._unpack(word, content[4 : 4 + width])
        if kind not in _SIZES:
            raise ImageError(f"the tag {tag} has a type that TIFF does not have; {_DAMAGED}")
        inside = count * _SIZES[kind] <= width
        offset = place + 4 + width if inside else self._unpack(word, content[4 + width :])
        return _Entry(kind, count, offset)

    def at(self, offset: int, length: int, name: str) -> bytes:
        """Read so many bytes at a place, which must be inside the file."""
        if offset + length > self.size:
            raise ImageError(
                f"{name} of the TIFF file takes {length} bytes, the file holds "
                f"{max(0, self.size - offset)} of them; {_DAMAGED}"
            )
        self._file.seek(offset)
        return self._file.read(length)

    def _unpack(self, code: str, content: bytes) -> int:
        (value,) = struct.unpack(self.order + code, content)
        return int(value)


def _parse_format(page: _Page) -> _Format:
    height, width = page.number(_HEIGHT, 0), page.number(_WIDTH, 0)
    bits = page.common(_BITS, 1, "number of bits")
    kind = page.common(_SAMPLE_FORMAT, 1, "number type")
    channels = page.number(_SAMPLES, 1)
    compression = page.number(_COMPRESSION, _NONE)
    photometric = next(iter(page.numbers(_PHOTOMETRIC)), None)
    if compression != _JPEG and compression not in _DECODERS:
        name = _COMPRESSIONS_REFUSED.get(compression, f"the unknown compression {compression}")
        raise ImageError(f"the file has {name}, which is not read; save it with LZW compression")
    if photometric not in _COLOURS:
        if photometric is None:
            raise ImageError("the file does not say how its colours are stored; save it as PNG")
        name = _COLOURS_REFUSED.get(photometric, f"the unknown colours {photometric}")
        raise ImageError(f"the file holds {name}, which are not read; save it as grey or RGB")
    dtype = _sample_type(kind, bits)
    extra = channels - _COLOURS[photometric]
    if extra not in (0, 1) or (extra and photometric in (_PALETTE, _YCBCR)):
        raise ImageError(
            f"the file has {channels} channels, expected {_COLOURS[photometric]} and at most one "
            "of transparency; save one image as grey or RGB"
        )
    layout = PixelLayout(1, height, width, channels, dtype)
    layout.check()
    predictor = page.number(_PREDICTOR, 1)
    usable = {1: True, 2: dtype.kind in "ui" and bits % 8 == 0, 3: dtype.kind == "f"}
    if not usable.get(predictor) or (predictor > 1 and compression not in _PREDICTABLE):
        raise ImageError(
            f"the file has predictor {predictor}, which its number type or compression excludes; "
            "save it with LZW compression"
        )
    return _Format(
        height=height,
        width=width,
        channels=channels,
        bits=bits,
        dtype=dtype,
        order=page.reader.order,
        compression=compression,
        photometric=photometric,
        predictor=predictor,
        fill_order=page.number(_FILL_ORDER, 1),
        planar=page.number(_PLANAR, 1) == 2 and channels > 1,
    )


def _sample_type(kind: int, bits: int) -> np.dtype[Any]:
    """Type of one decoded sample."""
    if kind in (1, 4) and (1 <= bits <= 16 or bits in (32, 64)):
        return np.dtype(f"u{max(1, 1 << (bits - 1).bit_length() >> 3)}")
    if kind == 2 and bits in (8, 16, 32, 64):
        return np.dtype(f"i{bits // 8}")
    if kind == 3 and bits in (16, 32, 64):
        return np.dtype(f"f{bits // 8}")
    names = {1: "unsigned", 2: "signed", 3: "float", 4: "untyped"}
    raise ImageError(
        f"the file has {names.get(kind, 'complex or unknown')} values of {bits} bits, which are "
        "not read; save it as 8-bit or 16-bit grey"
    )


def _parse_segments(page: _Page, form: _Format) -> _Segments:
    if page.numbers(_TILE_OFFSETS):
        kind = "tile"
        height, width = page.number(_TILE_HEIGHT, 0), page.number(_TILE_WIDTH, 0)
        offsets, counts = page.numbers(_TILE_OFFSETS), page.numbers(_TILE_COUNTS)
        if not (height > 0 and width > 0):
            raise ImageError(f"the header gives tiles of {height} x {width} pixels; {_DAMAGED}")
    else:
        kind = "strip"
        height, width = page.number(_ROWS_PER_STRIP, form.height), form.width
        height = min(height, form.height) if height > 0 else form.height
        offsets, counts = page.numbers(_STRIP_OFFSETS), page.numbers(_STRIP_COUNTS)
    grid = -(-form.height // height) * -(-form.width // width)
    expected = grid * (form.channels if form.planar else 1)
    if expected > MAX_SEGMENTS:
        raise TooLargeError(
            f"the picture has {expected} {kind}s, the limit is {MAX_SEGMENTS}; save it as PNG"
        )
    whole = height * form.row_bytes(width)
    # Unpacking takes a byte for each bit.
    check_decoded_bytes(whole * (8 if form.bits % 8 else 1))
    check_decoded_bytes(expected * whole)
    if not counts and form.compression == _NONE and len(offsets) == expected == 1:
        counts = [form.height * form.row_bytes(form.width)]
    if min(len(offsets), len(counts)) < expected:
        raise ImageError(
            f"the header promises {expected} {kind}s, the file holds "
            f"{min(len(offsets), len(counts))}; {_DAMAGED}"
        )
    offsets, counts = offsets[:expected], counts[:expected]
    if min(offsets) < 0 or min(counts) < 0 or max(offsets) > page.reader.size:
        raise ImageError(
            f"a {kind} begins at byte {max(offsets)}, the file has {page.reader.size}; {_DAMAGED}"
        )
    counts = [min(count, whole) for count in counts] if form.compression == _NONE else counts
    check_decoded_bytes(sum(counts))
    return _Segments(kind, height, width, offsets, counts)


def _whole(form: _Format) -> int | None:
    """Greatest value of unsigned samples; None for signed and float ones."""
    return 2**form.bits - 1 if form.dtype.kind == "u" else None


def _unpredicted(rows: NDArray[np.uint8], width: int, form: _Format) -> NDArray[Any]:
    """Undo the predictor and the packing: [height, width, channels] in this machine's order."""
    height, channels = len(rows), form.segment_channels
    shape = (height, width, channels)
    if form.bits % 8:
        return unpacked(rows, form.bits, width * channels).reshape(shape)
    size = form.dtype.itemsize
    if form.predictor == 3:
        steps = rows.reshape(height, width * size, channels)
        sums = np.add.accumulate(steps, axis=1, dtype=np.uint8)
        by_byte = sums.reshape(height, size, width * channels).swapaxes(1, 2)
        floats = np.ascontiguousarray(by_byte).view(form.dtype.newbyteorder(">"))
        return floats.reshape(shape).astype(form.dtype)
    values = rows.reshape(-1).view(form.dtype.newbyteorder(form.order)).reshape(shape)
    if form.predictor == 2:
        return np.add.accumulate(values.astype(form.dtype), axis=1, dtype=form.dtype)
    return values


def _inflate(content: bytes, limit: int) -> bytes:
    return zlib.decompressobj().decompress(content, limit)


def _unlzma(content: bytes, limit: int) -> bytes:
    return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY).decompress(content, limit)


def _unlzw(content: bytes, limit: int) -> bytes:
    return bytes(imagecodecs.lzw_decode(content, out=limit))


def _unpackbits(content: bytes, limit: int) -> bytes:
    return bytes(imagecodecs.packbits_decode(content, out=limit + _PACKBITS_RUN))


def _unzstd(content: bytes, limit: int) -> bytes:
    return bytes(imagecodecs.zstd_decode(content, out=limit))


def _as_it_is(content: bytes, limit: int) -> bytes:
    return content


_DECODERS: dict[int, Callable[[bytes, int], bytes]] = {
    _NONE: _as_it_is,
    _LZW: _unlzw,
    _DEFLATE: _inflate,
    _OLD_DEFLATE: _inflate,
    _PACKBITS: _unpackbits,
    _LZMA: _unlzma,
    _ZSTD: _unzstd,
    _OLD_ZSTD: _unzstd,
}
_DECODING_ERRORS = (
    zlib.error,
    lzma.LZMAError,
    imagecodecs.LzwError,
    imagecodecs.PackbitsError,
    imagecodecs.ZstdError,
)
