"""kill -9 before every single thing that a change of the served checkpoint does to the disk."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lfusion.checkpoint import Checkpoint
from monailabel_app.lib.served import ServedModel

_HELPER = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from lfusion.checkpoint import Checkpoint
from monailabel_app.lib.served import ServedModel

base = Path(sys.argv[1])
first = Checkpoint.load(base)
versions = [replace(first, fingerprint=replace(first.fingerprint, code=c)) for c in "abc"]
print(*(version.id for version in versions), flush=True)
TOUCHING = {"open", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.truncate"}
for line in sys.stdin:
    state, action, fatal = line.split()
    child = os.fork()
    if child == 0:
        served = ServedModel(base, Path(state))
        act = {"publish": lambda: served.publish(versions[2]), "rollback": served.rollback}[action]
        seen = 0
        def count(event, arguments):
            global seen
            if event in TOUCHING and str(arguments[0]).startswith(state):
                if seen == int(fatal):
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1
        sys.addaudithook(count)
        act()
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Victims:
    """A process whose children change the served checkpoint and die on the way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.ids = self._read().split()

    def survives(self, state: Path, action: str, fatal: int) -> bool:
        """Whether the action ended before it touched the disk for the fatal time."""
        assert self._process.stdin is not None
        print(state, action, fatal, file=self._process.stdin, flush=True)
        status = int(self._read())
        assert status in (0, signal.SIGKILL)
        return status == 0

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@pytest.fixture(scope="module")
def victims(tiny_checkpoint: Path) -> Iterator[Victims]:
    """One interpreter with torch for all of them."""
    command = [sys.executable, "-W", "ignore", "-c", _HELPER, str(tiny_checkpoint)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        yield Victims(process)


@pytest.mark.parametrize("action", ["publish", "rollback"])
def test_a_complete_checkpoint_is_served_whenever_it_dies(
    victims: Victims, tiny_checkpoint: Path, tmp_path: Path, action: str
) -> None:
    template = tmp_path / "template"
    served = ServedModel(tiny_checkpoint, template)
    base = Checkpoint.load(tiny_checkpoint)
    for code in "ab":
        served.publish(replace(base, fingerprint=replace(base.fingerprint, code=code)))
    first, second, third = victims.ids
    after = {"publish": third, "rollback": first}[action]
    outcomes = []
    for fatal in range(200):
        state = tmp_path / f"state{fatal}"
        shutil.copytree(template, state)
        survived = victims.survives(state, action, fatal)
        found = ServedModel(tiny_checkpoint, state)
        outcomes.append(found.checkpoint_id)
        # It loads, and so does the one before, which is never lost.
        assert Checkpoint.load(found.path).id == found.checkpoint_id
        assert found.rollback() == {second: first, third: second, first: second}[outcomes[-1]]
        # The next change works, and leaves nothing behind.
        found.rollback()
        assert len(list((state / "models").iterdir())) == 2
        shutil.rmtree(state)
        if survived:
            break
    assert outcomes[-1] == after
    swap = outcomes.index(after)
    assert swap > 3
    assert outcomes == [second] * swap + [after] * (len(outcomes) - swap)
