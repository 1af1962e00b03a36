"""Pixel data of a DICOM file: frames located by arithmetic, and decoded one by one.

Source: DICOM PS3.5 section 8 and annexes A, D and G, PS3.3 section C.7.6.3.
"""

from __future__ import annotations

import re
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import sandbox
from lfusion.image.codestreams import (
    Codec,
    Codestream,
    Colour,
    ShortHeaderError,
    parse_codestream,
    starts_codestream,
)
from lfusion.image.dicom_header import (
    DEFLATED,
    EXPLICIT_BIG_ENDIAN,
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    HeaderFile,
)
from lfusion.image.jpeg import parse_jpeg_stream
from lfusion.image.limits import PixelLayout, check_decoded_bytes, read_exactly

RLE = "1.2.840.10008.1.2.5"
_NATIVE = (IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, DEFLATED)
_JPEG_FAMILY = re.compile(r"1\.2\.840\.10008\.1\.2\.4\.(5\d|6\d|70|8[01]|9[0-3]|20[1-3])")
_VIDEO = re.compile(r"1\.2\.840\.10008\.1\.2\.(4\.10[0-8](\.1)?|7\.[123])")
_BY_NAME = {
    "1.2.840.10008.1.2.4.94": "JPIP, which refers to pixels elsewhere",
    "1.2.840.10008.1.2.4.95": "JPIP, which refers to pixels elsewhere",
    "1.2.840.10008.1.2.4.204": "JPIP, which refers to pixels elsewhere",
    "1.2.840.10008.1.2.4.205": "JPIP, which refers to pixels elsewhere",
    "1.2.840.10008.1.2.4.110": "JPEG XL",
    "1.2.840.10008.1.2.4.111": "JPEG XL",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.6.1": "RFC 2557 MIME",
    "1.2.840.10008.1.2.8.1": "deflated frames",
}
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_SUBSAMPLED = ("YBR_FULL_422", "YBR_PARTIAL_422")
_COLOUR = ("RGB", "YBR_FULL", *_SUBSAMPLED, "YBR_PARTIAL_420", "YBR_RCT", "YBR_ICT")
_HEADER_BYTES = 2**14


@dataclass(frozen=True)
class PixelFormat:
    """Attributes of the Image Pixel module.

    Attributes:
        rows: Height of a frame.
        columns: Width of a frame.
        samples: Of one pixel.
        photometric: Photometric interpretation.
        planar: Whether the samples of a frame follow each other as planes.
        frames: Number of frames, None where the header does not say it.
        bits_allocated: Of one sample in uncompressed data.
        bits_stored: Of them used.
        high_bit: Number of the highest one used.
        signed: Whether values are two's complement.
    """

    rows: int
    columns: int
    samples: int
    photometric: str
    planar: bool
    frames: int | None
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @classmethod
    def of(cls, header: HeaderFile) -> PixelFormat:
        """Read the attributes; empty and zero values count as absent.

        Raises:
            ImageError: They describe no grey or colour image, or contradict each other.
        """
        values = header.elements
        rows, columns = values.count(0x00280010), values.count(0x00280011)
        if rows == 0 or columns == 0:
            raise ImageError(
                "the DICOM file says no image size (Rows and Columns); it is without pixels "
                "or damaged: export the image again"
            )
        photometric = values.text(0x00280004)
        samples = values.count(0x00280002) or (3 if photometric in _COLOUR else 1)
        photometric = photometric or ("RGB" if samples == 3 else "MONOCHROME2")
        allocated = values.count(0x00280100)
        stored = values.count(0x00280101) or allocated
        if photometric not in _GREY + _COLOUR:
            raise ImageError(
                f"the photometric interpretation {photometric} is not read; "
                "export the image as MONOCHROME2 or RGB"
            )
        if samples != (1 if photometric in _GREY else 3):
            raise ImageError(
                f"the header gives {samples} samples a pixel and the photometric interpretation "
                f"{photometric}, which contradict each other; export the image again"
            )
        if allocated not in (1, 8, 16, 32) or (allocated in (1, 32) and samples > 1):
            raise ImageError(
                f"the image has {allocated} bits allocated for a sample; "
                "expected 8 or 16, or for grey 1 or 32: export it again"
            )
        signed = values.count(0x00280103) == 1
        if signed and samples > 1:
            raise ImageError("the image has signed colour values; export it as RGB")
        high = values.count(0x00280102) or stored - 1
        if not stored - 1 <= high < allocated:
            raise ImageError(
                f"the header gives {stored} bits stored, {high} as the high bit and {allocated} "
                "bits allocated, which contradict each other; export the image again"
            )
        return cls(
            rows=rows,
            columns=columns,
            samples=samples,
            photometric=photometric,
            planar=samples > 1 and values.count(0x00280006) == 1,
            frames=values.count(0x00280008, "IS") or None,
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=high,
            signed=signed,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one frame: [height, width] or [height, width, 3]."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, 3)

    def layout(self, frames: int, dtype: np.dtype[Any]) -> PixelLayout:
        """Return the size of the decoded pixels."""
        return PixelLayout(frames, self.rows, self.columns, self.samples, dtype)


class Frames(ABC):
    """Stored frames of one file.

    Attributes:
        layout: Their size.
        bits: Of a sample that are used.
    """

    layout: PixelLayout
    bits: int

    @abstractmethod
    def read(self, number: int) -> tuple[NDArray[Any], str]:
        """Decode one frame.

        Args:
            number: From 0.

        Returns:
            [height, width] or [height, width, 3], as stored; and the photometric interpretation
            of these values, which is RGB where a decoder has converted them.

        Raises:
            ImageError: The data are short or damaged.
            TooLargeError: Decoding takes too much.
        """


def find_frames(header: HeaderFile, image: PixelFormat) -> Frames:
    """Locate the frames and check that the file holds what its header promises.

    Raises:
        ImageError: Frames are missing, contradict the header, or are of a kind that is not read.
        TooLargeError: They are larger than the limits.
    """
    syntax = header.transfer_syntax
    if _VIDEO.fullmatch(syntax):
        raise ImageError(
            "the pixel data are a video stream (MPEG or HEVC); "
            "export the cine as JPEG or uncompressed"
        )
    if syntax in _BY_NAME:
        raise ImageError(
            f"the transfer syntax is {_BY_NAME[syntax]}, which is not read; "
            "export the image as JPEG or uncompressed"
        )
    assert header.pixels is not None
    if header.pixels.undefined:
        if syntax != RLE and not _JPEG_FAMILY.fullmatch(syntax):
            raise ImageError(
                f"the transfer syntax {syntax or '(missing)'} is not read; "
                "export the image as JPEG or uncompressed"
            )
        return _RleFrames(header, image) if syntax == RLE else _CompressedFrames(header, image)
    if syntax and syntax not in _NATIVE:
        raise ImageError(
            f"the transfer syntax {syntax} is not read, or its pixel data are not in fragments; "
            "export the image as JPEG or uncompressed"
        )
    return _NativeFrames(header, image)


class _NativeFrames(Frames):
    """Uncompressed frames."""

    def __init__(self, header: HeaderFile, image: PixelFormat) -> None:
        assert header.pixels is not None
        self._file = header.file
        self._start = header.pixels.start
        self._image = image
        order = header.order
        self._dtype = np.dtype(f"{order}u{max(image.bits_allocated // 8, 1)}")
        self._swapped = order == ">" and image.bits_allocated == 8 and header.pixels.vr == "OW"
        frames = image.frames or 1
        self.layout = image.layout(frames, self._dtype)
        self.bits = image.bits_stored
        self.layout.check()
        held = min(header.pixels.length, header.size - self._start)
        self._subsampled = self._is_subsampled(held, frames)
        bits = self._frame_bits
        promised = -(-frames * bits // 8)
        if held < promised:
            raise ImageError(
                f"the header promises {frames} frames in {promised} bytes of pixel data, "
                f"the file holds {8 * held // bits} in {held}; "
                "it was cut off: copy it again from its source"
            )
        if held > promised + 1:
            self._check_excess(promised, held, frames)

    @property
    def _frame_bits(self) -> int:
        image = self._image
        samples = 2 if self._subsampled else image.samples
        return image.rows * image.columns * samples * image.bits_allocated

    def _is_subsampled(self, held: int, frames: int) -> bool:
        """Whether chroma is stored for two pixels at once; some files say so and store it all."""
        image = self._image
        if image.photometric == "YBR_PARTIAL_420":
            raise ImageError(
                "the photometric interpretation YBR_PARTIAL_420 is not read uncompressed; "
                "export the image as RGB"
            )
        if image.photometric not in _SUBSAMPLED:
            return False
        full = frames * image.rows * image.columns * 3
        if held in (full, full + full % 2):
            return False
        if image.bits_allocated != 8 or image.columns % 2:
            raise ImageError(
                f"{image.photometric} needs 8 bits and an even number of columns; "
                "export the image as RGB"
            )
        return True

    def _check_excess(self, promised: int, held: int, frames: int) -> None:
        """Refuse data that are longer than their header says, unless they end in padding."""
        excess = held - promised
        if excess < self._frame_bits // 8:
            self._file.seek(self._start + promised)
            if not any(read_exactly(self._file, excess)):
                return
        raise ImageError(
            f"the header promises {frames} frames in {promised} bytes of pixel data, the file "
            f"holds {held} bytes; export the image again, so that both agree"
        )

    def read(self, number: int) -> tuple[NDArray[Any], str]:
        image, bits = self._image, self._frame_bits
        first, last = number * bits // 8, -(-(number + 1) * bits // 8)
        # Bytes that were written in words of 16 bits of the other order stand in pairs.
        before = first % 2 if self._swapped else 0
        after = (last - first + before) % 2 if self._swapped else 0
        self._file.seek(self._start + first - before)
        content = read_exactly(self._file, last - first + before + after)
        if self._swapped:
            swapped = np.frombuffer(content, ">u2").astype("<u2").tobytes()
            content = swapped[before : before + last - first]
        count = image.rows * image.columns
        if image.bits_allocated == 1:
            unpacked = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
            start = number * bits % 8
            return unpacked[start : start + count].reshape(image.shape), image.photometric
        if self._subsampled:
            return _upsampled(np.frombuffer(content, np.uint8), image), image.photometric
        values = np.frombuffer(content, self._dtype).astype(self._dtype.newbyteorder("="))
        if image.planar:
            values = np.moveaxis(values.reshape(3, image.rows, image.columns), 0, -1)
        return _significant(values.reshape(image.shape), image), image.photometric


@dataclass(frozen=True)
class _Fragment:
    offset: int
    length: int


class _EncapsulatedFrames(Frames):
    """Frames in fragments."""

    def __init__(self, header: HeaderFile, image: PixelFormat) -> None:
        self._file = header.file
        self._image = image
        table, fragments = self._fragments(header)
        self._frames = self._grouped(table, fragments)

    def _fragments(self, header: HeaderFile) -> tuple[tuple[int, ...], list[_Fragment]]:
        """Return the offset of each frame, if the file tells them, and all fragments."""
        assert header.pixels is not None
        position = header.pixels.start
        items: list[_Fragment] = []
        while position + 8 <= header.size:
            self._file.seek(position)
            group, number, length = struct.unpack("<HHI", self._file.read(8))
            tag = group << 16 | number
            if tag == SEQUENCE_END:
                break
            if tag != ITEM or length == UNDEFINED:
                raise ImageError("the pixel data are damaged; export the image again")
            if position + 8 + length > header.size:
                raise ImageError(
                    f"fragment {len(items)} of the pixel data has {length} bytes, "
                    f"the file holds {header.size - position - 8} of them; "
                    "it was cut off: copy it again from its source"
                )
            items.append(_Fragment(position + 8, length))
            position += 8 + length
        if not items:
            raise ImageError("the DICOM file holds no pixel data; export the image again")
        self._file.seek(items[0].offset)
        basic = read_exactly(self._file, items[0].length)
        offsets: tuple[int, ...] = struct.unpack(
            f"<{len(basic) // 4}I", basic[: len(basic) // 4 * 4]
        )
        extended = header.elements.raw(0x7FE00001)
        if extended:
            offsets = struct.unpack(f"<{len(extended) // 8}Q", extended[: len(extended) // 8 * 8])
        return offsets, items[1:]

    def _grouped(self, table: tuple[int, ...], fragments: list[_Fragment]) -> list[list[_Fragment]]:
        """Return the fragments of each frame.

        Raises:
            ImageError: Their number is another than that of the header.
        """
        promised = self._image.frames
        whole = [fragment for fragment in fragments if fragment.length > 0]
        if promised is not None and len(whole) == promised:
            return [[fragment] for fragment in whole]
        candidates = [self._starts_by_table(table, fragments), self._starts(whole)]
        for starts, parts in zip(candidates, (fragments, whole), strict=True):
            if starts and (promised is None or len(starts) == promised):
                stops = [*starts[1:], len(parts)]
                return [parts[start:stop] for start, stop in zip(starts, stops, strict=True)]
        held = len(candidates[1])
        raise ImageError(
            f"the header promises {promised or 1} frames, the file holds {held}; "
            "it was cut off or put together wrongly: copy it again from its source"
        )

    @abstractmethod
    def _starts(self, fragments: list[_Fragment]) -> list[int]:
        """Return the numbers of the fragments that begin a frame, by their content."""

    def _starts_by_table(self, table: tuple[int, ...], fragments: list[_Fragment]) -> list[int]:
        """Return the same by the offset table; none where it fits no fragments."""
        if not table or not fragments:
            return []
        base = fragments[0].offset - 8
        numbers = {fragment.offset - 8 - base: n for n, fragment in enumerate(fragments)}
        starts = [numbers.get(offset, -1) for offset in table]
        valid = starts[0] == 0 and all(a < b for a, b in pairwise(starts))
        return starts if valid else []

    def _stream(self, number: int, limit: int | None = None) -> bytes:
        """Return the compressed bytes of a frame, or the first of them."""
        parts: list[bytes] = []
        left = sum(part.length for part in self._frames[number]) if limit is None else limit
        check_decoded_bytes(left)
        for part in self._frames[number]:
            if left <= 0:
                break
            self._file.seek(part.offset)
            parts.append(read_exactly(self._file, min(part.length, left)))
            left -= part.length
        return b"".join(parts)


class _CompressedFrames(_EncapsulatedFrames):
    """Frames of the JPEG family, each with markers of its own."""

    def __init__(self, header: HeaderFile, image: PixelFormat) -> None:
        super().__init__(header, image)
        self._headers = [self._checked(number) for number in range(len(self._frames))]
        self.bits = max(found.precision for found in self._headers)
        dtype = np.dtype(np.uint8 if self.bits <= 8 else np.uint16)
        self.layout = image.layout(len(self._frames), dtype)
        self.layout.check()

    def _starts(self, fragments: list[_Fragment]) -> list[int]:
        starts = []
        for number, fragment in enumerate(fragments):
            self._file.seek(fragment.offset)
            if starts_codestream(self._file.read(min(fragment.length, 12))):
                starts.append(number)
        return starts if starts[:1] == [0] else []

    def _checked(self, number: int) -> Codestream:
        """Return the markers of a frame, within the limits and equal to the header."""
        image = self._image
        try:
            found = parse_codestream(self._stream(number, _HEADER_BYTES))
        except ShortHeaderError:
            found = parse_codestream(self._stream(number))
        dtype = np.dtype(np.uint8 if found.precision <= 8 else np.uint16)
        PixelLayout(len(self._frames), found.height, found.width, found.components, dtype).check()
        if (found.height, found.width) != (image.rows, image.columns):
            raise ImageError(
                f"the header says {image.rows} x {image.columns} pixels, the compressed image "
                f"has {found.height} x {found.width} (rows x columns); export the image again"
            )
        if found.components != image.samples:
            raise ImageError(
                f"the header says {image.samples} samples a pixel, the compressed image has "
                f"{found.components}; export the image again"
            )
        if found.precision > max(image.bits_allocated, 8):
            raise ImageError(
                f"the header allocates {image.bits_allocated} bits for a sample, the compressed "
                f"image has {found.precision}; export the image again"
            )
        return found

    def read(self, number: int) -> tuple[NDArray[Any], str]:
        image, found, stream = self._image, self._headers[number], self._stream(number)
        photometric = image.photometric
        ybr: bool | None = None
        if found.components == 3:
            # What the stream does not mark is what the header says.
            if found.colour is not Colour.UNMARKED:
                ybr = found.colour is Colour.YBR
            else:
                ybr = photometric in ("YBR_FULL", *_SUBSAMPLED, "YBR_PARTIAL_420")
            # Lossless streams keep their components; the others are converted by the decoder.
            kept = found.codec in (Codec.JPEG_LOSSLESS, Codec.JPEG_LS, Codec.JPEG_2000)
            photometric = "YBR_FULL" if kept and ybr else "RGB"
            ybr = False if kept else ybr
        if found.codec is Codec.JPEG:
            return parse_jpeg_stream(stream).decode(ybr), photometric
        values = sandbox.decode(stream, found, ybr=ybr)
        return _signed(values, found.precision) if image.signed else values, photometric


class _RleFrames(_EncapsulatedFrames):
    """Frames of run lengths, one fragment each."""

    def __init__(self, header: HeaderFile, image: PixelFormat) -> None:
        super().__init__(header, image)
        if image.bits_allocated < 8:
            raise ImageError("run lengths of single bits are not read; export it uncompressed")
        self._dtype = np.dtype(f"u{image.bits_allocated // 8}")
        self.bits = image.bits_stored
        self.layout = image.layout(len(self._frames), self._dtype)
        self.layout.check()

    def _starts(self, fragments: list[_Fragment]) -> list[int]:
        return list(range(len(fragments)))

    def read(self, number: int) -> tuple[NDArray[Any], str]:
        image, stream = self._image, self._stream(number)
        planes = image.samples * self._dtype.itemsize
        if len(stream) < 64:
            raise ImageError("the pixel data are damaged; export the image again")
        count, *starts = struct.unpack("<16I", stream[:64])
        starts = starts[:count]
        if count != planes:
            raise ImageError(
                f"the header promises {planes} planes of bytes, the compressed image holds "
                f"{count}; export the image again"
            )
        edges = [*starts, len(stream)]
        if edges != sorted(edges) or edges[0] < 64:
            raise ImageError("the pixel data are damaged; export the image again")
        size = image.rows * image.columns
        found = np.empty((planes, size), np.uint8)
        for plane, (start, stop) in enumerate(pairwise(edges)):
            found[plane] = _unpacked(stream[start:stop], size)
        # The bytes of a sample begin with the highest.
        words = found.reshape(image.samples, self._dtype.itemsize, size)
        values = np.zeros((image.samples, size), self._dtype)
        for byte in range(self._dtype.itemsize):
            shift = self._dtype.type(8 * (self._dtype.itemsize - 1 - byte))
            values |= words[:, byte].astype(self._dtype) << shift
        pixels = values.T.reshape(image.shape)
        return _significant(pixels, image), image.photometric


def _unpacked(segment: bytes, size: int) -> NDArray[np.uint8]:
    """Return the bytes of one segment of run lengths.

    Raises:
        ImageError: They are fewer or more than the frame has.
    """
    import imagecodecs

    target = bytearray(size + 2)  # a padded segment may give bytes of its padding
    try:
        found = imagecodecs.packbits_decode(segment, out=target)
    except RuntimeError as error:  # of which its errors are
        raise ImageError("the pixel data are damaged; export the image again") from error
    if len(found) < size:
        raise ImageError(
            f"the header promises {size} bytes for a plane, the compressed image holds "
            f"{len(found)}; it was cut off: copy it again from its source"
        )
    return np.frombuffer(target, np.uint8)[:size]


def _upsampled(content: NDArray[np.uint8], image: PixelFormat) -> NDArray[np.uint8]:
    """Return Y, Cb, Cr for each pixel of a frame stored as Y1 Y2 Cb Cr."""
    quads = content.reshape(image.rows, image.columns // 2, 4)
    pixels = np.empty((image.rows, image.columns // 2, 2, 3), np.uint8)
    pixels[..., 0] = quads[..., :2]
    pixels[..., 1:] = quads[..., None, 2:]
    return pixels.reshape(image.rows, image.columns, 3)


def _significant(values: NDArray[Any], image: PixelFormat) -> NDArray[Any]:
    """Return the bits that are stored, without overlays and padding in the others."""
    shift = values.dtype.type(image.high_bit - image.bits_stored + 1)
    mask = values.dtype.type(2**image.bits_stored - 1)
    values = values >> shift & mask
    return _signed(values, image.bits_stored) if image.signed else values


def _signed(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return unsigned patterns of some bits as two's complement."""
    kind = np.dtype(f"i{values.dtype.itemsize}")
    unused = kind.type(8 * kind.itemsize - bits)
    found: NDArray[Any] = np.right_shift(np.left_shift(values.view(kind), unused), unused)
    return found
