"""Picture files of every kind, encoded sample by sample from the specifications."""

from __future__ import annotations

import struct
import tempfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.image.pictures import parse_picture

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)


def chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk with its check sum."""
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def header(width: int, height: int, bits: int, colour: int, interlace: int = 0) -> bytes:
    """Signature and IHDR."""
    fields = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", fields)


def filtered(samples: NDArray[Any], bits: int, interlaced: bool = False) -> bytes:
    """Rows with a filter of each kind in turn, as they are compressed.

    Args:
        samples: [height, width, channels].
        bits: Of one sample.
        interlaced: Whether in seven passes.
    """
    parts = []
    for row, column, row_step, column_step in _PASSES if interlaced else ((0, 0, 1, 1),):
        part = samples[row::row_step, column::column_step]
        if part.size:
            parts.append(_filtered_pass(part, bits))
    return b"".join(parts)


def _filtered_pass(samples: NDArray[Any], bits: int) -> bytes:
    distance = max(1, samples.shape[2] * bits // 8)
    above: list[int] = []
    content = bytearray()
    for number, row in enumerate(samples):
        text = "".join(format(int(value), f"0{bits}b") for value in row.ravel())
        text += "0" * (-len(text) % 8)
        current = [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]
        above = above or [0] * len(current)
        kind = number % 5
        content.append(kind)
        for place, value in enumerate(current):
            left = current[place - distance] if place >= distance else 0
            corner = above[place - distance] if place >= distance else 0
            up = above[place]
            guess = (0, left, up, (left + up) // 2, _paeth(left, up, corner))[kind]
            content.append((value - guess) % 256)
        above = current
    return bytes(content)


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def png(
    samples: NDArray[Any],
    bits: int,
    colour: int,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    size: tuple[int, int] | None = None,
) -> bytes:
    """A whole file.

    Args:
        samples: [height, width, channels].
        bits: Of one sample.
        colour: Colour type.
        interlaced: Whether in seven passes.
        before: Chunks between the header and the pixels.
        size: (height, width) that the header gives instead.
    """
    height, width = size or samples.shape[:2]
    data = zlib.compress(filtered(samples, bits, interlaced))
    return b"".join(
        (
            header(width, height, bits, colour, int(interlaced)),
            before,
            *(chunk(b"IDAT", data[start : start + 100]) for start in range(0, len(data), 100)),
            chunk(b"IEND", b""),
        )
    )


def noise(height: int, width: int, channels: int, bits: int) -> NDArray[Any]:
    """Samples over the whole range."""
    dtype = np.uint16 if bits == 16 else np.uint8
    values = np.random.default_rng(bits + channels).integers(
        0, 2**bits, (height, width, channels), dtype=dtype
    )
    values[0, 0], values[-1, -1] = 0, 2**bits - 1
    return values


def shown(content: bytes) -> NDArray[Any]:
    """Pixels that a reader shows of a file with this content, without the axis of frames."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        pixels: NDArray[Any] = parse_picture(file).shown()[0]
        return pixels


def stored(content: bytes) -> NDArray[Any]:
    """Values that a file with this content stores, without the axis of frames."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        values: NDArray[Any] = parse_picture(file).stored()[0]
        return values
