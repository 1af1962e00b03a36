"""The servers that `benchmarks/server.py` compares, each with its pipeline as a plain function."""

from __future__ import annotations

import json
import shutil
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
from server_pools import GRID, labelled_store

from lfusion.checkpoint import Checkpoint
from lfusion.cli.server_process import free_port, running_command, running_server
from lfusion.image import write_map, write_mask
from lfusion.predictor import Predictor
from lfusion.protocol import MAP_SUFFIX, MAP_TAGS, TrainingStatus

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MONAI Label's imports warn of their own future
    import stock_app

    from monailabel_app.lib.jobs import TrainingJobs
    from monailabel_app.lib.modes import MAX_STEPS
    from monailabel_app.lib.served import ServedModel

RESULT = {"result_extension": ".png", "result_dtype": "uint8"}
"""Without the second, stock MONAI Label fails to write a PNG."""


class Contender(ABC):
    """A server that is measured.

    Args:
        checkpoint: What it serves.
        work: Folder for its log and the files of its local pipeline.
    """

    name: str
    model: str
    strategy: str

    def __init__(self, checkpoint: Path, work: Path) -> None:
        self.checkpoint = checkpoint
        self.work = work

    @contextmanager
    def serving(self, studies: Path, limit: float) -> Iterator[httpx.Client]:
        """Run the server over a folder.

        Args:
            studies: The folder.
            limit: Seconds that a request may take.

        Yields:
            A client for it, once it answers.
        """
        with self.server(studies) as url, httpx.Client(base_url=url, timeout=limit) as http:
            yield http

    def infer(self, http: httpx.Client, image: str) -> None:
        """One inference, asked for as 3D Slicer does: mask and parameters."""
        asked = {"params": json.dumps(RESULT)}
        reply = http.post(f"/infer/{self.model}", params={"image": image}, data=asked)
        reply.raise_for_status()

    @abstractmethod
    def training(self, http: httpx.Client) -> AbstractContextManager[None]:
        """A training that runs, past its imports, for as long as the block."""

    @abstractmethod
    def server(self, studies: Path) -> AbstractContextManager[str]:
        """The running server's address."""

    @abstractmethod
    def local(self, image: Path) -> Callable[[], object]:
        """The same pipeline in this process: from an image's file to the files of the answer."""


class Ours(Contender):
    """`lfusion serve`."""

    name, model, strategy = "ours", "lfusion", "epistemic"

    def server(self, studies: Path) -> AbstractContextManager[str]:
        """See the base class."""
        options = ("--checkpoint", str(self.checkpoint))
        return running_server(studies, self.work / "ours.log", *options)

    @contextmanager
    def training(self, http: httpx.Client) -> Iterator[None]:
        """The server's own."""
        http.post(f"/train/{self.model}", json={"steps": MAX_STEPS}).raise_for_status()
        _wait_for_steps(lambda: TrainingStatus(**http.get("/training/").json()))
        yield
        http.delete("/train/").raise_for_status()

    def local(self, image: Path) -> Callable[[], object]:
        """Mask and three maps."""
        predictor = Predictor(Checkpoint.load(self.checkpoint), "cpu")

        def pipeline() -> None:
            prediction = predictor(image)
            write_mask(self.work / "mask.png", prediction.mask)
            for tag in MAP_TAGS:
                write_map(self.work / f"{tag}{MAP_SUFFIX}", getattr(prediction, tag))

        return pipeline


class Stock(Contender):
    """MONAI Label's own server, datastore, strategy and inference task around the network."""

    name, model, strategy = "stock", "stock", "random"

    @contextmanager
    def server(self, studies: Path) -> Iterator[str]:
        """See the base class."""
        app = self.work / "app"
        app.mkdir(exist_ok=True)
        shutil.copy(stock_app.__file__, app / "main.py")
        port = free_port()
        command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app)]
        command += ["--studies", str(studies), "--host", "127.0.0.1", "--port", str(port)]
        command += ["--conf", "sam2", "false", "--conf", "checkpoint", str(self.checkpoint)]
        command += ["--conf", "grid", str(GRID)]
        url = f"http://127.0.0.1:{port}"
        with running_command(command, f"{url}/info/", self.work / "stock.log"):
            yield url

    @contextmanager
    def training(self, http: httpx.Client) -> Iterator[None]:
        """The same process that ours starts: MONAI Label, too, trains in one of its own."""
        state = self.work / "trained"
        served = ServedModel(self.checkpoint, state)
        jobs = TrainingJobs(served, state)
        jobs.start({"steps": MAX_STEPS}, labelled_store(self.work / "source", served.labels))
        try:
            _wait_for_steps(jobs.record)
            yield
        finally:
            jobs.stop()

    def local(self, image: Path) -> Callable[[], object]:
        """The mask: MONAI Label's task writes nothing else."""
        task = stock_app.Segmentation(self.checkpoint, GRID)
        request = {"image": str(image), "device": "cpu", **RESULT}

        def pipeline() -> None:
            file, _ = task(dict(request))
            Path(file).unlink()

        return pipeline


def _wait_for_steps(status: Callable[[], TrainingStatus]) -> None:
    """Return when a training takes its steps."""
    while (now := status()).stage != "fit":
        if now.status != "running":
            raise SystemExit(f"expected a training that runs; got {now}")
        time.sleep(0.1)
