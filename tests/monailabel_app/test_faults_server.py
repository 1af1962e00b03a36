"""Two servers on one folder of 10 000 files, many people, and a kill -9: no label is lost."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from lfusion.cli.server_process import free_port, running_command
from lfusion.protocol import LabelVersion, SavedLabel, ScoringStatus
from monailabel_app.lib.datastore import StudiesDatastore

FILES = 10_000
DIFFERENT = 800
"""Contents: to score them takes longer than to label what these tests label."""

CLIENTS = 8
LABELS = 500


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "not met in time"
        time.sleep(0.02)


class Site:
    """A studies folder, servers over it, and what they have acknowledged."""

    def __init__(self, studies: Path, mask: bytes, checkpoint: Path) -> None:
        self.studies = studies
        self.mask = mask
        self.checkpoint = checkpoint
        self.images = [f"image{number:05}" for number in range(FILES)]
        self.saved: list[tuple[str, str, int]] = []
        """Image, client and version."""
        self.enough = threading.Event()

    def server(self, log: str) -> tuple[str, AbstractContextManager[int]]:
        """Address of a server that runs while the context is open; gives its process group."""
        port = free_port()
        options = ["--studies", self.studies, "--port", port, "--checkpoint", self.checkpoint]
        command = [sys.executable, "-c", "from lfusion.cli import app; app()", "serve"]
        command += [str(option) for option in options]
        url = f"http://127.0.0.1:{port}"
        return url, running_command(command, f"{url}/health", self.log(log))

    def log(self, name: str) -> Path:
        return self.studies.parent / name

    def save(self, url: str, client: str, images: Sequence[str]) -> None:
        """Save a label of each image and note what was acknowledged, while there is a server."""
        with httpx.Client(base_url=url, timeout=120) as http:
            for image in images:
                if self.enough.is_set():
                    return
                try:
                    reply = http.put(
                        "/datastore/label",
                        params={"image": image},
                        data={"params": json.dumps({"client_id": client})},
                        files={"label": ("mask.png", self.mask)},
                    )
                except httpx.TransportError:
                    return
                assert reply.is_success, reply.text
                version = SavedLabel.model_validate_json(reply.content).version
                self.saved.append((image, client, version))

    def all_save(self, servers: Sequence[httpx.Client]) -> list[threading.Thread]:
        """Clients that label at once, any two of them many of the same images."""
        threads = []
        for number in range(CLIENTS):
            turn = number * LABELS // CLIENTS
            mine = self.images[turn:LABELS] + self.images[:turn]
            url = str(servers[number % len(servers)].base_url)
            threads.append(threading.Thread(target=self.save, args=(url, f"client {number}", mine)))
            threads[-1].start()
        return threads

    def check(self, http: httpx.Client) -> None:
        """Every acknowledged label is in the index, and the current ones are on disk."""
        counted = Counter(image for image, _, _ in self.saved)
        assert len(set(self.saved)) == len(self.saved)
        for image in counted:
            reply = http.get("/versions", params={"image": image})
            versions = [LabelVersion.model_validate(one) for one in reply.json()]
            found = {(image, str(one.client_id), one.version) for one in versions}
            assert found >= {one for one in self.saved if one[0] == image}
            assert [one.version for one in versions if one.current] == [len(versions)]
            label = self.studies / "labels" / "final" / f"{image}.png"
            assert label.read_bytes() == self.mask
        completed = http.get("/info/").json()["datastore"]["completed"]
        assert completed >= len(counted)


@pytest.fixture
def site(heads: Path, tiny_checkpoint: Path, tmp_path: Path) -> Site:
    """The pool; most files are links to a few."""
    studies = tmp_path / "studies"
    studies.mkdir()
    site = Site(studies, (heads / "masks" / "head00.png").read_bytes(), tiny_checkpoint)
    pixels = np.array(Image.open(heads / "images" / "head00.png"))
    for number, image in enumerate(site.images):
        file = studies / f"{image}.png"
        if number < DIFFERENT:
            pixels[0, :2] = divmod(number, 256)
            Image.fromarray(pixels).save(file)
        else:
            os.link(studies / f"image{number % DIFFERENT:05}.png", file)
    return site


def scoring(http: httpx.Client) -> ScoringStatus:
    return ScoringStatus.model_validate_json(http.get("/scoring/").content)


@pytest.fixture
def servers(site: Site) -> Iterator[list[tuple[int, httpx.Client]]]:
    """Process groups and clients of two servers on one folder."""
    with ExitStack() as stack:
        running = []
        for name in ("first.log", "second.log"):
            url, server = site.server(name)
            group = stack.enter_context(server)
            running.append((group, stack.enter_context(httpx.Client(base_url=url, timeout=120))))
        yield running


def test_eight_clients_of_two_servers_one_of_which_is_killed_while_it_scores(
    site: Site, servers: list[tuple[int, httpx.Client]]
) -> None:
    (group, first), (_, second) = servers
    offered = {
        http.post("/activelearning/epistemic", json={"client_id": f"client {n}"}).json()["id"]
        for n, http in enumerate([first, second] * 2)
    }
    assert len(offered) == 4

    clients = site.all_save([first, second])
    until(lambda: len(site.saved) >= LABELS)
    assert scoring(first).status == "running"
    os.killpg(group, signal.SIGKILL)
    site.enough.set()
    for client in clients:
        client.join()
    assert {f"client {n}" for n in range(CLIENTS)} == {client for _, client, _ in site.saved}

    site.check(second)
    info = second.get("/info/").json()["datastore"]
    store = StudiesDatastore(str(site.studies), dict, auto_reload=False, read_only=False)
    assert (store.status(), info["total"]) == (info, FILES)
    with store.index.read() as db:
        before = db.execute("SELECT count(*) FROM results").fetchone()[0]
    assert before > 0
    until(lambda: scoring(second).done > before)  # it goes on alone
    store.close()
