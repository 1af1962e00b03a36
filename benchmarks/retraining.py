"""From the last submitted label to the pool ranked anew: seconds by stage, on the served app.

`lfusion serve --train-after N` over a pool that is scored already; the N-th label starts the
retraining by itself, and the clock stops when every image has scores of the new checkpoint.

    python benchmarks/retraining.py ../shared/data/hc18
    python benchmarks/retraining.py --quick
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from lfusion.cli.demo_client import DemoClient
from lfusion.cli.server_process import running_server
from lfusion.image import Case, Dataset
from lfusion.image.phantom import write_phantoms
from lfusion.protocol import ScoringStatus, TrainingStatus

POLL_SECONDS = 0.1
LIMIT_SECONDS = 900.0
ENDED = ("failed", "stopped", "interrupted")


def labelled_cases(data: Path | None, count: int, folder: Path) -> Sequence[Case]:
    """Return the images of the pool, phantoms when there is no data set."""
    if data is None:
        write_phantoms(folder, count, seed=0)
        data = folder
    cases = Dataset.read(data).labelled().cases
    if len(cases) < count:
        raise SystemExit(f"expected {count} labelled images in {data}, found {len(cases)}")
    return cases[:count]


def wait_for_training(http: httpx.Client, before: str, began: float) -> TrainingStatus:
    """Return the status of the training once its checkpoint is served."""
    while time.perf_counter() - began < LIMIT_SECONDS:
        status = TrainingStatus.model_validate_json(http.get("/training/").content)
        if status.status in ENDED:
            raise SystemExit(f"the training {status.status}: {status.error}")
        if status.status == "done" and status.checkpoint_id != before:
            return status
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"no training ended within {LIMIT_SECONDS:.0f} s")


def wait_for_scores(http: httpx.Client, checkpoint_id: str | None, began: float) -> None:
    """Return once the whole pool has scores of a checkpoint."""
    while time.perf_counter() - began < LIMIT_SECONDS:
        status = ScoringStatus.model_validate_json(http.get("/scoring/").content)
        if status.status == "done" and status.checkpoint_id == checkpoint_id:
            return
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"the pool was not scored within {LIMIT_SECONDS:.0f} s")


def measure(cases: Sequence[Case], labels: int, work: Path, options: Sequence[str]) -> Table:
    """Serve the images, submit labels and tabulate what the last one sets off."""
    studies = work / "studies"
    studies.mkdir()
    for case in cases:
        shutil.copy(case.image_path, studies / f"{case.id}{case.image_path.suffix}")
    options = ("--train-after", str(labels), *options)
    with (
        running_server(studies, work / "server.log", *options) as url,
        httpx.Client(base_url=url, timeout=LIMIT_SECONDS) as http,
    ):
        client = DemoClient(http)
        client.score(lambda status: None)
        before = str(http.get("/scoring/").json()["checkpoint_id"])
        for case in cases[:labels]:
            assert case.mask_path is not None
            began = time.perf_counter()
            client.save_label(case.id, case.mask_path)
        answered = time.perf_counter() - began
        trained = wait_for_training(http, before, began)
        swapped = time.perf_counter() - began
        wait_for_scores(http, trained.checkpoint_id, began)
        ranked = time.perf_counter() - began
    table = Table("stage", "s", title=f"{len(cases)} images, {labels} labels")
    table.add_row("submit, answered", f"{answered:.1f}")
    for stage, seconds in trained.stages.items():
        table.add_row(f"training: {stage}", f"{seconds:.1f}")
    table.add_row("score and rank the pool", f"{ranked - swapped:.1f}")
    table.add_row("submit to ranked anew", f"{ranked:.1f}")
    return table


def main() -> None:
    """Take the arguments, and a work folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="labelled images; phantoms without")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--labels", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="12 phantoms, 3 labels")
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    images, labels = (12, 3) if arguments.quick else (arguments.images, arguments.labels)
    options = [] if arguments.checkpoint is None else ["--checkpoint", str(arguments.checkpoint)]
    with tempfile.TemporaryDirectory(prefix="lfusion-retraining-") as folder:
        cases = labelled_cases(arguments.data, images, Path(folder) / "phantoms")
        Console().print(measure(cases, labels, Path(folder), options))


if __name__ == "__main__":
    main()
