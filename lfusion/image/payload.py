"""Pixel data of a known length, from raw, compressed and text streams, never a byte more."""

from __future__ import annotations

import bz2
import io
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.limits import check_decoded_bytes, read_exactly

_CHUNK = 1 << 16
_CHARACTERS_A_NUMBER = 64
_SLACK = 1 << 16


class Window(io.RawIOBase):
    """The next bytes of a file, as a file of its own.

    Args:
        file: At the first byte.
        count: Bytes that can be read.
    """

    name = "pixel data"
    mode = "rb"

    def __init__(self, file: BinaryIO, count: int) -> None:
        super().__init__()
        self._file = file
        self._left = count

    def readable(self) -> bool:
        """Tell the buffer that this stream can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the window reaches."""
        piece = self._file.read(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)


def inflated(file: BinaryIO, *, zlib_too: bool = True) -> BinaryIO:
    """Decompress a gzip or zlib stream while it is read; gzip members may follow one another.

    What follows the last member is ignored, as gzip does. A stream that breaks off ends early.

    Args:
        file: At the first byte of the stream.
        zlib_too: Whether it may be a zlib stream.

    Returns:
        The decompressed stream; reading raises `ImageError` where the stream is damaged.
    """
    # zlib's numbers for "gzip or zlib, by the first bytes" and for "gzip".
    member = partial(_Inflate, zlib.MAX_WBITS + (32 if zlib_too else 16))
    return io.BufferedReader(_Decompressed(file, member, (b"\x1f\x8b",)), _CHUNK)


def unpacked_bzip2(file: BinaryIO) -> BinaryIO:
    """Decompress a bzip2 stream while it is read; as `inflated` otherwise."""
    return io.BufferedReader(_Decompressed(file, bz2.BZ2Decompressor, (b"BZh",)), _CHUNK)


def skip(file: BinaryIO, count: int) -> None:
    """Pass over bytes of a stream that cannot be positioned.

    Raises:
        ImageError: The stream ends before.
    """
    left = count
    while left > 0:
        piece = file.read(min(left, _CHUNK))
        if not piece:
            raise ImageError(
                f"the header places the pixel data after {count} bytes, the file ends after "
                f"{count - left}; it was cut off: copy it again from its source"
            )
        left -= len(piece)


def read_all_of(file: BinaryIO, count: int) -> bytes:
    """Read the pixel data of a stream that holds nothing after them.

    Raises:
        ImageError: The stream holds fewer or more bytes; the message gives both numbers.
        TooLargeError: They are more than one call may decode.
    """
    content = read_exactly(file, count)
    surplus = 0
    while surplus <= count and (piece := file.read(_CHUNK)):
        surplus += len(piece)
    if surplus:
        at_least = "" if surplus <= count else "at least "
        raise _surplus(count, f"{at_least}{count + surplus}", "bytes of pixel data")
    return content


def read_numbers(file: BinaryIO, count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Read numbers written as text, separated by white space or commas.

    Args:
        file: At the first number.
        count: Numbers that the header promises.
        dtype: Of the result; a number outside its range is refused.

    Returns:
        [count].

    Raises:
        ImageError: There are fewer or more numbers, or something else than numbers.
        TooLargeError: They are more than one call may decode.
    """
    text = _read_text(file, count, _CHARACTERS_A_NUMBER).replace(b",", b" ")
    check_decoded_bytes(count * 8)
    pieces = [_parse_numbers(tokens, dtype) for tokens in _tokens(text)]
    numbers = np.concatenate(pieces) if pieces else np.zeros(0, dtype)
    if len(numbers) < count:
        raise _shortage(count, len(numbers), "numbers")
    if len(numbers) > count:
        raise _surplus(count, str(len(numbers)), "numbers")
    return numbers


def read_hexadecimal(file: BinaryIO, count: int) -> bytes:
    """Read bytes written as two hexadecimal digits each.

    Args:
        file: At the first digit.
        count: Bytes that the header promises.

    Raises:
        ImageError: There are fewer or more bytes, or something else than digits.
        TooLargeError: They are more than one call may decode.
    """
    text = _read_text(file, count, 4)
    try:
        content = bytes.fromhex(text.decode("ascii"))
    except ValueError as error:
        raise ImageError(
            "the pixel data hold something else than hexadecimal digits; export the file again"
        ) from error
    if len(content) < count:
        raise _shortage(count, len(content), "bytes of pixel data")
    if len(content) > count:
        raise _surplus(count, str(len(content)), "bytes of pixel data")
    return content


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Inflate:
    """zlib's decompressor with the interface of bz2's: it keeps the input it has not used."""

    def __init__(self, window_bits: int) -> None:
        self._zlib = zlib.decompressobj(wbits=window_bits)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not (self._zlib.eof or self._zlib.unconsumed_tail or self._full)

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        content = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(content) == max_length  # more output can wait without more input
        return content


class _Decompressed(io.RawIOBase):
    """Members of a compressed file, one after another; name and mode make it a `BinaryIO`."""

    name = "pixel data"
    mode = "rb"

    def __init__(
        self,
        file: BinaryIO,
        member: Callable[[], _Decompressor],
        magics: tuple[bytes, ...],
    ) -> None:
        super().__init__()
        self._file = file
        self._new = member
        self._magics = magics
        self._member = member()
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._next(len(buffer))
        except (zlib.error, OSError) as error:
            raise ImageError(
                "the compressed pixel data are damaged; copy the file again from its source"
            ) from error
        buffer[: len(piece)] = piece
        return len(piece)

    def _next(self, count: int) -> bytes:
        while not self._ended:
            if self._member.eof:
                rest = self._member.unused_data
                rest += self._file.read(max(0, 3 - len(rest)))
                if not rest.startswith(self._magics):
                    self._ended = True
                    break
                self._member = self._new()
                piece = self._member.decompress(rest, count)
            elif self._member.needs_input:
                data = self._file.read(_CHUNK)
                if not data:
                    self._ended = True
                    break
                piece = self._member.decompress(data, count)
            else:
                piece = self._member.decompress(b"", count)
            if piece:
                return piece
        return b""


def _read_text(file: BinaryIO, count: int, characters: int) -> bytes:
    limit = count * characters + _SLACK
    check_decoded_bytes(limit)
    text = file.read(limit + 1)
    if len(text) > limit:
        raise ImageError(
            f"the header promises {count} values, the file holds more than {limit} bytes of text "
            "for them; export the file again"
        )
    return text


def _tokens(text: bytes) -> Iterator[list[bytes]]:
    """Split text at white space, a bounded piece at a time."""
    start = 0
    while start < len(text):
        end = min(start + _CHUNK, len(text))
        while end < len(text) and not text[end : end + 1].isspace():
            end += 1
        tokens = text[start:end].split()
        if tokens:
            yield tokens
        start = end


def _parse_numbers(tokens: list[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
    wide = np.float64 if dtype.kind == "f" else np.uint64 if dtype == np.uint64 else np.int64
    refused = (b"_", b"-") if wide is np.uint64 else (b"_",)  # NumPy wraps -1 around
    joined = b" ".join(tokens)
    if max(map(len, tokens)) > _CHARACTERS_A_NUMBER or any(sign in joined for sign in refused):
        raise _no_numbers(dtype)
    try:
        numbers = np.array(tokens).astype(wide)
    except (ValueError, OverflowError) as error:
        raise _no_numbers(dtype) from error
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if int(numbers.min()) < limits.min or int(numbers.max()) > limits.max:
            raise _no_numbers(dtype)
    return numbers.astype(dtype)


def _no_numbers(dtype: np.dtype[Any]) -> ImageError:
    return ImageError(
        f"the pixel data hold something else than numbers of type {dtype.name}, which the header "
        "gives; export the file again"
    )


def _shortage(expected: int, found: int, unit: str) -> ImageError:
    return ImageError(
        f"the header promises {expected} {unit}, the file holds {found}; "
        "it was cut off: copy it again from its source"
    )


def _surplus(expected: int, found: str, unit: str) -> ImageError:
    return ImageError(
        f"the header promises {expected} {unit}, the file holds {found}; "
        "header and data contradict each other: export the file again"
    )
