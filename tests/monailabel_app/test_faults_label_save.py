"""kill -9 at random moments of a label save: what was acknowledged is there, nothing is torn."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lfusion.image import write_mask
from monailabel_app.lib.datastore import StudiesDatastore

MOMENTS = 40

_HELPER = """
import os, signal, sys
from monailabel_app.lib.datastore import StudiesDatastore

studies, *masks = sys.argv[1:]
print("ready", flush=True)
for line in sys.stdin:
    fatal, mask = map(int, line.split())
    child = os.fork()
    if child == 0:
        store = StudiesDatastore(studies, lambda: {"head": 1}, auto_reload=False, read_only=False)
        seen = 0
        def count(frame, event, argument):
            global seen
            if event == "c_call":  # every touch of the disk is one of these
                if seen == fatal:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1
        sys.setprofile(count)
        store.save_label("head00", masks[mask], "final", {"client_id": str(mask)})
        sys.setprofile(None)
        print("saved", seen, flush=True)
        os._exit(0)
    print("ended", os.waitpid(child, 0)[1], flush=True)
"""


class Victims:
    """A process whose children save a label and die on the way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert self._line() == "ready"

    def save(self, mask: int, fatal: int) -> int | None:
        """Let one save; the number of its calls when it was acknowledged, else None."""
        assert self._process.stdin is not None
        print(fatal, mask, file=self._process.stdin, flush=True)
        line, calls = self._line(), None
        if line.startswith("saved"):
            calls, line = int(line.split()[1]), self._line()
        assert line == f"ended {0 if calls is not None else int(signal.SIGKILL)}"
        return calls

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def masks(tmp_path: Path) -> list[Path]:
    """Two labels of it, of different formats."""
    files = [tmp_path / "first.png", tmp_path / "second.nii.gz"]
    write_mask(files[0], np.eye(96, 128, dtype=np.uint8))
    write_mask(files[1], np.tri(96, 128, dtype=np.uint8))
    return files


@pytest.fixture
def victims(studies: Path, masks: list[Path]) -> Iterator[Victims]:
    """One interpreter for all of them."""
    command = [sys.executable, "-W", "ignore", "-c", _HELPER, str(studies), *map(str, masks)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        yield Victims(process)


def test_a_save_killed_at_any_moment_is_whole_or_not_there(
    victims: Victims, studies: Path, masks: list[Path]
) -> None:
    never = 1_000_000
    calls = victims.save(0, never)
    assert calls is not None
    chance = random.Random(0)
    acknowledged, outcomes = 1, set()
    for moment in sorted(chance.sample(range(calls), min(MOMENTS, calls))):
        mask = chance.randrange(2)
        saved = victims.save(mask, moment) is not None
        acknowledged += saved
        store = StudiesDatastore(
            str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False
        )
        versions = store.saver.versions("head00")
        # One that was on disk, but not yet acknowledged, may be there too.
        assert acknowledged <= len(versions) <= acknowledged + (not saved)
        outcomes.add((saved, len(versions) - acknowledged))
        acknowledged = len(versions)
        assert [one.version for one in versions] == list(range(1, acknowledged + 1))
        current = Path(store.get_label_uri("head00", "final"))
        assert [one.current for one in versions] == [False] * (acknowledged - 1) + [True]
        client = versions[-1].client_id
        assert current.read_bytes() == masks[int(client or 0)].read_bytes()
        assert [file.name for file in current.parent.iterdir()] == [current.name]
        store.close()
    # It died before the label was safe, and after, without a chance to say so.
    assert {(False, 0), (False, 1)} <= outcomes
