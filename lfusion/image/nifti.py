"""NIfTI-1 and NIfTI-2 in one file, plain or packed with gzip.

Source: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and
https://nifti.nimh.nih.gov/pub/dist/doc/nifti2.h; the choice of the transform is ITK's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import payload
from lfusion.image.image import Geometry
from lfusion.image.limits import PixelLayout, check_decoded_bytes, read_exactly
from lfusion.image.volumes import ParsedVolume, make_geometry, pixel_size_of, plane_size

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8",
    256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_COLOURS = {128: 3, 2304: 4}
"""RGB24 and RGBA32: interleaved bytes."""
_REFUSED = {
    0: "an unknown type", 1: "single bits", 32: "complex numbers", 255: "an unknown type",
    1536: "128-bit floating-point numbers", 1792: "complex numbers", 2048: "complex numbers",
}  # fmt: skip
_VECTORS = (1007, 2003, 2004)
"""Intents whose fifth dimension holds the numbers of one pixel: vector, RGB, RGBA."""
_UNITS_MM = {1: 1e3, 2: 1.0, 3: 1e-3}
_MAX_OFFSET = 1 << 26
_SCANNER = 1
_FARTHEST = 1e12
_SIMILAR = 1e-5
_ORTHONORMAL = 1e-4

_NIFTI1 = (
    "dim 40 8h", "intent 68 h", "datatype 70 h", "bitpix 72 h", "pixdim 76 8f",
    "vox_offset 108 f", "slope 112 f", "inter 116 f", "units 123 B", "codes 252 2h",
    "quaternion 256 6f", "sform 280 12f",
)  # fmt: skip
_NIFTI2 = (
    "datatype 12 h", "bitpix 14 h", "dim 16 8q", "pixdim 104 8d", "vox_offset 168 q",
    "slope 176 d", "inter 184 d", "codes 344 2i", "quaternion 352 6d", "sform 400 12d",
    "units 500 i", "intent 504 i",
)  # fmt: skip


@dataclass(frozen=True)
class _Header:
    """Values of the header by name, and where the pixels start."""

    values: dict[str, tuple[Any, ...]]
    order: Literal["<", ">"]
    start: int

    def one(self, name: str) -> Any:
        return self.values[name][0]


class Nifti(ParsedVolume):
    """A parsed NIfTI file."""

    format = "NIfTI"

    def __init__(
        self,
        open_stream: Callable[[], BinaryIO],
        header: _Header,
        layout: PixelLayout,
        *,
        planar: bool,
    ) -> None:
        self.layout = layout
        self.geometry, self.calibration_note = _place(header)
        if self.geometry.physical and self.calibration_note is None:
            self.pixel_size_mm = pixel_size_of(self.geometry)
        self._open = open_stream
        self._start = header.start
        self._planar = planar
        self._scale = _scale(header)

    def _values(self) -> NDArray[Any]:
        layout = self.layout
        stream = self._open()
        payload.skip(stream, self._start)
        content = read_exactly(stream, layout.total_bytes)
        values = np.frombuffer(content, layout.dtype)
        shape = (layout.frames, layout.height, layout.width)
        if self._planar:
            values = np.moveaxis(values.reshape(layout.channels, *shape), 0, -1)
        elif layout.channels > 1:
            values = values.reshape(*shape, layout.channels)
        else:
            values = values.reshape(shape)
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        return native if layout.channels > 1 else self._scaled(native)

    def _scaled(self, values: NDArray[Any]) -> NDArray[Any]:
        """Apply slope and intercept, which viewers and ITK do; the class of a mask too."""
        slope, inter = self._scale
        if (slope, inter) == (1.0, 0.0):
            return values
        wide = np.dtype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
        check_decoded_bytes(values.size * wide.itemsize)
        scaled: NDArray[Any] = values.astype(wide)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused later
            scaled *= slope
            scaled += inter
        return scaled


def parse_nifti(file: BinaryIO) -> Nifti:
    """Parse the header of a NIfTI file.

    Args:
        file: Open at its first byte; it stays open as long as the result is used.

    Returns:
        The parsed file. A file of two dimensions keeps a geometry of two.

    Raises:
        ImageError: The header is damaged or contradicts itself, or the pixels lie elsewhere.
        TooLargeError: The image exceeds the limits.
    """
    packed = file.read(2) == b"\x1f\x8b"

    def open_stream() -> BinaryIO:
        file.seek(0)
        return payload.inflated(file) if packed else file

    header = _read_header(open_stream())
    layout, planar = _layout(header)
    layout.check()
    return Nifti(open_stream, header, layout, planar=planar)


def _read_header(stream: BinaryIO) -> _Header:
    content = stream.read(540)
    orders: tuple[Literal["<", ">"], ...] = ("<", ">")
    for order in orders:
        if content[:4] == struct.pack(f"{order}i", 348) and len(content) >= 348:
            magic, fields = content[344:348], _NIFTI1
        elif content[:4] == struct.pack(f"{order}i", 540) and len(content) >= 540:
            magic, fields = content[4:8], _NIFTI2
        else:
            continue
        _check_magic(magic)
        values = dict(_unpack(content, order, field) for field in fields)
        return _Header(values, order, _start(values, second=fields is _NIFTI2))
    raise ImageError(
        "a NIfTI file starts with a header of 348 or 540 bytes, found none; "
        "it is a damaged or another file: export it again"
    )


def _unpack(content: bytes, order: str, field: str) -> tuple[str, tuple[Any, ...]]:
    name, offset, code = field.split()
    return name, struct.unpack_from(order + code, content, int(offset))


def _check_magic(magic: bytes) -> None:
    if magic[:3] in (b"n+1", b"n+2"):
        return
    if magic[:3] in (b"ni1", b"ni2") or not magic.strip(b"\0"):
        raise ImageError(
            "its pixels lie in another file (a pair of .hdr and .img), which is not followed; "
            "save it as .nii, which holds header and pixels"
        )
    raise ImageError(
        "the header of a NIfTI file names n+1 or n+2, found neither; "
        "it is a damaged or another file: export it again"
    )


def _start(values: dict[str, tuple[Any, ...]], *, second: bool) -> int:
    """Give the offset of the pixels; 0 counts as absent."""
    least = 544 if second else 352
    offset = values["vox_offset"][0]
    if not math.isfinite(offset) or offset == 0:
        return least
    if offset != int(offset) or not least - 4 <= offset <= _MAX_OFFSET:
        raise ImageError(
            f"the header places the pixels at byte {offset:g}; expected {least} to {_MAX_OFFSET}; "
            "export the file again"
        )
    return int(offset)


def _layout(header: _Header) -> tuple[PixelLayout, bool]:
    """Give the size of the pixels, and whether their numbers lie one plane after another."""
    dim = header.values["dim"]
    rank = dim[0]
    if not 1 <= rank <= 7:
        raise ImageError(f"the header gives {rank} dimensions, an image has 2 or 3")
    sizes = [max(size, 1) if size == 0 else size for size in dim[1 : rank + 1]]
    if min(sizes) < 0:
        raise ImageError(
            f"the header gives the size {' x '.join(map(str, sizes))}; export the file again"
        )
    channels, planar = 1, False
    if header.one("intent") in _VECTORS and rank >= 5 and sizes[4] > 1:
        channels, planar = sizes[4], True
        sizes[4] = 1
    code = header.one("datatype")
    if code in _COLOURS and not planar:
        channels, dtype = _COLOURS[code], np.dtype("u1")
    elif code in _TYPES:
        dtype = np.dtype(_TYPES[code]).newbyteorder(header.order)
    else:
        raise ImageError(
            f"the pixels are {_REFUSED.get(code, f'of type {code}')}; "
            "export a grey or colour image of integers or floating-point numbers"
        )
    bits = 8 * dtype.itemsize * (1 if planar else channels)
    if header.one("bitpix") not in (0, bits):
        raise ImageError(
            f"the header gives {header.one('bitpix')} bits for a pixel, its type takes {bits}; "
            "export the file again"
        )
    frames, height, width = plane_size(tuple(sizes))
    return PixelLayout(frames, height, width, channels, dtype), planar


def _scale(header: _Header) -> tuple[float, float]:
    """Give slope and intercept; a slope of zero, NaN or infinity means that there are none."""
    slope, inter = header.one("slope"), header.one("inter")
    if not math.isfinite(slope) or slope == 0:
        return (1.0, 0.0)
    return (slope, inter if math.isfinite(inter) else 0.0)


def _place(header: _Header) -> tuple[Geometry, str | None]:
    """Give the place in space as ITK does, and the reason why its spacing is uncertain."""
    rank = 2 if header.one("dim") == 2 else 3
    pixdim = header.values["pixdim"][1:4]
    usable = [math.isfinite(size) and size != 0 for size in pixdim]
    spacing = [size if use else 1.0 for size, use in zip(pixdim, usable, strict=True)]
    matrix, offset, by_sform = _transform(header, spacing)
    unit = _UNITS_MM.get(header.one("units") & 7, 1.0)
    if matrix is None:
        axes, start = np.eye(3), np.zeros(3)
    else:
        to_lps = np.array([-1.0, -1.0, 1.0])
        axes, start = (matrix * to_lps[:, None]).T, offset * to_lps * unit + 0.0
    note = None
    if by_sform and matrix is not None and usable[0] and usable[1]:
        lengths = _column_lengths(header)
        if not np.allclose(lengths[:2], np.abs(spacing[:2]), rtol=1e-2, atol=1e-6):
            note = (
                f"the header gives two pixel sizes, pixdim {spacing[0]:g} x {spacing[1]:g} and "
                f"sform {lengths[0]:g} x {lengths[1]:g}"
            )
    geometry = make_geometry(
        tuple(abs(size) * unit for size in spacing[:rank]),
        tuple(start[:rank].tolist()),
        tuple(tuple(axis[:rank].tolist()) for axis in axes[:rank]),
        physical=usable[0] and usable[1],
    )
    return geometry, note


def _column_lengths(header: _Header) -> NDArray[np.float64]:
    rows = np.array(header.values["sform"], float).reshape(3, 4)
    lengths: NDArray[np.float64] = np.linalg.norm(rows[:, :3], axis=0)
    return lengths


def _transform(
    header: _Header, spacing: list[float]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64], bool]:
    """Choose the transform as ITK does.

    Returns:
        Unit axes as columns in RAS or None without a transform; the origin; whether it is the
        sform.
    """
    qcode, scode = header.values["codes"]
    rows = np.array(header.values["sform"], float).reshape(3, 4)
    if qcode == 0 and scode == 0:
        return None, np.zeros(3), False
    far = scode != 0 and not (np.abs(rows) <= _FARTHEST).all()
    if far or max(map(abs, spacing)) > _FARTHEST:
        raise ImageError("the header places the image where none lies; export the file again")
    rotation, start = _quaternion(header)
    if scode != 0 and (axes := _orthonormal(rows[:, :3])) is not None:
        qform = np.column_stack([rotation * np.abs(spacing), start])
        similar = np.allclose(rows, qform, rtol=0, atol=_SIMILAR * max(1.0, np.abs(rows).max()))
        if qcode == 0 or scode == _SCANNER or similar:
            return axes, rows[:, 3], True
    if qcode == 0:
        raise ImageError(
            "its transform (sform) shears the image, and it has no other (qform); "
            "resample the image and export it again"
        )
    if spacing[0] < 0 or spacing[1] < 0 or spacing[2] < 0:
        rotation = rotation * np.sign(spacing)
    return rotation, start, False


def _orthonormal(matrix: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Give the unit columns of a matrix, None where they are not orthogonal."""
    lengths = np.linalg.norm(matrix, axis=0)
    if not np.isfinite(matrix).all() or not lengths.all():
        return None
    axes: NDArray[np.float64] = matrix / lengths
    return axes if np.allclose(axes @ axes.T, np.eye(3), rtol=0, atol=_ORTHONORMAL) else None


def _quaternion(header: _Header) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the rotation of the qform, with its third axis turned where qfac says so."""
    b, c, d, *start = map(float, header.values["quaternion"])
    squares = b * b + c * c + d * d
    if not math.isfinite(squares):
        raise ImageError("the header places the image at NaN or infinity; export the file again")
    if squares > 1:
        b, c, d = (part / math.sqrt(squares) for part in (b, c, d))
        a = 0.0
    else:
        a = math.sqrt(1 - squares)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    if header.one("pixdim") < 0:
        rotation[:, 2] *= -1
    return rotation, np.array(start)
