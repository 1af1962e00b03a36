"""Decoding in a process of its own, with a limit on memory and time.

The memory and time that JPEG 2000, JPEG-LS and lossless JPEG take follow from the coded data, and
their decoders are large C libraries that were not written for hostile input. A crash, a loop or
an allocation of gigabytes ends the child process alone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import decoder_process as child
from lfusion.image.codestreams import (
    Codec,
    Codestream,
    complete_jpeg_2000,
    plain_jpeg,
    plain_jpeg_ls,
)
from lfusion.image.limits import check_decoded_bytes

DECODE_SECONDS = 30.0
"""For one frame; one of 64 million pixels takes about 10 s."""

DECODE_BYTES = 3 * 2**30
"""Address space for one frame; JPEG 2000 works on 32 bits a sample, twice."""

_TAILS = 2
"""Other ends that a JPEG stream is decoded with."""

_CODECS = {
    Codec.JPEG_12_BIT: child.JPEG,
    Codec.JPEG_LOSSLESS: child.JPEG,
    Codec.JPEG_LS: child.JPEG_LS,
    Codec.JPEG_2000: child.JPEG_2000,
}


def decode(stream: bytes, header: Codestream, *, ybr: bool | None = None) -> NDArray[Any]:
    """Decode one compressed image in the child process.

    Args:
        stream: The image, all of it.
        header: Its markers, within the limits; not of a JPEG with 8 bits.
        ybr: Colour of a JPEG with three components, as for `plain_jpeg`.

    Returns:
        [height, width] or [height, width, components], uint8 or uint16; signed values of JPEG
        2000 as their bit patterns.

    Raises:
        ImageError: The image is damaged or cut off.
        TooLargeError: Decoding it takes too much memory or time.
    """
    codec = _CODECS[header.codec]
    if codec == child.JPEG_2000:
        return _DECODER.decode(codec, complete_jpeg_2000(stream), header)
    if codec == child.JPEG_LS:
        return _DECODER.decode(codec, plain_jpeg_ls(stream), header)
    values = _DECODER.decode(codec, plain_jpeg(stream, ybr=ybr), header)
    # This decoder invents what a short stream lacks. What is added at the end of a complete one
    # is never looked at; of a short one it is taken for data, and the values differ.
    source = random.Random(0)
    for _ in range(_TAILS):
        tail = bytes(source.randrange(1, 255) for _ in range(4096))
        other = _DECODER.decode(codec, plain_jpeg(stream, ybr=ybr, tail=tail), header)
        if not np.array_equal(values, other):
            raise ImageError(
                "the compressed image ends early; the file was cut off: "
                "copy it again from its source"
            )
    return values


class DecoderProcess:
    """One child process, started when it is needed and again after it ended.

    Threads share it; one image is decoded at a time.

    Args:
        seconds: For one image.
        memory: Bytes for one image.
    """

    def __init__(self, seconds: float = DECODE_SECONDS, memory: int = DECODE_BYTES) -> None:
        self._seconds = seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def decode(self, codec: int, stream: bytes, header: Codestream) -> NDArray[Any]:
        """Decode one image, see `decode` of this module."""
        dtype = np.dtype(np.uint8 if header.precision <= 8 else np.uint16)
        if header.precision > 16:
            raise ImageError(
                f"the compressed image has {header.precision} bits a sample; expected at most 16"
            )
        shape: tuple[int, ...] = (header.height, header.width)
        if header.components > 1:
            shape = (*shape, header.components)
        count = int(np.prod(shape, dtype=object)) * dtype.itemsize
        check_decoded_bytes(count)
        request = child.HEADER.pack(
            codec,
            header.height,
            header.width,
            header.components,
            dtype.itemsize,
            len(stream),
            self._seconds,
            self._memory,
        )
        with self._lock:
            status, content = self._ask(request, stream, count)
        if status == child.DONE:
            return np.frombuffer(content, dtype).reshape(shape)
        if status == child.MEMORY:
            raise TooLargeError(
                f"decoding the image takes more than the limit of {self._memory} bytes; "
                "export it uncompressed"
            )
        raise ImageError(
            f"the compressed image is a damaged {header.codec.value}; export the image again"
        )

    def stop(self) -> None:
        """End the child process, if there is one, and wait for its end."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():  # another process may have forked
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not sent is of no use
                    pipe.close()

    def _ask(self, request: bytes, stream: bytes, count: int) -> tuple[int, bytes]:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._seconds, end)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.write(stream)
            process.stdin.flush()
            status = process.stdout.read(1)
            content = process.stdout.read(count) if status == bytes([child.DONE]) else b""
        except BrokenPipeError:
            status, content = b"", b""
        except BaseException:  # such as Ctrl-C: the next answer would be that of this request
            self.stop()
            raise
        finally:
            timer.cancel()
        if status and (status[0] != child.DONE or len(content) == count):
            if late.is_set():  # it answered while it was ended
                self.stop()
            return status[0], content
        self.stop()
        if late.is_set() or process.returncode == -_SIGXCPU:
            raise TooLargeError(
                f"decoding the image takes longer than the limit of {self._seconds:g} s; "
                "export it uncompressed"
            )
        return child.DAMAGED, b""

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():
            self._process = None
        if self._process is not None and self._process.poll() is not None:
            self.stop()
        if self._process is None:
            threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(Path(child.__file__))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | threads,
                start_new_session=True,
            )
            self._owner = os.getpid()
        return self._process


_SIGXCPU = 24
"""Of Linux, where the limit of CPU time exists; Windows has no such constant."""

_DECODER = DecoderProcess()
atexit.register(_DECODER.stop)
