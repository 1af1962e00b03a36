"""Header of a DICOM file: the few values that pixels and calibration need, without recursion.

A general reader builds an object for every item of every sequence, which takes a hundred times
the memory of a hostile file, and descends into them by recursion. This one only walks over the
elements, and converts a value when it is asked for.

Source: DICOM PS3.5 sections 6.2 and 7, PS3.10 section 7.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import limits

IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
EXPLICIT_BIG_ENDIAN = "1.2.840.10008.1.2.2"

UNDEFINED = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD

_TRANSFER_SYNTAX = 0x00020010
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}

MAX_ELEMENTS = 200_000
"""Elements and items that are walked over in one file; 1 000 frames with 50 values have 50 000."""

MAX_VALUE_BYTES = 2**20
"""Of one value that is read; the largest is a colour table of 2^16 entries of 2 bytes."""

MAX_INFLATED_BYTES = 2**28
"""Of a data set that is deflated as a whole, pixels included."""


@dataclass(frozen=True)
class Element:
    """Place of one value in the file.

    Attributes:
        vr: Value representation; empty where the file does not say it.
        start: Offset of the value.
        length: Bytes of the value, the delimiter of an undefined length excluded.
        explicit: Whether elements inside the value name their representation.
        undefined: Whether the length was left undefined.
    """

    vr: str
    start: int
    length: int
    explicit: bool
    undefined: bool


class _Inflated(io.BytesIO):
    """Data set in memory; with a name and a mode it is a `BinaryIO` at run time too."""

    name = "data set"
    mode = "rb"


class Elements:
    """The elements of a data set or of one item, by tag.

    Args:
        header: Of the file.
        elements: Tag to place.
    """

    def __init__(self, header: HeaderFile, elements: Mapping[int, Element]) -> None:
        self._header = header
        self._elements = elements

    def __contains__(self, tag: int) -> bool:
        return tag in self._elements and self._elements[tag].length > 0

    def raw(self, tag: int) -> bytes:
        """Return the bytes of a value; empty where it is absent.

        Raises:
            ImageError: The value is longer than any of its kind.
        """
        element = self._elements.get(tag)
        return b"" if element is None else self._header.value(element)

    def text(self, tag: int) -> str:
        """Return a text in upper case without padding; empty where it is absent."""
        return self.raw(tag).decode("latin-1").strip(" \0\t\r\n").upper()

    def numbers(self, tag: int, vr: str) -> tuple[float, ...]:
        """Return the numbers of a value; none where it is absent.

        Args:
            tag: Of the element.
            vr: Representation where the file does not say it.

        Raises:
            ImageError: It holds something else than finite numbers.
        """
        element = self._elements.get(tag)
        if element is None or element.length == 0:
            return ()
        content = self._header.value(element)
        kind = element.vr if element.vr in (*_BINARY, "DS", "IS") else vr
        if kind in ("DS", "IS"):
            return _decimals(content, tag)
        code = _BINARY[kind]
        count, rest = divmod(len(content), struct.calcsize(code))
        if rest:
            raise ImageError(f"{_name(tag)} in the header is damaged; export the image again")
        values = struct.unpack(f"{self._header.order}{count}{code}", content)
        if not all(map(math.isfinite, values)):
            raise ImageError(f"{_name(tag)} in the header is not finite; export the image again")
        return tuple(map(float, values))

    def number(self, tag: int, vr: str) -> float | None:
        """Return the first number of a value, None where it is absent."""
        return next(iter(self.numbers(tag, vr)), None)

    def count(self, tag: int, vr: str = "US") -> int:
        """Return a whole number; 0 where it is absent.

        Raises:
            ImageError: It is a fraction or negative.
        """
        value = self.number(tag, vr) or 0.0
        if value < 0 or value != int(value):
            raise ImageError(
                f"{_name(tag)} in the header is {value:g}; expected a whole number, "
                "export the image again"
            )
        return int(value)

    def items(self, tag: int, limit: int = 10_000) -> list[Elements]:
        """Return the items of a sequence; none where it is absent.

        Args:
            tag: Of the sequence.
            limit: Items that are accepted.

        Raises:
            ImageError: The sequence is damaged or has more items.
        """
        element = self._elements.get(tag)
        return [] if element is None else self._header.items(element, limit)


class HeaderFile:
    """An open DICOM file, walked up to its pixel data.

    Attributes:
        file: With the data set; another than the one given where that is deflated.
        size: Bytes of `file`.
        transfer_syntax: UID; empty where the file does not say it.
        order: `<` or `>`, as for `struct`.
        elements: Of the data set before the pixel data.
        pixels: Place of the pixel data, None without any; for an undefined length up to the end
            of the file.
        pixel_tag: Tag of the pixel data.

    Args:
        file: Open and seekable.

    Raises:
        ImageError: The file is no DICOM file, or its header is cut off or damaged.
        TooLargeError: A deflated data set is larger than the limit.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        self.order = "<"
        self._steps = 0
        self.pixels: Element | None = None
        self.pixel_tag = 0
        start = _data_start(file)
        if start is None:
            raise ImageError("this is no DICOM file; export the image as DICOM again")
        self.transfer_syntax, start = self._read_meta(start)
        if self.transfer_syntax == DEFLATED:
            self.file, self.size, start = _inflated(file, start)
        self.explicit = self._guess_encoding(start)
        found: dict[int, Element] = {}
        for tag, element in self._walk(start, self.size, self.explicit):
            if tag in _PIXEL_TAGS:
                self.pixels, self.pixel_tag = element, tag
                break
            _add(found, tag, element)
        self.elements = Elements(self, found)

    def value(self, element: Element) -> bytes:
        """Return the bytes of a value that is not pixel data.

        Raises:
            ImageError: It is longer than any value that is needed, or cut off.
        """
        if element.length > MAX_VALUE_BYTES:
            raise ImageError("a value in the header is too long; export the image again")
        return self._at(element.start, element.length)

    def items(self, sequence: Element, limit: int) -> list[Elements]:
        """Return the items of a sequence.

        Raises:
            ImageError: It is damaged or has more items than the limit.
        """
        found: list[Elements] = []
        position, end = sequence.start, sequence.start + sequence.length
        while position + 8 <= end:
            tag, length = self._tag_and_length(position)
            if tag == SEQUENCE_END:
                break
            if tag != ITEM:
                raise _damaged()
            if len(found) == limit:
                raise ImageError("a sequence in the header is too long; export the image again")
            start = position + 8
            if length == UNDEFINED:
                stop, position = self._skip_undefined(start, sequence.explicit, end, item=True)
            else:
                stop = position = start + length
            if stop > end:
                raise _damaged()
            elements: dict[int, Element] = {}
            for tag, element in self._walk(start, stop, sequence.explicit):
                _add(elements, tag, element)
            found.append(Elements(self, elements))
        return found

    def _read_meta(self, start: int) -> tuple[str, int]:
        """Return the transfer syntax and where the data set begins."""
        syntax = ""
        position = start
        while True:
            head = self._peek(position, 8)
            if len(head) < 8 or head[:2] != b"\x02\0":
                return syntax, position
            tag, element, position = self._element(position, self.size, explicit=True)
            if tag == _TRANSFER_SYNTAX:
                syntax = self.value(element).decode("latin-1").strip(" \0")

    def _guess_encoding(self, start: int) -> bool:
        """Set the byte order; return whether the data set names its representations."""
        head = self._peek(start, 6)
        explicit = head[4:6] in _LONG | _SHORT
        known = self.transfer_syntax != ""
        if self.transfer_syntax == EXPLICIT_BIG_ENDIAN or (
            not known and explicit and head[:1] == b"\0" and head[1:2] != b"\0"
        ):
            self.order = ">"
        return explicit

    def _walk(self, start: int, end: int, explicit: bool) -> Iterator[tuple[int, Element]]:
        position = start
        while position + 8 <= end:
            tag, element, position = self._element(position, end, explicit)
            if tag in (ITEM_END, SEQUENCE_END):
                return
            yield tag, element
            if tag in _PIXEL_TAGS:
                return

    def _element(self, position: int, end: int, explicit: bool) -> tuple[int, Element, int]:
        """Return tag, place, and the offset of the next element."""
        tag, vr, start, length = self._head(position, explicit)
        inner = explicit and vr != "UN"
        if tag in _PIXEL_TAGS:
            undefined = length == UNDEFINED
            return (
                tag,
                Element(vr, start, end - start if undefined else length, inner, undefined),
                end,
            )
        if length != UNDEFINED:
            if start + length > end:
                raise ImageError(
                    f"the file ends inside {_name(tag)} of its header; "
                    "it was cut off: copy it again from its source"
                )
            return tag, Element(vr, start, length, inner, False), start + length
        stop, after = self._skip_undefined(start, inner, end, item=False)
        return tag, Element(vr, start, stop - start, inner, True), after

    def _skip_undefined(
        self, start: int, explicit: bool, end: int, *, item: bool
    ) -> tuple[int, int]:
        """Return the offsets of the delimiter that ends a sequence or an item, and after it."""
        position = start
        # whether each open level is an item, and whether its elements name representations
        levels = [(item, explicit)]
        while position + 8 <= end:
            inside_item, names = levels[-1]
            tag, length = self._tag_and_length(position)
            if tag in (ITEM_END, SEQUENCE_END):
                self._count()
                if inside_item != (tag == ITEM_END):
                    raise _damaged()
                levels.pop()
                if not levels:
                    return position, position + 8
                position += 8
            elif inside_item:
                _, vr, value, length = self._head(position, names)
                if length == UNDEFINED:
                    levels.append((False, names and vr != "UN"))
                    length = 0
                position = value + length
            elif tag == ITEM:
                self._count()
                if length == UNDEFINED:
                    levels.append((True, names))
                    length = 0
                position += 8 + length
            else:
                raise _damaged()
        raise ImageError(
            "the file ends inside a sequence of its header; "
            "it was cut off: copy it again from its source"
        )

    def _head(self, position: int, explicit: bool) -> tuple[int, str, int, int]:
        """Return tag, representation, offset and length of the value."""
        self._count()
        head = self._at(position, 8)
        group, number = struct.unpack(self.order + "HH", head[:4])
        tag, vr = group << 16 | number, head[4:6]
        if tag in (ITEM, ITEM_END, SEQUENCE_END) or not explicit or vr not in _LONG | _SHORT:
            return tag, "", position + 8, struct.unpack(self.order + "I", head[4:])[0]
        if vr in _SHORT:
            length = struct.unpack(self.order + "H", head[6:])[0]
            return tag, vr.decode(), position + 8, length
        length = struct.unpack(self.order + "I", self._at(position + 8, 4))[0]
        return tag, vr.decode(), position + 12, length

    def _tag_and_length(self, position: int) -> tuple[int, int]:
        group, number, length = struct.unpack(self.order + "HHI", self._at(position, 8))
        return group << 16 | number, length

    def _count(self) -> None:
        self._steps += 1
        if self._steps > MAX_ELEMENTS:
            raise ImageError(
                f"the header has more than {MAX_ELEMENTS} elements; export the image again"
            )

    def _peek(self, position: int, count: int) -> bytes:
        self.file.seek(position)
        return self.file.read(count)

    def _at(self, position: int, count: int) -> bytes:
        if position + count > self.size:
            raise ImageError(
                "the file ends inside its header; it was cut off: copy it again from its source"
            )
        return self._peek(position, count)


def is_dicom(file: BinaryIO) -> bool:
    """Return whether a file is DICOM by its content, with or without a preamble.

    Args:
        file: Open and seekable; left at its start.
    """
    start = _data_start(file)
    file.seek(0)
    return start is not None


def _data_start(file: BinaryIO) -> int | None:
    """Return where the elements begin, None for another format."""
    file.seek(0)
    head = file.read(132)
    if head[128:] == b"DICM":
        return 132
    if len(head) < 16:
        return None
    # Without a preamble a file begins with group 2, or with the first element of group 8.
    vr = head[4:6]
    for order in "<>":
        group, number = struct.unpack(order + "HH", head[:4])
        if (group, number) not in ((2, 0), (2, 1), (2, 2), (2, 16)) and not (
            group == 8 and number <= 0x20
        ):
            continue
        if vr in _SHORT | _LONG:
            return 0
        if order == "<" and struct.unpack("<I", head[4:8])[0] <= 128 and group == 8:
            return 0
    return None


def _inflated(file: BinaryIO, start: int) -> tuple[BinaryIO, int, int]:
    """Return the data set of a deflated file, its size and its start."""
    file.seek(start)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    content = bytearray()
    limit = min(MAX_INFLATED_BYTES, limits.MAX_DECODED_BYTES)
    try:
        while not unpacker.eof:
            piece = unpacker.unconsumed_tail or file.read(2**16)
            if not piece:
                raise ImageError(
                    "the deflated data set ends early; the file was cut off: "
                    "copy it again from its source"
                )
            content += unpacker.decompress(piece, 2**20)
            if len(content) > limit:
                raise TooLargeError(
                    f"the deflated data set takes more than the limit of {limit} bytes; "
                    "export the image without deflating it"
                )
    except zlib.error as error:
        raise ImageError("the deflated data set is damaged; export the image again") from error
    return _Inflated(content), len(content), 0


def _decimals(content: bytes, tag: int) -> tuple[float, ...]:
    words = content.decode("latin-1").strip(" \0").split("\\")
    if words == [""]:
        return ()
    try:
        values = tuple(float(word.strip(" \0")) if word.strip(" \0") else 0.0 for word in words)
    except ValueError as error:
        raise ImageError(
            f"{_name(tag)} in the header is not a number; export the image again"
        ) from error
    if not all(map(math.isfinite, values)):
        raise ImageError(f"{_name(tag)} in the header is not finite; export the image again")
    return values


def _add(found: dict[int, Element], tag: int, element: Element) -> None:
    """Keep one element; readers disagree about which of two equal tags counts."""
    if tag in found and tag >> 16 == 0x0028:
        raise ImageError(f"the header holds {_name(tag)} twice; export the image again")
    found.setdefault(tag, element)


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _damaged() -> ImageError:
    return ImageError("a sequence in the header is damaged; export the image again")
