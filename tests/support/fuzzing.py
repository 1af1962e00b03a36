"""Mutations of real files, and the property that every reader must hold for all of them."""

from __future__ import annotations

import ctypes
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import limits
from lfusion.image.limits import PixelLayout
from lfusion.image.parsed import ParsedImage

Parse = Callable[[BinaryIO], ParsedImage]

MAX_PIXELS = 2**20
MAX_BYTES = 2**23
"""Limits while fuzzing: small, so that a mutated size is refused and not decoded for seconds."""

MEMORY_BYTES = 16 * MAX_BYTES
"""Peak that reading one file may add, all copies of a frame and the decoder's own included."""

CPU_SECONDS = 5.0
PATTERNS = (0xA5, 0x3C)
_M_PERTURB = -6
_INTERESTING = (0, 1, 2, 3, 7, 8, 16, 64, 127, 128, 200, 254, 255)
_SIZES = (0, 1, 2, 6, 7, 100, 255, 256, 4096, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1)

FUZZ = settings(
    max_examples=100,
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""Bounded and reproducible; a found content is kept as an `@example` of its test."""


@dataclass(frozen=True)
class Result:
    """Values or error of reading one file in one way."""

    values: NDArray[Any] | None
    error: str | None


@st.composite
def mutated(
    draw: st.DrawFn,
    seeds: Mapping[str, bytes],
    *,
    fields: Mapping[str, tuple[int, ...]] | None = None,
) -> bytes:
    """Draw a changed copy of one real file.

    Args:
        draw: Given by Hypothesis.
        seeds: Real files by name.
        fields: Offsets of header fields by name of the seed, which get most of the edits; without
            them edits prefer the first 256 bytes.

    Returns:
        The content after one to four edits: bytes flipped or replaced, integers of 16 or 32 bits
        written in either byte order, bytes inserted, removed or repeated, the end cut off.
    """
    name = draw(st.sampled_from(sorted(seeds)))
    content = bytearray(seeds[name])
    offsets = (fields or {}).get(name, ())
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        _edit(draw, content, offsets)
    return bytes(content)


def _edit(draw: st.DrawFn, content: bytearray, offsets: tuple[int, ...]) -> None:
    anywhere = st.integers(0, len(content) - 1)
    header = st.integers(0, min(len(content), 256) - 1)
    places = [header, header, anywhere]
    if known := [offset for offset in offsets if offset < len(content)]:
        places += [st.sampled_from(known)] * 3
    at = draw(st.one_of(places))
    kind = draw(st.sampled_from(("flip", "byte", "integer", "insert", "remove", "repeat", "cut")))
    if kind == "flip":
        content[at] ^= 1 << draw(st.integers(0, 7))
    elif kind == "byte":
        content[at] = draw(st.sampled_from(_INTERESTING))
    elif kind == "integer":
        size = draw(st.sampled_from((2, 4)))
        value = draw(st.sampled_from(_SIZES)) % 2 ** (8 * size)
        order = "little" if draw(st.booleans()) else "big"
        content[at : at + size] = value.to_bytes(size, order)
    elif kind == "insert":
        content[at:at] = draw(st.binary(min_size=1, max_size=8))
    elif kind == "remove":
        del content[at : at + draw(st.integers(1, 16))]
    elif kind == "repeat":
        content[at:at] = content[at : at + draw(st.integers(1, 64))]
    else:
        del content[at:]


def check_reader(parse: Parse, content: bytes) -> ParsedImage | None:
    """Check that reading a file gives values or an `ImageError`, and the same ones twice.

    Freed memory is filled with another pattern before each reading, so that a pixel which is not
    in the file differs between the two.

    Args:
        parse: The reader of the format.
        content: The file.

    Returns:
        The parsed header, None where it was refused.

    Raises:
        AssertionError: Readings differ, or exceed the memory, the time or the shape promised.
        Exception: Anything but `ImageError` that the reader raised.
    """
    results: list[dict[str, Result]] = []
    parsed: ParsedImage | None = None
    started = time.process_time()
    with small_limits(), peak_memory() as peak:
        for pattern in PATTERNS:
            fill_freed_memory(pattern)
            parsed, result = _read(parse, content)
            results.append(result)
    seconds = time.process_time() - started
    for way, first in results[0].items():
        second = results[1][way]
        assert first.error == second.error, f"{way}: {first.error} and then {second.error}"
        if first.values is not None and second.values is not None:
            assert first.values.dtype == second.values.dtype
            assert first.values.tobytes() == second.values.tobytes(), f"{way} differs"
    assert peak() < MEMORY_BYTES, f"reading took {peak()} bytes"
    assert seconds < CPU_SECONDS, f"reading took {seconds:.1f} s"
    return parsed


def _read(parse: Parse, content: bytes) -> tuple[ParsedImage | None, dict[str, Result]]:
    # A real file: a reader takes no BytesIO, which has no name and no mode.
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        try:
            parsed = parse(file)
        except ImageError as error:
            return None, {"parse": Result(None, _message(error))}
        layout = parsed.layout
        ways: dict[str, Callable[[], NDArray[Any]]] = {
            "shown": parsed.shown,
            "last frame": lambda: parsed.shown(layout.frames - 1),
            "stored": parsed.stored,
        }
        return parsed, {way: _result(read, way, layout) for way, read in ways.items()}


def _result(read: Callable[[], NDArray[Any]], way: str, layout: PixelLayout) -> Result:
    try:
        values = read()
    except ImageError as error:
        return Result(None, _message(error))
    frames = 1 if way == "last frame" else layout.frames
    assert values.shape[:3] == (frames, layout.height, layout.width), way
    assert values.ndim == 3 or (way != "stored" and values.shape[3:] == (3,)), way
    return Result(values, None)


def _message(error: ImageError) -> str:
    assert error.path is None, "a format knows no path; the reader adds it"
    assert error.reason
    assert "Traceback" not in error.reason
    assert isinstance(error, TooLargeError) or "limit" not in error.reason, error.reason
    return error.reason


@contextmanager
def small_limits() -> Iterator[None]:
    """Lower the limits of decoding, so that they are met within milliseconds."""
    with mock.patch.multiple(
        limits,
        MAX_FRAME_PIXELS=MAX_PIXELS,
        MAX_FILE_PIXELS=4 * MAX_PIXELS,
        MAX_DECODED_BYTES=MAX_BYTES,
    ):
        yield


def fill_freed_memory(pattern: int) -> None:
    """Fill memory that the process has freed, so that values read from it are told by it.

    glibc fills what malloc returns from now on; blocks of up to 1 kB come from caches of numpy
    and malloc, which are filled one by one.

    Args:
        pattern: 1 to 255.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).mallopt(_M_PERTURB, pattern)
    sizes = [size for size in range(1, 1041) for _ in range(8)] + [2**n for n in range(13, 22)]
    blocks = [np.empty(size, np.uint8) for size in sizes]
    for block in blocks:
        block.fill(pattern)
    del blocks, block


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Measure the peak of resident memory that a block adds, in bytes; Linux only, else 0."""
    clear = Path("/proc/self/clear_refs")
    if not sys.platform.startswith("linux"):
        yield lambda: 0
        return
    clear.write_text("5", encoding="ascii")
    before = _status("VmRSS")
    yield lambda: max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)
