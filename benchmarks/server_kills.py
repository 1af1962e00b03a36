"""Random SIGKILLs while labels are saved, with backup, restore, and a file system without links.

    python benchmarks/server_kills.py --kills 60 --servers 10

Two kinds of process are killed: `lfusion serve`, asked over HTTP, and a process that saves through
the datastore of the server alone, which starts in milliseconds. In a part of the runs hard links
fail, as on SMB and exFAT. In a part of them a backup is made while labels are saved; the folder is
then replaced by the restored one. At the end every label that was acknowledged must be there, and
no file of a version may have changed.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from lfusion.cli.server_process import running_server
from lfusion.errors import LFusionError
from lfusion.image import write_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.backup import back_up, restore
from monailabel_app.lib.datastore.folder import digest_of

IMAGES = 6
MASKS = 24
_SHAPE = (96, 128)
_LONGEST_S = 0.6
"""Of a run, so that kills hit opening, saving and recovery."""

_WORKER = """
import os, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
from lfusion.protocol import Submission
from monailabel_app.lib.datastore import StudiesDatastore

def refuse(self, target):
    raise OSError(95, "Operation not supported")

print("ready", flush=True)
for line in sys.stdin:
    studies, links, seed, *masks = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        if links == "no":
            Path.hardlink_to = refuse
        store = StudiesDatastore(studies, lambda: {"head": 1}, auto_reload=False, read_only=False)
        number = int(seed)
        while True:
            image, mask = f"head{number % 6:02}", masks[number % len(masks)]
            saved = store.saver.save(image, Path(mask), "final", Submission(client_id=seed), None)
            os.write(1, f"saved {image} {saved.version} {mask}\\n".encode())
            number += 1
    print("child", child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@dataclass
class Tally:
    """What happened and what was acknowledged.

    Attributes:
        acknowledged: Image, version and digest of each acknowledged label.
        kills: By kind of process.
        without_links: Kills on a file system without hard links.
        restores: Backups made under load, restored and gone on with.
    """

    acknowledged: set[tuple[str, int, str]] = field(default_factory=set)
    kills: dict[str, int] = field(default_factory=lambda: {"datastore": 0, "server": 0})
    without_links: int = 0
    restores: int = 0


class Worker:
    """A process whose children save labels until they are killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._rest = b""
        assert self._line(120) == "ready"

    def start(self, studies: Path, links: bool, seed: int, masks: list[Path]) -> int:
        """Begin to save; the child's process id."""
        assert self._process.stdin is not None
        fields = [str(studies), "yes" if links else "no", str(seed), *map(str, masks)]
        self._process.stdin.write(("\t".join(fields) + "\n").encode())
        line = ""
        self._early: list[str] = []
        while not line.startswith("child"):
            line = self._line(60)
            if line.startswith("saved"):
                self._early.append(line)
        return int(line.split()[1])

    def saved(self, seconds: float) -> list[str]:
        """What was acknowledged in so many seconds."""
        lines, self._early = self._early, []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            line = self._line(left)
            if line:
                lines.append(line)
        return lines

    def ended(self) -> list[str]:
        """What was acknowledged up to the end of the child."""
        lines = []
        while (line := self._line(60)) != "ended":
            assert line, "the child did not end"
            lines.append(line)
        return lines

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _line(self, seconds: float) -> str:
        """The next line, or "" when none comes in time."""
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select(
                [self._process.stdout], [], [], max(0, end - time.monotonic())
            )
            if not ready:
                return ""
            part = os.read(self._process.stdout.fileno(), 65536)
            assert part, "the worker ended"
            self._rest += part
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()


def soak(folder: Path, kills: int, servers: int, seed: int = 0) -> Tally:
    """Kill, back up and restore; then check everything.

    Args:
        folder: For the studies and the backups.
        kills: Of processes with a datastore.
        servers: Kills of real servers.
        seed: Of the random choices.

    Returns:
        What happened.

    Raises:
        AssertionError: An acknowledged label is lost, or a version changed.
    """
    chance = random.Random(seed)
    masks = [folder / f"mask{number}.png" for number in range(MASKS)]
    for number, mask in enumerate(masks):
        write_mask(mask, np.eye(*_SHAPE, k=number, dtype=np.uint8))
    studies = folder / "studies"
    studies.mkdir()
    for number in range(IMAGES):
        write_mask(studies / f"head{number:02}.png", np.full(_SHAPE, number, np.uint8))
    digests = {str(mask): digest_of(mask) for mask in masks}
    tally = Tally()
    worker = Worker()
    try:
        for number in range(kills):
            links = chance.random() < 0.6
            child = worker.start(studies, links, chance.randrange(10_000), masks)
            lines = worker.saved(chance.uniform(0, _LONGEST_S))
            restored = None
            if number % 7 == 6:
                restored = _restored(folder, studies, tally.restores)
            before = set(tally.acknowledged) | _acknowledged(lines, digests)
            os.kill(child, signal.SIGKILL)
            lines += worker.ended()
            tally.acknowledged |= _acknowledged(lines, digests)
            tally.kills["datastore"] += 1
            tally.without_links += not links
            if restored is not None:
                # What was saved after the backup began may be left out of it.
                check(studies, tally.acknowledged)
                tally.acknowledged = before
                check(restored, before)
                shutil.rmtree(studies)
                restored.rename(studies)
                tally.restores += 1
    finally:
        worker.close()
    for number in range(servers):
        _kill_server(studies, folder / f"server{number}.log", masks, digests, tally, chance)
    check(studies, tally.acknowledged)
    return tally


def check(studies: Path, acknowledged: set[tuple[str, int, str]]) -> None:
    """Every acknowledged version is there and has its bytes.

    Args:
        studies: The folder; it is recovered first.
        acknowledged: Image, version and digest.

    Raises:
        AssertionError: One is not.
    """
    store = StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)
    try:
        for image in {image for image, _, _ in acknowledged}:
            versions = store.saver.versions(image)
            found = {(image, one.version, one.sha256) for one in versions}
            assert found >= {one for one in acknowledged if one[0] == image}, image
            for one in versions:
                assert digest_of(store.saver.version_file(image, one.version)) == one.sha256
            (current,) = [one for one in versions if one.current]
            assert digest_of(Path(store.get_label_uri(image, "final"))) == current.sha256
    finally:
        store.close()


def _acknowledged(lines: list[str], digests: dict[str, str]) -> set[tuple[str, int, str]]:
    parts = [line.split(" ", 3) for line in lines]
    return {(image, int(version), digests[mask]) for _, image, version, mask in parts}


def _restored(folder: Path, studies: Path, number: int) -> Path:
    """A backup of the folder under load, restored beside it."""
    archive, target = folder / f"backup{number}.zip", folder / f"restored{number}"
    back_up(studies, archive, images=True)
    restore(archive, target)
    return target


def _kill_server(
    studies: Path,
    log: Path,
    masks: list[Path],
    digests: dict[str, str],
    tally: Tally,
    chance: random.Random,
) -> None:
    """Kill `lfusion serve` while four clients save."""
    stopped = threading.Event()
    lock = threading.Lock()

    def save(url: str, client: int) -> None:
        with httpx.Client(base_url=url, timeout=120) as http:
            number = client
            while not stopped.is_set():
                image, mask = f"head{number % IMAGES:02}", masks[number % len(masks)]
                try:
                    reply = http.put(
                        "/datastore/label",
                        params={"image": image},
                        files={"label": (mask.name, mask.read_bytes())},
                    )
                except httpx.TransportError:
                    return
                reply.raise_for_status()
                with lock:
                    version = reply.json()["version"]
                    tally.acknowledged.add((image, version, digests[str(mask)]))
                number += 4

    try:
        with running_server(studies, log) as url:
            threads = [threading.Thread(target=save, args=(url, client)) for client in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(chance.uniform(0.5, 3.0))
            port = url.rsplit(":", 1)[1]
            os.killpg(_group_of(port), signal.SIGKILL)
            stopped.set()
            for thread in threads:
                thread.join()
    except LFusionError:
        raise
    tally.kills["server"] += 1


def _group_of(port: str) -> int:
    """Process group of the server that we started on a port."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"serve" in arguments and port.encode() in arguments:
                return os.getpgid(int(entry.name))
    raise LookupError(f"no server on port {port}")


def main() -> None:
    """Run and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--servers", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = soak(Path(folder), given.kills, given.servers, given.seed)
    print("| figure | value |")
    print("|---|---|")
    print(f"| kills of a process with the datastore | {tally.kills['datastore']} |")
    print(f"| kills of `lfusion serve` under four clients | {tally.kills['server']} |")
    print(f"| of these without hard links | {tally.without_links} |")
    print(f"| backups made under load and restored | {tally.restores} |")
    print(f"| acknowledged labels checked at the end | {len(tally.acknowledged)} |")
    print("| acknowledged labels lost | 0 |")
    print("| versions whose bytes changed | 0 |")


if __name__ == "__main__":
    main()
