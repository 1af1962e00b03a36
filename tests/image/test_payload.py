"""Pixel data in text and compressed streams: exactly as many as promised."""

from __future__ import annotations

import bz2
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import payload

if TYPE_CHECKING:
    from tests.support.volume_files import MemoryFile
else:
    from volume_files import MemoryFile

_QUIET = settings(max_examples=60, deadline=None, derandomize=True, database=None)
_KINDS = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


@given(
    values=st.sampled_from(_KINDS).flatmap(lambda kind: arrays.arrays(kind, st.integers(1, 50))),
    separator=st.sampled_from([" ", "\n", ", ", "\t  "]),
)
@_QUIET
def test_numbers_survive_as_text(values: Any, separator: str) -> None:
    text = separator.join(repr(number) for number in values.tolist())
    found = payload.read_numbers(MemoryFile(text.encode()), values.size, values.dtype)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("1 2 x", "u1"), ("1 2 300", "u1"), ("1 2 -1", "u1"), ("1 2 -1", "u8"), ("1 2 1.5", "i2"),
        ("1 2 99999999999999999999", "u8"), ("1 2 9223372036854775808", "i8"), ("1 2 0x3", "i4"),
        ("1 2 1_0", "i4"), ("1 2 1_0", "f4"), ("1 2 1e", "f4"), ("1 2 " + "3" * 200, "f4"),
        ("1 2 \u00b2", "f8"), ("1 2 3-4", "f8"), ("1 2 \0", "i4"),
    ],
)  # fmt: skip
def test_what_is_no_number_of_the_type_is_refused(text: str, kind: str) -> None:
    with pytest.raises(ImageError, match="something else than numbers"):
        payload.read_numbers(MemoryFile(text.encode()), 3, np.dtype(kind))


def test_text_is_as_long_as_its_numbers_can_be() -> None:
    with pytest.raises(ImageError, match="promises 3 values, the file holds more"):
        payload.read_numbers(MemoryFile(b" " * 10**6), 3, np.dtype("u1"))
    with pytest.raises(TooLargeError):
        payload.read_numbers(MemoryFile(b""), 10**9, np.dtype("u1"))
    with pytest.raises(ImageError, match="hexadecimal"):
        payload.read_hexadecimal(MemoryFile(b"01 0"), 2)


@pytest.mark.parametrize("pack", [zlib.compress, bz2.compress])
@given(data=st.binary(max_size=300), asked=st.integers(0, 400))
@_QUIET
def test_streams_give_all_or_nothing(pack: Any, data: bytes, asked: int) -> None:
    unpacked = payload.inflated if pack is zlib.compress else payload.unpacked_bzip2
    stream = unpacked(MemoryFile(pack(data)))
    if asked == len(data):
        assert payload.read_all_of(stream, asked) == data
    else:
        with pytest.raises(ImageError, match=f"promises {asked} bytes"):
            payload.read_all_of(stream, asked)


def test_a_window_ends_where_it_is_told_to() -> None:
    window = payload.Window(MemoryFile(b"0123456789"), 4)
    assert window.read(3) == b"012"
    assert window.read() == b"3"
    assert window.read() == b""
