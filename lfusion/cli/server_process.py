"""A server in a process group of its own, which never outlives its block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import httpx

from lfusion.errors import LFusionError

START_SECONDS = 300.0
"""Importing MONAI Label takes 10 s on an idle machine, and minutes on a busy one."""


class ServerError(LFusionError):
    """The server did not start, or ended by itself."""


@contextmanager
def running_server(studies: Path, log: Path, *options: str) -> Iterator[str]:
    """Run `lfusion serve` on a free port of this machine while the block runs.

    Args:
        studies: Folder of images.
        log: File for everything that the server prints.
        options: More options of `lfusion serve`.

    Yields:
        The address, without a slash at the end, once the server answers.

    Raises:
        ServerError: It ended, or did not answer in time; the message names the log.
    """
    port = free_port()
    arguments = ["serve", "--studies", str(studies), "--port", str(port), *options]
    command = [sys.executable, "-c", "from lfusion.cli import app; app()", *arguments]
    url = f"http://127.0.0.1:{port}"
    with running_command(command, f"{url}/health", log):
        yield url


@contextmanager
def running_command(command: Sequence[str], probe: str, log: Path) -> Iterator[int]:
    """Run a server of any kind while the block runs.

    Args:
        command: What starts it, in the foreground.
        probe: An address that it answers when it is ready.
        log: File for everything that it prints.

    Yields:
        The id of its process group, once it answers.

    Raises:
        ServerError: It ended, or did not answer in time; the message names the log.
    """
    with log.open("wb") as output, _ends_on_signals():
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait(process, probe, log)
            yield process.pid
        finally:
            _end_group(process)


def _wait(process: subprocess.Popen[bytes], probe: str, log: Path) -> None:
    """Return when the server answers."""
    deadline = time.monotonic() + START_SECONDS
    with httpx.Client(timeout=10) as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                last = " ".join(log.read_text(errors="replace").strip().splitlines()[-1:])
                raise ServerError(
                    f"the server ended with status {process.returncode}: {last}; see {log}"
                )
            with suppress(httpx.TransportError):
                if http.get(probe).is_success:
                    return
            time.sleep(0.1)
    raise ServerError(f"the server did not answer within {START_SECONDS:.0f} s; see {log}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, then end whatever is left of its group."""
    try:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _ends_on_signals() -> Iterator[None]:
    """Turn termination and hang-up into an exit that runs `finally` blocks, as Ctrl-C does."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, leave) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
