"""MetaImage (`.mha`, and `.mhd` whose pixels follow its header).

Source: https://itk.org/Wiki/ITK/MetaIO/Documentation, and MetaIO where that is silent.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import payload
from lfusion.image.image import Geometry
from lfusion.image.limits import PixelLayout
from lfusion.image.volumes import (
    LENGTH_UNITS_MM,
    ParsedVolume,
    make_geometry,
    pixel_size_of,
    plane_size,
)

_TYPES = {
    "CHAR": "i1", "ASCII_CHAR": "i1", "UCHAR": "u1",
    "SHORT": "i2", "USHORT": "u2",
    "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4",
    "LONG_LONG": "i8", "ULONG_LONG": "u8",
    "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
"""MetaIO's element types; its long has 4 bytes on every machine."""

_KEYS = (
    "ObjectType", "NDims", "DimSize", "BinaryData", "BinaryDataByteOrderMSB",
    "ElementByteOrderMSB", "CompressedData", "CompressedDataSize", "HeaderSize", "ElementSize",
    "ElementSpacing", "ElementNumberOfChannels", "ElementType", "ElementDataFile", "Offset",
    "Position", "Origin", "TransformMatrix", "Rotation", "Orientation", "DistanceUnits",
)  # fmt: skip
_LINE = re.compile(rb"\s*([^\s=:]+)\s*[=:][ \t]*(.*)")
_MAX_HEADER = 1 << 20


@dataclass(frozen=True)
class _Data:
    """Where the values lie and how they are written.

    Attributes:
        start: Offset of the first byte.
        text: Whether they are numbers in ASCII.
        compressed: Bytes of the zlib stream, all that follow where it is 0, None without one.
    """

    start: int
    text: bool
    compressed: int | None


class MetaImage(ParsedVolume):
    """A parsed MetaImage file."""

    format = "MetaImage"

    def __init__(
        self,
        file: BinaryIO,
        data: _Data,
        layout: PixelLayout,
        geometry: Geometry,
        unit_mm: float | None,
    ) -> None:
        self.layout = layout
        self.geometry = geometry
        self.pixel_size_mm = pixel_size_of(geometry, unit_mm)
        self._file = file
        self._data = data

    def _values(self) -> NDArray[Any]:
        layout, data = self.layout, self._data
        shape = (layout.frames, layout.height, layout.width, layout.channels)
        self._file.seek(data.start)
        if data.text:
            values = payload.read_numbers(self._file, math.prod(shape), layout.dtype)
        else:
            content = payload.read_all_of(self._stream(), layout.total_bytes)
            values = np.frombuffer(content, layout.dtype)
        values = values.reshape(shape)
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        return native[..., 0] if layout.channels == 1 else native

    def _stream(self) -> BinaryIO:
        size = self._data.compressed
        if size is None:
            return self._file
        window = payload.Window(self._file, size) if size else self._file
        return payload.inflated(cast(BinaryIO, window))


def parse_metaimage(file: BinaryIO) -> MetaImage:
    """Parse the header of a MetaImage file.

    Args:
        file: Open at its first byte; it stays open as long as the result is used.

    Returns:
        The parsed file. A file of two dimensions keeps a geometry of two.

    Raises:
        ImageError: The header is damaged or contradicts itself, or the pixels lie elsewhere.
        TooLargeError: The image exceeds the limits.
    """
    fields = _Fields(_read_header(file))
    end = file.tell()
    fields.choose("ObjectType", "Image", ("image",))
    dimensions = fields.integers("NDims", 1)[0]
    if not 2 <= dimensions <= 10:
        raise ImageError(f"the header gives {dimensions} dimensions, an image has 2 or 3")
    frames, height, width = plane_size(fields.integers("DimSize", dimensions))
    text = not fields.flag("BinaryData", default=True)
    layout = PixelLayout(
        frames,
        height,
        width,
        fields.integers("ElementNumberOfChannels", 1, default=(1,))[0],
        _dtype(fields, text=text),
    )
    layout.check()
    geometry, unit_mm = _place(fields, dimensions)
    return MetaImage(file, _locate(fields, file, end, layout, text=text), layout, geometry, unit_mm)


class _Fields:
    """Values of the header by key."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def text(self, key: str) -> str:
        return self._values.get(key, "")

    def choose(self, key: str, default: str, allowed: tuple[str, ...]) -> str:
        value = (self.text(key) or default).lower()
        if value not in allowed:
            raise ImageError(f"the header gives {key} = {value!r}; expected {' or '.join(allowed)}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        true, false = ("true", "t", "1"), ("false", "f", "0")
        return self.choose(key, str(default), true + false) in true

    def integers(
        self, key: str, count: int, default: tuple[int, ...] | None = None
    ) -> tuple[int, ...]:
        return tuple(map(int, self._numbers(key, count, default, re.compile(r"[+-]?\d{1,18}"))))

    def floats(self, key: str, count: int) -> tuple[float, ...] | None:
        if not self.text(key):
            return None
        return tuple(map(float, self._numbers(key, count, None, re.compile(r"[+-]?[\d.eE+-]+"))))

    def _numbers(
        self, key: str, count: int, default: tuple[int, ...] | None, pattern: re.Pattern[str]
    ) -> list[str]:
        words = self.text(key).split()
        if not words and default is not None:
            return list(map(str, default))
        if len(words) != count or not all(map(pattern.fullmatch, words)):
            raise ImageError(
                f"the header gives {key} = {self.text(key)[:80]!r}; expected {count} numbers; "
                "export the file again"
            )
        return words


def _read_header(file: BinaryIO) -> dict[str, str]:
    """Read `key = value` lines up to `ElementDataFile`, after which the pixels start."""
    values: dict[str, str] = {}
    left = _MAX_HEADER
    while left > 0:
        line = file.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            break
        content = line.removesuffix(b"\n").removesuffix(b"\r")
        if not content.strip(b" \t"):
            continue
        key, value = _parse_line(content)
        if key in values:
            raise ImageError(f"the header gives {key} twice; export the file again")
        values[key] = value
        if key == "ElementDataFile":
            if value.lower() != "local":
                raise ImageError(
                    "its pixels lie in another file, which is not followed; save it as .mha, "
                    "which holds header and pixels"
                )
            return values
    raise ImageError(
        "the header of a MetaImage file ends with a line ElementDataFile = LOCAL, found none; "
        "it is a damaged or another file: export it again"
    )


def _parse_line(content: bytes) -> tuple[str, str]:
    match = _LINE.fullmatch(content)
    if match is None or b"\r" in content or b"\0" in content:
        raise ImageError(
            "a line of the header is not of the form key = value; "
            "it is a damaged or another file: export it again"
        )
    key, value = (part.decode("latin-1").strip() for part in match.groups())
    if key not in _KEYS and key.lower() in _LOWER:
        raise ImageError(
            f"the header spells {_LOWER[key.lower()]} as {key}, which readers take for another "
            "key; export the file again"
        )
    return key, value


_LOWER = {key.lower(): key for key in _KEYS}


def _dtype(fields: _Fields, *, text: bool) -> np.dtype[Any]:
    name = fields.text("ElementType").removeprefix("MET_").removesuffix("_ARRAY")
    if name not in _TYPES:
        raise ImageError(
            f"the header gives ElementType = {fields.text('ElementType')[:80]!r}; expected MET_ "
            f"and one of {', '.join(_TYPES)}; export the file again"
        )
    orders = {
        fields.flag(key, default=False)
        for key in ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
        if fields.text(key)
    }
    dtype = np.dtype(_TYPES[name])
    if len(orders) > 1 and dtype.itemsize > 1:
        raise ImageError(
            "BinaryDataByteOrderMSB and ElementByteOrderMSB contradict each other; "
            "export the file again"
        )
    return dtype.newbyteorder(">" if True in orders and not text else "<")


def _place(fields: _Fields, dimensions: int) -> tuple[Geometry, float | None]:
    """Give the place in space and the unit of its spacing in mm, None when unknown.

    MetaIO takes the first of each list that is given. Zero spacing counts as absent.
    """
    kept = min(dimensions, 3)
    spacing = _first(fields, ("ElementSpacing", "ElementSize"), dimensions)
    if spacing is not None and not any(spacing):
        spacing = None
    origin = _first(fields, ("Origin", "Offset", "Position"), dimensions) or (0.0,) * dimensions
    matrix = _first(fields, ("TransformMatrix", "Rotation", "Orientation"), dimensions**2)
    axes = np.eye(dimensions) if matrix is None else np.reshape(matrix, (dimensions, dimensions))
    geometry = make_geometry(
        (spacing or (1.0,) * dimensions)[:kept],
        origin[:kept],
        tuple(tuple(axis[:kept].tolist()) for axis in axes[:kept]),
        physical=spacing is not None,
    )
    if spacing is None:
        return geometry, None
    unit = fields.text("DistanceUnits").strip('"').lower()
    return geometry, LENGTH_UNITS_MM.get(unit) if unit and unit != "?" else 1.0


def _first(fields: _Fields, keys: tuple[str, ...], count: int) -> tuple[float, ...] | None:
    values = [fields.floats(key, count) for key in keys]
    return next((value for value in values if value is not None), None)


def _locate(fields: _Fields, file: BinaryIO, end: int, layout: PixelLayout, *, text: bool) -> _Data:
    skipped = fields.integers("HeaderSize", 1, default=(0,))[0]
    compressed = fields.flag("CompressedData", default=False)
    size = fields.integers("CompressedDataSize", 1, default=(0,))[0] if compressed else None
    if (compressed and (text or skipped < 0)) or (text and skipped < 0) or skipped < -1:
        raise ImageError(
            "the header combines CompressedData, BinaryData and HeaderSize in a way that no reader "
            "knows; export the file again"
        )
    if size is not None and size < 0:
        raise ImageError(f"the header gives CompressedDataSize = {size}; export the file again")
    length = file.seek(0, 2)
    start = end
    if skipped > 0:
        start = skipped
    elif skipped == -1:
        start = max(end, length - layout.total_bytes)
    if not end <= start <= length:
        raise ImageError(
            f"the header places the pixels at byte {start}, the header ends at byte {end} and the "
            f"file at byte {length}; export the file again"
        )
    return _Data(start, text, size)
