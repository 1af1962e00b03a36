"""A server that is started always ends, and says why when it cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from lfusion.cli.server_process import ServerError, free_port, running_command


def alive(group: int) -> bool:
    """Whether any process of the group runs; a zombie only waits to be counted."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def gone(group: int) -> bool:
    """Whether the group ends; a killed grandchild may need a moment on a busy machine."""
    end = time.monotonic() + 30
    while alive(group) and time.monotonic() < end:
        time.sleep(0.01)
    return not alive(group)


@pytest.fixture
def quick_server(tmp_path: Path) -> tuple[list[str], str]:
    """The command of a server that starts at once, and an address that it answers."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    return [*command, "--directory", str(tmp_path)], f"http://127.0.0.1:{port}/"


def test_it_answers_inside_the_block_and_is_gone_after(
    quick_server: tuple[list[str], str], tmp_path: Path
) -> None:
    command, url = quick_server
    with running_command(command, url, tmp_path / "log") as group:
        assert httpx.get(url).is_success
        assert alive(group)
    assert gone(group)


def test_it_is_gone_after_an_interrupt(quick_server: tuple[list[str], str], tmp_path: Path) -> None:
    command, url = quick_server
    groups = []

    def interrupted() -> None:
        with running_command(command, url, tmp_path / "log") as group:
            groups.append(group)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert gone(groups[0])


def test_its_children_are_gone_too(tmp_path: Path, quick_server: tuple[list[str], str]) -> None:
    command, url = quick_server
    parent = f"import subprocess; subprocess.run({command!r})"
    with running_command([sys.executable, "-c", parent], url, tmp_path / "log") as group:
        assert alive(group)
    assert gone(group)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_it_is_gone_when_its_owner_is_terminated(
    quick_server: tuple[list[str], str], tmp_path: Path
) -> None:
    command, url = quick_server
    owner = (
        "import signal; from pathlib import Path\n"
        "from lfusion.cli.server_process import running_command\n"
        f"with running_command({command!r}, {url!r}, Path({str(tmp_path / 'log')!r})) as group:\n"
        "    print(group, flush=True); signal.pause()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", owner], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        group = int(process.stdout.readline())
        assert alive(group)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM
    assert gone(group)


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no licence')"]
    log = tmp_path / "log"
    with (
        pytest.raises(ServerError, match=f"status 1: no licence; see {log}"),
        running_command(command, "http://127.0.0.1:9/", log),
    ):
        pytest.fail("it did not start")
