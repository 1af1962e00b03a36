"""DICOM files written byte by byte, so that each of them can be wrong in one place."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword

from lfusion.errors import ImageError
from lfusion.image.dicom import DicomImage, parse_dicom

_sitk: Any = SimpleITK

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
BASELINE = "1.2.840.10008.1.2.4.50"
EXTENDED = "1.2.840.10008.1.2.4.51"
LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
JPEG_LS_NEAR = "1.2.840.10008.1.2.4.81"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
JPEG_2000 = "1.2.840.10008.1.2.4.91"
HTJ2K = "1.2.840.10008.1.2.4.201"
RLE = "1.2.840.10008.1.2.5"

_US_CLASS = "1.2.840.10008.5.1.4.1.1.6.1"
_LONG = ("OB", "OW", "OF", "OD", "OL", "OV", "SQ", "UN", "UT", "UC", "UR")
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FD": "d", "FL": "f"}
Values = dict[str, Any]


def element(tag: int, vr: str, value: bytes, *, explicit: bool = True, order: str = "<") -> bytes:
    """One data element; a value of odd length is padded."""
    value += b"\0" * (len(value) % 2)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + struct.pack(order + "I", len(value)) + value
    if vr in _LONG:
        return head + vr.encode() + b"\0\0" + struct.pack(order + "I", len(value)) + value
    return head + vr.encode() + struct.pack(order + "H", len(value)) + value


def data_set(values: Values, *, explicit: bool = True, order: str = "<") -> bytes:
    """Elements by keyword in the order of their tags; a list of dictionaries is a sequence."""
    parts = []
    for keyword, value in sorted(values.items(), key=lambda item: tag_for_keyword(item[0]) or 0):
        if value is None:
            continue
        tag = tag_for_keyword(keyword)
        assert tag is not None
        vr = dictionary_VR(tag).split(" or ")[0]
        content = _content(vr, value, explicit=explicit, order=order)
        parts.append(element(tag, vr, content, explicit=explicit, order=order))
    return b"".join(parts)


def dicom(
    pixels: bytes | Sequence[bytes],
    *,
    syntax: str = EXPLICIT,
    named: str | None = None,
    preamble: bool = True,
    meta: bool = True,
    table: Sequence[int] = (),
    end: bytes = b"\xfe\xff\xdd\xe0\0\0\0\0",
    pixel_vr: str = "OW",
    **values: Any,
) -> bytes:
    """A file of 4 x 6 grey pixels of 8 bits, unless keywords say otherwise.

    Args:
        pixels: Uncompressed, or one entry for each fragment.
        syntax: Encoding of the data set, and transfer syntax.
        named: Transfer syntax in the header, where it is another than that.
        preamble: Whether the file begins with one.
        meta: Whether it has group 2.
        table: Basic offset table.
        end: What follows the last fragment.
        pixel_vr: Of the pixel data.
        **values: Attributes by keyword; None leaves one out, b"" leaves it empty.
    """
    attributes: Values = {
        "SOPClassUID": _US_CLASS,
        "Modality": "US",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": 4,
        "Columns": 6,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
    } | values
    explicit, order = syntax != IMPLICIT, ">" if syntax == BIG_ENDIAN else "<"
    body = data_set(attributes, explicit=explicit, order=order)
    if isinstance(pixels, bytes):
        body += element(0x7FE00010, pixel_vr, pixels, explicit=explicit, order=order)
    else:
        body += struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
        for content in (struct.pack(f"<{len(table)}I", *table), *pixels):
            content += b"\0" * (len(content) % 2)
            body += struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content
        body += end
    if syntax == DEFLATED:
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        body = packer.compress(body) + packer.flush()
    head = bytes(128) + b"DICM" if preamble else b""
    if meta:
        group = {"TransferSyntaxUID": named if named is not None else syntax}
        head += data_set({"MediaStorageSOPClassUID": _US_CLASS, **group})
    return head + body


def described(values: NDArray[Any], **more: Any) -> Values:
    """Attributes of [height, width] or [height, width, 3] unsigned values."""
    bits = 8 * values.dtype.itemsize
    colour = values.ndim == 3
    return {
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if colour else None,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
    } | more


def noise(*shape: int, top: int = 256, seed: int = 0) -> NDArray[Any]:
    """Smooth random values below `top`, which every codec can compress."""
    steps = np.random.default_rng(seed).integers(-top // 16, top // 16 + 1, shape)
    kind = np.uint8 if top <= 256 else np.uint16
    walk: NDArray[Any] = (np.cumsum(steps, axis=1) + top // 2).clip(0, top - 1).astype(kind)
    return walk


def _content(vr: str, value: Any, *, explicit: bool, order: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if vr == "SQ":
        items = [data_set(item, explicit=explicit, order=order) for item in value]
        return b"".join(struct.pack(order + "HHI", 0xFFFE, 0xE000, len(i)) + i for i in items)
    many = value if isinstance(value, list | tuple) else [value]
    if vr in _BINARY:
        return struct.pack(f"{order}{len(many)}{_BINARY[vr]}", *many)
    text = "\\".join(map(str, many)).encode()
    return text + b" " * (len(text) % 2) if vr != "UI" else text


class DicomFile(io.BytesIO):
    """Bytes as an open file; with a name and a mode it is a `BinaryIO` at run time too."""

    name = "frame"
    mode = "rb"


def parsed(content: bytes) -> DicomImage:
    """Parse a file that exists in memory only."""
    return parse_dicom(DicomFile(content))


def reason(content: bytes) -> str:
    """Why a file is refused, when it is parsed or read."""
    with pytest.raises(ImageError) as caught:
        parsed(content).shown()
    return caught.value.reason


def gdcm(content: bytes, folder: Path) -> NDArray[Any]:
    """The frames as GDCM decodes them: [frames, height, width] or with 3 channels."""
    path = folder / "oracle.dcm"
    path.write_bytes(content)
    return np.asarray(_sitk.GetArrayFromImage(_sitk.ReadImage(str(path), imageIO="GDCMImageIO")))
