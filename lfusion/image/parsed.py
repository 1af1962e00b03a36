"""Interface between the formats and the reader: a parsed header, pixels on demand."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from numpy.typing import NDArray

from lfusion.image.image import CalibratedRegion, Geometry
from lfusion.image.limits import PixelLayout
from lfusion.types import PixelSize


class ParsedImage(ABC):
    """One open file whose header was parsed and found to be within the limits.

    A format parses the header itself, and decodes only what it has parsed: no second parser sees
    the bytes of the file. Both methods read from the open file, which the caller closes.

    Attributes:
        format: Name of the format for messages, such as `PNG`.
        lossless: Whether stored values survive the format's compression; a mask needs that.
        layout: Size of the pixels. `height` and `width` are those of `shown`, after orientation.
        geometry: Place in space; the bare grid for pictures.
        pixel_size_mm: (row, column) size for measuring, None when unknown.
        calibration_note: Reason why a file with calibration gives no pixel size, else None.
        regions: Parts with a calibration of their own, see `UltrasoundImage.calibration`.
        significant_bits: Bits of a sample that the file says are used, None when it does not.
    """

    format: ClassVar[str]
    lossless: bool = True
    layout: PixelLayout
    geometry: Geometry
    pixel_size_mm: PixelSize | None = None
    calibration_note: str | None = None
    regions: tuple[CalibratedRegion, ...] = ()
    significant_bits: int | None = None

    @abstractmethod
    def stored(self) -> NDArray[Any]:
        """Stored values of a file that can be a mask: class numbers, never display values.

        Returns:
            [frames, height, width].

        Raises:
            ImageError: The pixel data are short or damaged, or the format holds no class numbers
                (colour, a palette, a lossy stream).
            TooLargeError: All frames together exceed the limits.
        """

    @abstractmethod
    def shown(self, frame: int | None = None) -> NDArray[Any]:
        """Values as every viewer shows them: black is low, palettes resolved, upright.

        Args:
            frame: Number from 0, inside the layout; None for all frames.

        Returns:
            [frames, height, width] or [frames, height, width, 3].

        Raises:
            ImageError: The pixel data are short or damaged.
            TooLargeError: What was asked for exceeds the limits.
        """
