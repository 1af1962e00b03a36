"""The decoder process: limits, crashes, threads, and no process left over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import pytest

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import decoder_process
from lfusion.image.codestreams import Codestream, parse_codestream
from lfusion.image.sandbox import DecoderProcess

_codecs: Any = imagecodecs
VALUES = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48)
STREAM = bytes(_codecs.jpeg2k_encode(VALUES, codecformat="j2k", reversible=True))
HEADER = parse_codestream(STREAM)

linux = pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    """A process that ends with the test."""
    process = DecoderProcess()
    yield process
    process.stop()


def decoded(decoder: DecoderProcess, stream: bytes = STREAM, header: Codestream = HEADER) -> Any:
    return decoder.decode(decoder_process.JPEG_2000, stream, header)


def pid(decoder: DecoderProcess) -> int:
    process = decoder._process
    assert process is not None
    return process.pid


def test_one_process_decodes_many_images(decoder: DecoderProcess) -> None:
    np.testing.assert_array_equal(decoded(decoder), VALUES)
    first = pid(decoder)
    np.testing.assert_array_equal(decoded(decoder), VALUES)
    assert pid(decoder) == first


def test_damage_is_an_error_and_the_process_stays(decoder: DecoderProcess) -> None:
    decoded(decoder)
    first = pid(decoder)
    with pytest.raises(ImageError, match="damaged JPEG 2000"):
        decoded(decoder, STREAM[:100] + bytes(50) + STREAM[-200:])
    np.testing.assert_array_equal(decoded(decoder), VALUES)
    assert pid(decoder) == first


def test_another_size_than_the_header_is_no_answer(decoder: DecoderProcess) -> None:
    smaller = Codestream(HEADER.codec, 32, 48, 1, 16, HEADER.colour)
    with pytest.raises(ImageError):
        decoded(decoder, header=smaller)


def test_started_again_after_it_was_killed(decoder: DecoderProcess) -> None:
    decoded(decoder)
    os.kill(pid(decoder), signal.SIGKILL)
    time.sleep(0.1)
    np.testing.assert_array_equal(decoded(decoder), VALUES)


@linux
def test_a_crash_is_an_error_of_the_image(decoder: DecoderProcess) -> None:
    decoded(decoder)
    process = decoder._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    killer = threading.Timer(0.3, os.kill, (process.pid, signal.SIGSEGV))
    resume = threading.Timer(0.4, os.kill, (process.pid, signal.SIGCONT))
    killer.start()
    resume.start()
    with pytest.raises(ImageError, match="damaged"):
        decoded(decoder)
    resume.join()
    np.testing.assert_array_equal(decoded(decoder), VALUES)


@linux
def test_too_slow() -> None:
    decoder = DecoderProcess(seconds=0.5)
    try:
        decoder._started()
        os.kill(pid(decoder), signal.SIGSTOP)
        stopped = pid(decoder)
        with pytest.raises(TooLargeError, match=r"longer than the limit of 0\.5 s"):
            decoded(decoder)
        assert not _is_alive(stopped)
    finally:
        decoder.stop()


@linux
def test_too_much_memory() -> None:
    values = np.zeros((4000, 4000), np.uint8)
    stream = bytes(_codecs.jpeg2k_encode(values, codecformat="j2k", reversible=True))
    decoder = DecoderProcess(memory=2**25)
    try:
        with pytest.raises(ImageError):
            decoded(decoder, stream, parse_codestream(stream))
    finally:
        decoder.stop()


def test_threads_share_it(decoder: DecoderProcess) -> None:
    failures: list[str] = []

    def work() -> None:
        for _ in range(5):
            if not np.array_equal(decoded(decoder), VALUES):
                failures.append("differs")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@linux
def test_nothing_is_left_over_when_the_parent_ends_or_is_interrupted() -> None:
    program = (
        "import numpy, sys, time, imagecodecs\n"
        "from lfusion.image import sandbox\n"
        "from lfusion.image.codestreams import parse_codestream\n"
        "s = bytes(imagecodecs.jpeg2k_encode(numpy.zeros((9, 9), 'u1'), codecformat='j2k'))\n"
        "sandbox.decode(s, parse_codestream(s))\n"
        "print(sandbox._DECODER._process.pid, flush=True)\n"
        "time.sleep(60 if sys.argv[1] == 'wait' else 0)\n"
    )
    for way, end in (("end", None), ("wait", signal.SIGINT), ("wait", signal.SIGKILL)):
        with subprocess.Popen(
            [sys.executable, "-c", program, way], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            if end is not None:
                parent.send_signal(end)
            parent.wait(20)
        deadline = time.monotonic() + 10
        while _is_alive(child) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _is_alive(child)


def _is_alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
