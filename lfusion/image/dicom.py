"""DICOM, still or cine: header parsed here, frames decoded one by one, calibration kept.

No library parses the file: each of them reads ahead of a check, or repairs what it should refuse.
`dicom_header` walks over the header, `dicom_pixels` locates the frames by arithmetic, and
`codestreams` and `sandbox` decode what is compressed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.dicom_header import Elements, HeaderFile, is_dicom
from lfusion.image.dicom_pixels import Frames, PixelFormat, find_frames
from lfusion.image.dicom_place import calibration_of, place_of
from lfusion.image.grey import full_scale_of
from lfusion.image.limits import check_decoded_bytes
from lfusion.image.parsed import ParsedImage
from lfusion.image.samples import scaled_to_bytes

__all__ = ["DicomImage", "is_dicom", "parse_dicom"]

_PIXEL_DATA = 0x7FE00010
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_YBR_TO_RGB = np.array(
    [[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]], dtype=np.float32
)
"""ITU-T T.871: of Y, Cb − 128 and Cr − 128 in the full range."""
_PARTIAL_SCALE = np.array([255 / 219, 255 / 224, 255 / 224], dtype=np.float32)
"""ITU-R BT.601: Y has 220 values from 16, Cb and Cr have 225 around 128."""


class DicomImage(ParsedImage):
    """One open DICOM file.

    Args:
        header: Of the file.

    Raises:
        ImageError: It holds no image that can be read, or less than its header promises.
        TooLargeError: It exceeds the limits.
    """

    format = "DICOM"

    def __init__(self, header: HeaderFile) -> None:
        _check_kind(header)
        image = PixelFormat.of(header)
        if header.pixels is None:
            raise ImageError("the DICOM file holds no pixel data; export the image again")
        self._frames = find_frames(header, image)
        self._display = _Display(header, image, self._frames)
        self.layout = self._frames.layout
        calibration = calibration_of(header, image.rows, image.columns)
        self.pixel_size_mm = calibration.pixel_size_mm
        self.calibration_note = calibration.note
        self.regions = calibration.regions
        self.geometry = place_of(header, self.pixel_size_mm)
        self.significant_bits = self._display.bits

    def stored(self) -> NDArray[Any]:
        """Refuse: the values of a DICOM image are grey values of a display."""
        raise ImageError(
            "a DICOM image holds grey values or colour and no class numbers; "
            "save the mask as PNG, TIFF, NIfTI, MetaImage or NRRD"
        )

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """Values as viewers show them, see `ParsedImage`; display windows are not applied."""
        if frame is not None:
            return self._display.frame(frame)[None]
        check_decoded_bytes(self.layout.total_bytes)
        return np.stack([self._display.frame(number) for number in range(self.layout.frames)])


def parse_dicom(file: BinaryIO) -> DicomImage:
    """Parse the header of a DICOM file and locate its frames.

    Args:
        file: Open and seekable, with or without the preamble; it stays open as long as frames
            are read.

    Returns:
        The image.

    Raises:
        ImageError: The file is no DICOM image, is damaged or cut off, or of a kind that is not
            read.
        TooLargeError: It exceeds the limits.
    """
    return DicomImage(HeaderFile(file))


def _check_kind(header: HeaderFile) -> None:
    """Refuse data sets with pixels that are no image."""
    kind = header.elements.raw(0x00080016).decode("latin-1").strip(" \0")
    if kind in _SEGMENTATIONS or header.elements.text(0x00080060) == "SEG":
        raise ImageError(
            "this is a DICOM segmentation, not an image; open the image that it belongs to"
        )
    if header.pixels is not None and header.pixel_tag != _PIXEL_DATA:
        raise ImageError("DICOM images of floating-point values are not read; export integers")
    if header.pixels is None and not header.elements.count(0x00280010):
        raise ImageError("the DICOM file is without pixels; choose the file of the image")


class _Display:
    """Transforms from stored to displayed values.

    Attributes:
        bits: Of a displayed sample that are used; None for values of another scale.
    """

    def __init__(self, header: HeaderFile, image: PixelFormat, frames: Frames) -> None:
        values = header.elements
        self._frames = frames
        self._image = image
        self.bits: int | None = max(frames.bits, 8)
        self._palette: tuple[_Table, ...] = ()
        self._modality: _Table | None = None
        self._rescale = (1.0, 0.0)
        if image.samples == 3:
            self._inverted = False
            return
        if image.photometric == "PALETTE COLOR":
            if any(tag in values for tag in (0x00281221, 0x00281222, 0x00281223)):
                raise ImageError(
                    "the image has a segmented colour table, which is not read; export it as RGB"
                )
            self._palette = tuple(
                _Table.of(
                    values.raw(0x00281101 + n),
                    values.raw(0x00281201 + n),
                    header.order,
                    signed=image.signed,
                )
                for n in range(3)
            )
            self.bits = max(table.bits for table in self._palette)
            self._inverted = False
            return
        if values.text(0x00089205) in ("COLOR", "MIXED"):
            raise ImageError(
                "the image is grey with a supplemental colour table, which is not read; "
                "export it as RGB"
            )
        self._inverted = _is_inverted(values, image)
        luts = values.items(0x00283000, 2)
        if luts:
            self._modality = _Table.of(
                luts[0].raw(0x00283002), luts[0].raw(0x00283006), header.order, signed=image.signed
            )
            self.bits = self._modality.bits
            return
        slope = values.number(0x00281053, "DS") or 1.0
        intercept = values.number(0x00281052, "DS") or 0.0
        self._rescale = (slope, intercept)
        if self._rescale != (1.0, 0.0) or image.signed:
            self.bits = None

    def frame(self, number: int) -> NDArray[Any]:
        """Return one frame: [height, width] or [height, width, 3]."""
        stored, photometric = self._frames.read(number)
        if self._image.samples == 3:
            return _to_rgb(stored, photometric, self._frames.bits)
        if self._palette:
            return np.stack([table.look_up(stored) for table in self._palette], axis=-1)
        values = self._scaled(stored)
        if not self._inverted and self.bits is not None:
            return values
        if values.dtype == np.uint8:
            return np.uint8(255) - values
        white = self._white
        if white is not None:
            return ((white - values) / white).astype(np.float32) if self._inverted else values
        low, high = self._range
        unit = ((values - low) / max(high - low, 1e-300)).astype(np.float32)
        return 1 - unit if self._inverted else unit

    @cached_property
    def _white(self) -> float | None:
        """Value that means white in all frames, None where they give none."""
        return full_scale_of(self._all(), self.bits)

    @cached_property
    def _range(self) -> tuple[float, float]:
        """Least and greatest value of all frames."""
        ranges = [(float(values.min()), float(values.max())) for values in self._all()]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    def _all(self) -> Iterator[NDArray[Any]]:
        for number in range(self._frames.layout.frames):
            yield self._scaled(self._frames.read(number)[0])

    def _scaled(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the values after the modality transform."""
        if self._modality is not None:
            return self._modality.look_up(stored)
        if self._rescale != (1.0, 0.0):
            return stored * self._rescale[0] + self._rescale[1]
        return _of_8_bits(stored, self._frames.bits)


@dataclass(frozen=True, eq=False)
class _Table:
    """Lookup table of a modality or a palette.

    Attributes:
        entries: Displayed value by position.
        first: Stored value of the first entry.
        bits: Of a displayed value.
    """

    entries: NDArray[Any]
    first: int
    bits: int

    @classmethod
    def of(cls, descriptor: bytes, content: bytes, order: str, *, signed: bool) -> _Table:
        """Read a table.

        Args:
            descriptor: Number of entries, first stored value, and bits of an entry.
            content: The entries.
            order: Of their bytes, as for `struct`.
            signed: Whether stored values are.

        Raises:
            ImageError: The table is missing, short, or of another kind.
        """
        if len(descriptor) < 6 or not content:
            raise ImageError("the lookup table of the image is missing; export it as RGB")
        count, first, bits = struct.unpack(
            order + "HhH" if signed else order + "HHH", descriptor[:6]
        )
        count = count or 2**16
        if bits not in range(8, 17):
            raise ImageError(
                f"the lookup table of the image has {bits} bits an entry; expected 8 to 16"
            )
        packed = bits == 8 and len(content) in (count, count + count % 2)
        if len(content) < (count if packed else 2 * count):
            raise ImageError(
                f"the lookup table of the image promises {count} entries, the file holds "
                f"{len(content) // 2}; export the image again"
            )
        if packed:
            words: NDArray[Any] = np.frombuffer(content, np.uint8)
            if order == ">" and len(words) % 2 == 0:  # two entries in one word
                words = words.reshape(-1, 2)[:, ::-1].ravel()
            return cls(words[:count], first, bits)
        words = np.frombuffer(content[: 2 * count], order + "u2")
        if bits == 8:
            # Some writers use the high byte, and some both.
            if words.max() > 255:
                words = words >> 8
            return cls(words.astype(np.uint8), first, bits)
        return cls(words.astype(np.uint16), first, bits)

    def look_up(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the entry of each value; the first and last ones hold beyond the table."""
        positions = np.clip(stored.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        found: NDArray[Any] = self.entries[positions]
        return found


def _is_inverted(values: Elements, image: PixelFormat) -> bool:
    """Whether high values are black."""
    inverted = image.photometric == "MONOCHROME1"
    shape = values.text(0x20500020)
    if shape and (shape == "INVERSE") != inverted:
        raise ImageError(
            f"the photometric interpretation {image.photometric} and the presentation LUT shape "
            f"{shape} contradict each other; export the image as MONOCHROME2"
        )
    return inverted


def _of_8_bits(values: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return values of fewer than 8 bits stretched to 8, as a display does."""
    if bits >= 8 or values.dtype.kind != "u":
        return values
    return scaled_to_bytes(values.astype(np.uint8), bits)


def _to_rgb(stored: NDArray[Any], photometric: str, bits: int) -> NDArray[Any]:
    """Return colour of 8 or 16 bits.

    Args:
        stored: [height, width, 3].
        photometric: Of these values.
        bits: Of a sample.
    """
    if not photometric.startswith("YBR_FULL") and not photometric.startswith("YBR_PARTIAL"):
        return _of_8_bits(stored, bits)
    middle = np.float32(2 ** (bits - 1))
    values = stored.astype(np.float32)
    values[..., 1:] -= middle
    if photometric.startswith("YBR_PARTIAL"):
        values[..., 0] -= middle / 8
        values *= _PARTIAL_SCALE
    rgb = np.rint(values @ _YBR_TO_RGB.T).clip(0, 2**bits - 1).astype(stored.dtype)
    return _of_8_bits(rgb, bits)
