"""Child process of `sandbox`: decodes one compressed image after another.

It runs as a script, so that it starts with what decoding needs and nothing else, and imports
nothing of this package.

A request is `HEADER` and the stream. The answer is one status byte, followed by the decoded
values where it is `DONE`; the parent knows their number.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from typing import BinaryIO

HEADER = struct.Struct("<BIIIBQdQ")
"""Codec, height, width, components, bytes of a sample, bytes of the stream, seconds, memory."""

JPEG, JPEG_LS, JPEG_2000 = range(3)
DONE, DAMAGED, MEMORY, OTHER = range(4)


def main() -> None:
    """Answer requests until the parent closes the pipe or ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints breaks no answer
    requests = sys.stdin.buffer
    while len(head := requests.read(HEADER.size)) == HEADER.size:
        codec, height, width, components, itemsize, length, seconds, memory = HEADER.unpack(head)
        stream = requests.read(length)
        if len(stream) < length:
            return
        limit_resources(seconds, memory)
        shape = (height, width) if components == 1 else (height, width, components)
        _answer(answers, *decode(codec, stream, shape, itemsize))


def limit_resources(seconds: float, memory: int) -> None:
    """Limit what the next image may take; the parent's own clock does so on Windows.

    Args:
        seconds: CPU time from now on.
        memory: Bytes of address space beyond those in use.
    """
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            taken = int(file.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:  # macOS neither tells nor enforces the address space
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = taken + memory
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def decode(codec: int, stream: bytes, shape: tuple[int, ...], itemsize: int) -> tuple[int, bytes]:
    """Return the status, and the values row by row in the byte order of this machine.

    Args:
        codec: One of `JPEG`, `JPEG_LS` and `JPEG_2000`.
        stream: The image.
        shape: That it must have.
        itemsize: Bytes of a value.
    """
    import imagecodecs

    try:
        if codec == JPEG:
            values = imagecodecs.jpeg8_decode(stream)
        elif codec == JPEG_LS:
            values = imagecodecs.jpegls_decode(stream)
        else:
            values = imagecodecs.jpeg2k_decode(stream, numthreads=1)
    except MemoryError:
        return MEMORY, b""
    except (RuntimeError, ValueError, TypeError):  # each codec's errors are RuntimeErrors
        return DAMAGED, b""
    if values.shape != shape or values.dtype.itemsize != itemsize or values.dtype.kind not in "iu":
        return OTHER, b""
    return DONE, values.tobytes()


def _answer(answers: BinaryIO, status: int, values: bytes) -> None:
    answers.write(bytes([status]))
    view = memoryview(values)
    while view:
        view = view[answers.write(view) :]


if __name__ == "__main__":
    main()
