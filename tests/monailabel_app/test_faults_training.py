"""A training that is stopped or killed at any moment, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from lfusion.cli.server_process import free_port, running_command
from lfusion.protocol import TrainingStatus

LONG = 10_000
"""Steps: none of these trainings ends by itself."""


def until(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)


class Server:
    """A server whose training can be watched."""

    def __init__(self, url: str, studies: Path, group: int) -> None:
        self.http = httpx.Client(base_url=url, timeout=240)
        self.studies = studies
        self.group = group

    def status(self) -> TrainingStatus:
        return TrainingStatus.model_validate_json(self.http.get("/training/").content)

    def start(self, steps: int = LONG) -> None:
        reply = self.http.post("/train/lfusion", json={"steps": steps})
        assert reply.json()["status"] == "RUNNING", reply.text

    def learning(self) -> bool:
        """Whether weights are being changed."""
        status = self.status()
        assert status.status == "running", status.error
        return status.step > 0

    def training_process(self) -> psutil.Process:
        return psutil.Process(int((self.studies / ".lfusion" / "training.lock").read_text()))

    def checkpoint(self) -> str:
        """The checkpoint that predicts now."""
        reply = self.http.post("/infer/lfusion", params={"image": "head03", "output": "json"})
        assert reply.is_success, reply.text
        identity: str = reply.json()["checkpoint_id"]
        return identity


@pytest.fixture(scope="module")
def launch(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Any]:
    """Starts servers, one after the other, over one folder of four heads with three labels."""
    folder = tmp_path_factory.mktemp("faults")
    studies = folder / "studies"
    (studies / "labels" / "final").mkdir(parents=True)
    for number in range(4):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    for number in range(3):
        shutil.copy(heads / "masks" / f"head{number:02}.png", studies / "labels" / "final")

    def command() -> Any:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        options = ["--studies", studies, "--port", port, "--checkpoint", tiny_checkpoint]
        run = [sys.executable, "-c", "from lfusion.cli import app; app()", "serve"]
        run += [str(option) for option in options]
        return running_command(run, f"{url}/health", folder / "log"), url, studies

    return command


@pytest.fixture(scope="module")
def server(launch: Callable[[], Any]) -> Iterator[Server]:
    """The server that most tests share."""
    running, url, studies = launch()
    with running as group:
        server = Server(url, studies, group)
        yield server
        server.http.close()


@pytest.fixture
def idle(server: Server) -> Iterator[Server]:
    """The server without a training, before and after."""
    yield server
    server.http.delete("/train/")
    assert server.status().status != "running"


def test_two_at_once_are_one(idle: Server) -> None:
    def post(_: int) -> int:
        return idle.http.post("/train/lfusion", json={"steps": LONG}).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(post, range(4))) == [200, 409, 409, 409]
    reply = idle.http.post("/train/lfusion", json={"steps": LONG})
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    assert idle.http.get("/train/", params={"check_if_running": True}).is_success


def test_a_stop_right_after_the_start(idle: Server) -> None:
    idle.start()
    assert idle.http.delete("/train/").json()["status"] == "STOPPED"
    assert idle.status().status == "stopped"
    assert idle.http.get("/train/").json()["status"] == "STOPPED"
    assert idle.http.get("/train/", params={"check_if_running": True}).status_code == 404
    assert idle.http.delete("/train/").json() is None


def test_a_stop_in_the_middle_ends_the_process_within_two_seconds(idle: Server) -> None:
    before = idle.checkpoint()
    idle.start()
    until(idle.learning)
    process = idle.training_process()
    begin = time.monotonic()
    assert idle.http.delete("/train/").json()["status"] == "STOPPED"
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert time.monotonic() - begin < 2
    assert idle.checkpoint() == before
    assert idle.status().checkpoint_id is None


def test_inference_and_progress_go_on_during_a_training(idle: Server) -> None:
    before = idle.checkpoint()
    idle.start()
    until(idle.learning)
    assert idle.checkpoint() == before
    status = idle.status()
    assert status.status == "running"
    assert (status.stage, status.steps) == ("fit", LONG)
    assert sorted(status.images) == ["head00", "head01", "head02"]
    assert status.seconds_left is not None
    assert status.history[0].step == 1
    stats = idle.http.get("/info/").json()["train_stats"]["lfusion"]
    assert stats["total_epochs"] == LONG
    assert 1 <= stats["epoch"] < LONG
    assert set(stats) >= {"current_time", "best_metric", "progress"}
    assert idle.training_process().nice() > 0


def test_a_killed_training_is_interrupted_and_the_next_one_works(idle: Server) -> None:
    before = idle.checkpoint()
    idle.start()
    until(idle.learning)
    idle.training_process().send_signal(signal.SIGKILL)
    until(lambda: idle.status().status != "running")
    status = idle.status()
    assert status.status == "interrupted"
    assert status.error is not None
    assert "served model is the one before" in status.error
    assert idle.http.get("/train/").json()["status"] == "ERROR"
    assert idle.checkpoint() == before
    idle.start(steps=2)
    until(lambda: idle.status().status != "running")
    assert idle.status().status == "done", idle.status().error
    assert idle.checkpoint() == idle.status().checkpoint_id != before
    assert idle.http.post("/model/rollback").json()["checkpoint_id"] == before
    assert idle.checkpoint() == before


def test_a_killed_server_finds_its_training_again_and_a_stopped_one_ends_it(
    server: Server, launch: Callable[[], Any]
) -> None:
    """The last test, for it ends the server that the others share."""
    server.start()
    until(server.learning)
    training = server.training_process()
    os.kill(server.group, signal.SIGKILL)
    running, url, studies = launch()
    with running as group:
        again = Server(url, studies, group)
        assert again.status().status == "running"
        assert again.training_process() == training
        assert again.http.post("/train/lfusion", json={}).status_code == 409
        os.kill(group, signal.SIGTERM)
        until(lambda: not training.is_running() or training.status() == psutil.STATUS_ZOMBIE)
        again.http.close()
    record = json.loads((studies / ".lfusion" / "training.json").read_bytes())
    assert (record["status"], record["error"]) == ("stopped", "the server was shut down")
