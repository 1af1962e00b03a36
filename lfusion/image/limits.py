"""Limits on what decoding one file may cost, checked before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from lfusion.errors import ImageError, TooLargeError

MAX_FRAME_PIXELS = 64 * 10**6
"""Of one frame; ultrasound machines write about one million."""

MAX_FILE_PIXELS = 10**9
"""Of all frames of one file: 1 000 frames of one million."""

MAX_DECODED_BYTES = 2**30
"""Of the stored values that one call decodes; a cine is decoded frame by frame."""

CHANNELS = (1, 2, 3, 4)
"""Grey, grey with alpha, colour, colour with alpha or CMYK."""


@dataclass(frozen=True)
class PixelLayout:
    """Size of the decoded pixels of one file, as the stream that is decoded gives it.

    Attributes:
        frames: Number of frames, slices or pages.
        height: Rows.
        width: Columns.
        channels: Samples of one pixel.
        dtype: Of one stored sample.
    """

    frames: int
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]

    @property
    def frame_bytes(self) -> int:
        """Bytes of one decoded frame."""
        return self.height * self.width * self.channels * self.dtype.itemsize

    @property
    def total_bytes(self) -> int:
        """Bytes of all decoded frames."""
        return self.frames * self.frame_bytes

    def check(self) -> None:
        """Refuse a layout that no image has, or whose frame is too large to decode.

        Raises:
            ImageError: A size is not positive, or the number of channels is that of no image.
            TooLargeError: A frame, or all frames together, exceed the limits.
        """
        size = (self.frames, self.height, self.width)
        if min(size) < 1:
            raise ImageError(f"the header gives the size {_times(size)}; export the file again")
        if self.channels not in CHANNELS:
            raise ImageError(
                f"the file has {self.channels} channels; expected a grey or colour image with "
                "1, 3 or 4; export one image"
            )
        check_decoded_bytes(self.frame_bytes)
        if self.height * self.width > MAX_FRAME_PIXELS or math.prod(size) > MAX_FILE_PIXELS:
            raise TooLargeError(
                f"the image has {_times(size)} pixels (frames x height x width); the limits are "
                f"{MAX_FRAME_PIXELS} in a frame and {MAX_FILE_PIXELS} in all frames; "
                "crop or shrink the image"
            )


def check_decoded_bytes(count: int) -> None:
    """Refuse to decode more than `MAX_DECODED_BYTES` in one call.

    Args:
        count: Bytes that decoding would take.

    Raises:
        TooLargeError: They are too many.
    """
    if count > MAX_DECODED_BYTES:
        raise TooLargeError(
            f"decoding the image takes {count} bytes, the limit is {MAX_DECODED_BYTES}; "
            "crop or shrink the image"
        )


def read_exactly(file: BinaryIO, count: int) -> bytes:
    """Read pixel data of a known length.

    Args:
        file: At the start of the data.
        count: Bytes that the header promises.

    Returns:
        Exactly so many bytes.

    Raises:
        ImageError: The file ends before; the message gives both numbers.
        TooLargeError: They are more than one call may decode.
    """
    check_decoded_bytes(count)
    content = file.read(count)
    if len(content) < count:
        raise ImageError(
            f"the header promises {count} bytes of pixel data, the file holds {len(content)}; "
            "it was cut off: copy it again from its source"
        )
    return content


def _times(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
