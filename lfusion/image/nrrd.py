"""NRRD, header and pixels in one file; also segmentations of 3D Slicer (`.seg.nrrd`).

Source: https://teem.sourceforge.net/nrrd/format.html, and Teem where that is silent; Slicer's
keys: https://slicer.readthedocs.io/en/latest/user_guide/modules/segmentations.html.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import payload
from lfusion.image.image import Geometry
from lfusion.image.limits import PixelLayout, check_decoded_bytes
from lfusion.image.volumes import (
    LENGTH_UNITS_MM,
    ParsedVolume,
    make_geometry,
    pixel_size_of,
    plane_size,
)

_TYPES = {
    "i1": "signed char/int8/int8_t",
    "u1": "uchar/unsigned char/uint8/uint8_t",
    "i2": "short/short int/signed short/signed short int/int16/int16_t",
    "u2": "ushort/unsigned short/unsigned short int/uint16/uint16_t",
    "i4": "int/signed int/int32/int32_t",
    "u4": "uint/unsigned int/uint32/uint32_t",
    "i8": "longlong/long long/long long int/signed long long/signed long long int/int64/int64_t",
    "u8": "ulonglong/unsigned long long/unsigned long long int/uint64/uint64_t",
    "f4": "float",
    "f8": "double",
}
_TYPE_OF = {name: code for code, names in _TYPES.items() for name in names.split("/")}
_ENCODING_OF = {
    "raw": "raw",
    "ascii": "text", "text": "text", "txt": "text",
    "hex": "hex",
    "gzip": "gzip", "gz": "gzip",
    "bzip2": "bzip2", "bz2": "bzip2",
}  # fmt: skip
_SYNONYMS = {
    "blocksize": "block size", "axismins": "axis mins", "axismaxs": "axis maxs",
    "centerings": "centers", "lineskip": "line skip", "byteskip": "byte skip",
    "oldmin": "old min", "oldmax": "old max", "datafile": "data file",
    "sampleunits": "sample units",
}  # fmt: skip
_FIELDS = frozenset(
    (
        "content", "number", "type", "block size", "dimension", "space", "space dimension",
        "sizes", "spacings", "thicknesses", "axis mins", "axis maxs", "space directions",
        "centers", "kinds", "labels", "units", "min", "max", "old min", "old max", "endian",
        "encoding", "line skip", "byte skip", "sample units", "space units", "space origin",
        "measurement frame", "data file",
    )
)  # fmt: skip
_DOMAIN_KINDS = frozenset(("", "???", "none", "domain", "space", "time"))
_COLOURS = frozenset(
    ("rgb-color", "3-color", "rgba-color", "4-color", "vector", "3-vector", "4-vector")
)
_STUBS = frozenset(("stub", "scalar"))
_SPACES = {
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "scanner-xyz": (1, 1, 1), "3d-right-handed": (1, 1, 1), "3d-left-handed": (1, 1, 1),
}  # fmt: skip
"""Signs that turn coordinates into LPS, as ITK does; unnamed spaces are taken for LPS."""

_MAGIC = re.compile(rb"NRRD00(?:\.01|0[1-5])")
_MAX_HEADER = 1 << 20
_MAX_DIMENSIONS = 16
_DAMAGED = "it is a damaged or another file: export it again"
_SEGMENT_KEY = re.compile(r"Segment(\d{1,6})_(Name|LabelValue|Layer)")
_OFFSET_KEY = "Segmentation_ReferenceImageExtentOffset"


@dataclass(frozen=True)
class Segment:
    """One segment of a segmentation of 3D Slicer.

    Attributes:
        name: As the annotator called it.
        value: Its value in its layer.
        layer: Number of the layer.
    """

    name: str
    value: int
    layer: int


class Nrrd(ParsedVolume):
    """A parsed NRRD file.

    Attributes:
        segments: Of a segmentation of 3D Slicer, in order; empty otherwise.
        is_segmentation: Whether 3D Slicer wrote it as a segmentation.
        extent_offset: (x, y, z) place of the first voxel in the image that was segmented, None
            where the file does not say it.
    """

    format = "NRRD"

    def __init__(self, file: BinaryIO, header: _Header, axes: _Axes) -> None:
        self.layout = axes.layout
        self.geometry, unit_mm = _place(header, axes)
        self.pixel_size_mm = pixel_size_of(self.geometry, unit_mm)
        self.segments = _segments(header.keys)
        self.is_segmentation = _is_segmentation(header.keys)
        self.extent_offset = _extent_offset(header.keys)
        self._file = file
        self._header = header
        self._axes = axes

    def stored(self) -> NDArray[Any]:
        """Give the values of all slices; see `ParsedImage`."""
        if self.is_segmentation and self._axes.layers > 1:
            raise ImageError(
                f"the segmentation has {self._axes.layers} layers; its segments are laid on one "
                "another by name"
            )
        return super().stored()

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """Give grey or colour as viewers show it; see `ParsedImage`."""
        if self.is_segmentation:
            raise ImageError(
                "it is a segmentation of 3D Slicer, not an image; choose the image it was drawn on"
            )
        return super().shown(frame)

    def layers(self) -> NDArray[Any]:
        """Decode the layers of a segmentation.

        Returns:
            [layers, frames, height, width].
        """
        values = self._decode()
        return values if self._axes.layers > 1 else values[None]

    def _check_colour(self) -> None:
        kind = self._axes.kind
        if kind and kind not in _COLOURS:
            raise ImageError(f"each pixel is a {kind}, not a colour; export a grey or colour image")
        super()._check_colour()

    def _values(self) -> NDArray[Any]:
        values = self._decode()
        return values if self.layout.channels == 1 else np.moveaxis(values, 0, -1)

    def _decode(self) -> NDArray[Any]:
        """Decode to [frames, height, width], with what the range axis holds in front of it."""
        header, axes = self._header, self._axes
        dtype = axes.layout.dtype
        count = math.prod(axes.sizes)
        check_decoded_bytes(count * dtype.itemsize)
        self._file.seek(header.start)
        for _ in range(header.count("line skip", least=0)):
            if not self._file.readline(_MAX_HEADER):
                break  # then fewer pixels are found than promised
        values = _read_values(self._file, header, count, dtype).reshape(axes.sizes[::-1])
        native = values.astype(dtype.newbyteorder("="), copy=False)
        if axes.range_axis is not None:
            native = np.moveaxis(native, len(axes.sizes) - 1 - axes.range_axis, 0)
        shape = (axes.layout.frames, axes.layout.height, axes.layout.width)
        inside = axes.layers * axes.layout.channels
        return native.reshape(shape if inside == 1 else (inside, *shape))


def parse_nrrd(file: BinaryIO) -> Nrrd:
    """Parse the header of an NRRD file.

    Args:
        file: Open at its first byte; it stays open as long as the result is used.

    Returns:
        The parsed file.

    Raises:
        ImageError: The header is damaged or contradicts itself, or the pixels lie elsewhere.
        TooLargeError: The image exceeds the limits.
    """
    header = _read_header(file)
    if "data file" in header.fields:
        raise ImageError(
            "its pixels lie in another file, which is not followed; save it as .nrrd, "
            "which holds header and pixels"
        )
    axes = _find_axes(header)
    axes.layout.check()
    return Nrrd(file, header, axes)


def segmentation_labels(parsed: Nrrd, names: Mapping[str, int]) -> NDArray[np.uint8]:
    """Turn the segments of 3D Slicer into class numbers.

    Args:
        parsed: A segmentation.
        names: Class number by name; compared trimmed and case-folded.

    Returns:
        [frames, height, width], 0 where no segment is.

    Raises:
        ImageError: A segment has a name that is no class, segments overlap, a layer holds a value
            that belongs to no segment, or the pixel data are short or damaged.
        TooLargeError: The segmentation exceeds the limits.
    """
    classes = {name.strip().casefold(): number for name, number in names.items()}
    if not parsed.segments:
        raise ImageError(
            "it is no segmentation of 3D Slicer with named segments; save it from the "
            "Segmentations module"
        )
    unknown = [one.name for one in parsed.segments if one.name.strip().casefold() not in classes]
    if unknown:
        raise ImageError(
            f"the segments {_quoted(unknown)} are no classes; the classes are {_quoted(names)}; "
            "rename the segments"
        )
    layers = parsed.layers()
    labels = np.zeros(layers.shape[1:], np.uint8)
    taken = np.zeros(labels.shape, np.bool_)
    for number, layer in enumerate(layers):
        values = {one.value for one in parsed.segments if one.layer == number}
        foreign = sorted(set(np.unique(layer).tolist()) - values - {0})
        if foreign:
            raise ImageError(
                f"the layer {number} holds the values {foreign[:10]}, which belong to no segment; "
                "save the segmentation again"
            )
    for one in parsed.segments:
        if one.layer >= len(layers) or one.value == 0:
            raise ImageError(
                f"the segment '{one.name}' has value {one.value} in layer {one.layer}, which the "
                "file does not hold; save the segmentation again"
            )
        inside = layers[one.layer] == one.value
        if (inside & taken).any():
            raise ImageError(
                f"the segment '{one.name}' overlaps another; a pixel has one class: "
                "let no segments overlap and save again"
            )
        taken |= inside
        labels[inside] = classes[one.name.strip().casefold()]
    return labels


@dataclass(frozen=True)
class _Header:
    """Fields and keys of the header, and where the data start."""

    fields: dict[str, str]
    keys: dict[str, str]
    start: int

    def words(self, field: str) -> list[str]:
        """Split a value of words at white space; quoted ones may hold white space."""
        found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', self.fields.get(field, ""))
        return [quoted or plain for quoted, plain in found]

    def count(self, field: str, *, least: int, default: int = 0) -> int:
        """Give a whole number."""
        text = self.fields.get(field, str(default)).strip()
        if not re.fullmatch(r"[+-]?\d{1,18}", text) or int(text) < least:
            raise _wrong(field, text, f"a whole number from {least}")
        return int(text)

    def per_axis(self, field: str, dimensions: int) -> list[str] | None:
        """Give one word for each axis, None when the field is absent."""
        if field not in self.fields:
            return None
        words = self.words(field)
        if len(words) != dimensions:
            raise _wrong(field, self.fields[field], f"{dimensions} values")
        return words

    def numbers(self, field: str, dimensions: int) -> list[float] | None:
        """Give one number for each axis; NaN for none."""
        words = self.per_axis(field, dimensions)
        return None if words is None else [_number(field, word) for word in words]

    def vectors(self, field: str) -> list[tuple[float, ...] | None]:
        """Give vectors such as (1,0,0), or none."""
        text = self.fields.get(field, "")
        pattern = r"\s*(?:none|\([^()]*\))\s*"
        if not re.fullmatch(f"(?:{pattern})*", text, re.IGNORECASE):
            raise _wrong(field, text, "vectors such as (1,0,0)")
        return [
            tuple(_number(field, part.strip()) for part in word[1:-1].split(","))
            if word.startswith("(")
            else None
            for word in re.findall(r"none|\([^()]*\)", text, re.IGNORECASE)
        ]


@dataclass(frozen=True)
class _Axes:
    """Meaning of the axes.

    Attributes:
        sizes: Of all axes, fastest first.
        domain: Numbers of the axes in space, at most the first three that hold anything.
        range_axis: Number of the axis of colours or layers, None without one.
        kind: Of that axis, empty without one.
        layers: Length of a range axis of a segmentation, else 1.
        layout: Of the pixels.
    """

    sizes: tuple[int, ...]
    domain: tuple[int, ...]
    range_axis: int | None
    kind: str
    layers: int
    layout: PixelLayout


def _read_header(file: BinaryIO) -> _Header:
    content = file.read(_MAX_HEADER)
    lines = _lines(content)
    magic, _ = next(lines, (b"", 0))
    if not _MAGIC.fullmatch(magic):
        raise ImageError(f"an NRRD file starts with NRRD0001 to NRRD0005; {_DAMAGED}")
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line, end in lines:
        if not line:
            return _Header(fields, keys, end)
        if line.startswith(b"#"):
            continue
        _add_line(line.decode("utf-8", "replace"), fields, keys)
    if len(content) < _MAX_HEADER and "data file" in fields:
        return _Header(fields, keys, len(content))  # a detached header ends with its file
    raise ImageError(f"the header has no end: an empty line within {_MAX_HEADER} bytes; {_DAMAGED}")


def _lines(content: bytes) -> Iterator[tuple[bytes, int]]:
    """Split at LF, CRLF and lone CR, as Teem does; a line with the offset after its end."""
    start = 0
    for end in re.finditer(rb"\r\n|\n|\r", content):
        yield content[start : end.start()], end.end()
        start = end.end()
    if start < len(content):
        yield content[start:], len(content)


def _add_line(line: str, fields: dict[str, str], keys: dict[str, str]) -> None:
    name, colon, value = line.partition(":")
    field = " ".join(name.casefold().split())
    field = _SYNONYMS.get(field, field)
    if colon and field in _FIELDS and not value.startswith("="):
        if field in fields:
            raise ImageError(f"the header gives '{field}' twice; export the file again")
        fields[field] = value.strip()
        return
    key, separator, text = line.partition(":=")
    if not separator:
        raise ImageError(f"the header has a line that is no field of NRRD; {_DAMAGED}")
    keys[key] = text


def _find_axes(header: _Header) -> _Axes:
    dimensions = header.count("dimension", least=1, default=0)
    if dimensions > _MAX_DIMENSIONS:
        raise ImageError(f"the header gives {dimensions} dimensions, an image has 2 or 3")
    sizes = _sizes(header, dimensions)
    kinds = [kind.casefold() for kind in header.per_axis("kinds", dimensions) or [""] * dimensions]
    directions = header.vectors("space directions") or [()] * dimensions
    if len(directions) != dimensions:
        raise _wrong("space directions", header.fields["space directions"], f"{dimensions} vectors")
    segmentation = _is_segmentation(header.keys)
    ranges = [axis for axis in range(dimensions) if kinds[axis] not in _DOMAIN_KINDS]
    if not ranges and dimensions == 4 and directions[0] is None:
        ranges = [0]  # 3D Slicer writes layers without a kind too
    ranges = [
        axis for axis in ranges if not (kinds[axis] in _STUBS and sizes[axis] == 1)
    ] or ranges[:1]
    if len(ranges) > 1:
        raise ImageError(
            f"the header gives {len(ranges)} axes that are not in space; an image has at most one, "
            "of colours; export a grey or colour image"
        )
    axis = ranges[0] if ranges else None
    domain = tuple(
        number for number in range(dimensions) if number != axis and kinds[number] not in _STUBS
    )
    frames, height, width = plane_size(tuple(sizes[number] for number in domain))
    inside = 1 if axis is None else sizes[axis]
    layout = PixelLayout(frames, height, width, 1 if segmentation else inside, _dtype(header))
    return _Axes(
        sizes,
        domain[:3],
        axis,
        "" if axis is None or kinds[axis] in _STUBS else kinds[axis],
        inside if segmentation else 1,
        layout,
    )


def _sizes(header: _Header, dimensions: int) -> tuple[int, ...]:
    words = header.per_axis("sizes", dimensions)
    if words is None or not all(re.fullmatch(r"\+?\d{1,18}", word) for word in words):
        raise _wrong("sizes", header.fields.get("sizes", ""), f"{dimensions} whole numbers")
    sizes = tuple(map(int, words))
    if 0 in sizes:
        raise _wrong("sizes", header.fields["sizes"], "positive numbers")
    return sizes


def _dtype(header: _Header) -> np.dtype[Any]:
    name = " ".join(header.fields.get("type", "").casefold().split())
    if name not in _TYPE_OF:
        raise _wrong("type", name, "an integer or floating-point type of NRRD")
    dtype = np.dtype(_TYPE_OF[name])
    endian = header.fields.get("endian", "").casefold()
    if endian not in ("", "little", "big"):
        raise _wrong("endian", endian, "little or big")
    if dtype.itemsize > 1 and not endian and _encoding(header) != "text":
        raise ImageError(
            "the header gives no endian, the order of the bytes of a number; export the file again"
        )
    return dtype.newbyteorder(">" if endian == "big" and _encoding(header) != "text" else "<")


def _encoding(header: _Header) -> str:
    name = header.fields.get("encoding", "").casefold()
    if name not in _ENCODING_OF:
        raise _wrong("encoding", name, ", ".join(_ENCODING_OF))
    return _ENCODING_OF[name]


def _read_values(file: BinaryIO, header: _Header, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    encoding = _encoding(header)
    skipped = header.count("byte skip", least=-1)
    size = count * dtype.itemsize
    if skipped == -1:
        if encoding != "raw":
            raise _wrong("byte skip", "-1", "a number from 0 for compressed data or text")
        length = file.seek(0, 2)
        file.seek(max(header.start, length - size))
        skipped = 0
    if encoding == "gzip":
        file = payload.inflated(file, zlib_too=False)
    elif encoding == "bzip2":
        file = payload.unpacked_bzip2(file)
    payload.skip(file, skipped)
    if encoding == "text":
        return payload.read_numbers(file, count, dtype)
    content = (
        payload.read_hexadecimal(file, size)
        if encoding == "hex"
        else payload.read_all_of(file, size)
    )
    return np.frombuffer(content, dtype)


def _place(header: _Header, axes: _Axes) -> tuple[Geometry, float | None]:
    """Give the place in space as ITK does, and the unit of its spacing in mm, None if unknown."""
    dimensions = len(axes.sizes)
    space = header.fields.get("space", "").casefold()
    if not space and "space dimension" not in header.fields:
        if "space directions" in header.fields or "space origin" in header.fields:
            raise ImageError("the header gives directions without a space; export the file again")
        return _place_by_axes(header, axes, dimensions)
    if space and space not in _SPACES:
        raise _wrong("space", space, ", ".join(_SPACES))
    rank = 3 if space else header.count("space dimension", least=1, default=0)
    if rank not in (2, 3) or (space and header.count("space dimension", least=0, default=3) != 3):
        raise _wrong("space dimension", header.fields.get("space dimension", ""), "2 or 3")
    if "spacings" in header.fields and any(
        not math.isnan(value)
        for number, value in enumerate(header.numbers("spacings", dimensions) or [])
        if number in axes.domain
    ):
        raise ImageError(
            "the header gives spacings and a space, which contradict each other; "
            "export the file again"
        )
    signs = np.array(_SPACES.get(space, (1, 1, 1))[:rank], float)
    return _place_in_space(header, axes, rank, signs)


def _place_in_space(
    header: _Header, axes: _Axes, rank: int, signs: NDArray[np.float64]
) -> tuple[Geometry, float | None]:
    given = header.vectors("space directions") or [None] * len(axes.sizes)
    spacing: list[float] = []
    directions: list[NDArray[np.float64]] = []
    known = [False] * len(axes.domain)
    for place, number in enumerate(axes.domain):
        vector = given[number]
        if vector is None or not any(map(math.isfinite, vector)):
            spacing.append(1.0)
            directions.append(np.eye(rank)[min(place, rank - 1)])
            continue
        if len(vector) != rank:
            raise _wrong("space directions", str(vector), f"vectors of {rank} numbers")
        length = math.hypot(*vector)
        spacing.append(length)
        directions.append(np.array(vector) * signs / (length or 1.0))
        known[place] = True
    if len(directions) == 2 and rank == 3:  # a plane in space is a volume of one slice
        spacing.append(1.0)
        directions.append(np.cross(directions[0], directions[1]))
    if len(directions) == 3 and rank == 2:
        directions = [*(np.append(axis, 0.0) for axis in directions[:2]), np.array([0.0, 0.0, 1.0])]
    origin = header.vectors("space origin")
    start = origin[0] if origin else None
    if start is not None and len(start) != rank:
        raise _wrong("space origin", str(start), f"one vector of {rank} numbers")
    if start is None or not all(map(math.isfinite, start)):
        start = (0.0,) * rank
    placed = (np.array(start) * signs + 0.0).tolist()
    physical = known[0] and known[1]
    geometry = make_geometry(
        tuple(spacing),
        tuple(placed + [0.0] * (len(spacing) - rank)),
        tuple(tuple(axis.tolist()) for axis in directions),
        physical=physical,
    )
    units = header.words("space units")
    return geometry, _unit(units[:2]) if physical else None


def _place_by_axes(header: _Header, axes: _Axes, dimensions: int) -> tuple[Geometry, float | None]:
    """Place an image that has spacings and axis mins instead of a space."""
    spacings = header.numbers("spacings", dimensions) or [math.nan] * dimensions
    mins = header.numbers("axis mins", dimensions) or [math.nan] * dimensions
    maxs = header.numbers("axis maxs", dimensions) or [math.nan] * dimensions
    centers = header.per_axis("centers", dimensions) or ["cell"] * dimensions
    origin = [
        _first_centre(
            spacings[number], mins[number], maxs[number], axes.sizes[number], centers[number]
        )
        for number in axes.domain
    ]
    if not all(map(math.isfinite, origin)):
        origin = [0.0] * len(origin)
    known = [not math.isnan(spacings[number]) for number in axes.domain]
    geometry = make_geometry(
        tuple(1.0 if math.isnan(spacings[number]) else spacings[number] for number in axes.domain),
        tuple(origin),
        tuple(tuple(axis) for axis in np.eye(len(axes.domain)).tolist()),
        physical=known[0] and known[1],
    )
    units = header.per_axis("units", dimensions)
    named = [units[number] for number in axes.domain[:2]] if units else []
    return geometry, _unit(named) if known[0] and known[1] else None


def _first_centre(spacing: float, low: float, high: float, size: int, center: str) -> float:
    """Give the position of the first sample, NaN when it is unknown."""
    node = center.casefold() == "node"
    if math.isnan(spacing):
        steps = size - 1 if node else size
        spacing = (high - low) / steps if steps else math.nan
    return low if node else low + spacing / 2


def _unit(names: list[str]) -> float | None:
    """Give one unit of both axes in mm: mm where none is named, None where it is no length."""
    units = {name.strip().casefold() for name in names if name.strip() not in ("", "???", "none")}
    if not units:
        return 1.0
    sizes = {LENGTH_UNITS_MM.get(unit) for unit in units}
    return sizes.pop() if len(sizes) == 1 else None


def _is_segmentation(keys: Mapping[str, str]) -> bool:
    return any(_SEGMENT_KEY.fullmatch(key) or key.startswith("Segmentation_") for key in keys)


def _segments(keys: Mapping[str, str]) -> tuple[Segment, ...]:
    found: dict[int, dict[str, str]] = {}
    for key, value in keys.items():
        match = _SEGMENT_KEY.fullmatch(key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value.strip()
    segments = []
    for number, parts in sorted(found.items()):
        value, layer = parts.get("LabelValue", "1"), parts.get("Layer", "0")
        if "LabelValue" not in parts and "Layer" not in parts:
            layer = str(number)  # before 4.11, Slicer wrote one layer a segment
        if not (re.fullmatch(r"-?\d{1,18}", value) and re.fullmatch(r"\d{1,18}", layer)):
            raise ImageError(
                f"the segment {number} has value {value[:20]!r} in layer {layer[:20]!r}, which are "
                "no whole numbers; save the segmentation again"
            )
        segments.append(Segment(parts.get("Name", f"Segment_{number}"), int(value), int(layer)))
    return tuple(segments)


def _extent_offset(keys: Mapping[str, str]) -> tuple[int, int, int] | None:
    words = keys.get(_OFFSET_KEY, "").split()
    if len(words) != 3 or not all(re.fullmatch(r"-?\d{1,9}", word) for word in words):
        return None
    x, y, z = map(int, words)
    return (x, y, z)


def _number(field: str, word: str) -> float:
    if word.casefold() in ("none", "???"):
        return math.nan
    try:
        return float(word)
    except ValueError as error:
        raise _wrong(field, word, "numbers") from error


def _quoted(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _wrong(field: str, found: str, expected: str) -> ImageError:
    return ImageError(
        f"the header gives {field}: {found[:80]!r}; expected {expected}; export the file again"
    )
