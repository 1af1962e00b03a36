"""The demonstration: the whole loop over a real server, from one ranking to the next."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import lfusion
from lfusion.acquisition import STRATEGIES, rank
from lfusion.cli.demo_client import Answer, DemoClient
from lfusion.cli.demo_report import Row, Shown, print_table, print_times, write_report
from lfusion.cli.server_process import running_server
from lfusion.errors import LFusionError
from lfusion.evaluation.metrics import dice
from lfusion.image import Case, Dataset
from lfusion.image.phantom import write_phantoms
from lfusion.protocol import TrainingStatus
from lfusion.types import LabelMap

STRATEGY = "epistemic"
SCORE = STRATEGIES[STRATEGY] or STRATEGY
SHOWN = 4
"""Images in the report: the top of the first ranking."""
GENERATED = 32
"""Phantoms made when the package was installed without its sample data."""


@dataclass(frozen=True)
class DemoPlan:
    """What one demonstration does.

    Attributes:
        out: Folder of the report and of the server's log.
        corrections: How many images get their true mask as final label.
        images: How many sample images take part; all when None.
        steps: Optimiser steps of the retraining; the server's preset when None.
        checkpoint: Model to start from; the shipped one when None.
        keep_server: Go on serving at the end, until Ctrl-C.
    """

    out: Path
    corrections: int = 4
    images: int | None = None
    steps: int | None = None
    checkpoint: Path | None = None
    keep_server: bool = False


@dataclass(frozen=True)
class Pass:
    """What the server says about all images under one checkpoint.

    Attributes:
        answers: Prediction by image id.
        ranks: Place in the ranking by image id, of those that are not labelled.
        dice: Dice with the truth by image id.
        seconds: What scoring the pool took.
    """

    answers: Mapping[str, Answer]
    ranks: Mapping[str, int]
    dice: Mapping[str, float]
    seconds: float


def run_demo(plan: DemoPlan, console: Console) -> Path:
    """Run one demonstration; nothing is left running when it returns or fails.

    Args:
        plan: What to do.
        console: Where progress and the table are printed.

    Returns:
        The report, a PNG file.

    Raises:
        LFusionError: The server or one of its answers failed; the log is named.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    log, report = (plan.out.resolve() / name for name in ("server.log", "report.png"))
    options = [] if plan.checkpoint is None else ["--checkpoint", str(plan.checkpoint)]
    with tempfile.TemporaryDirectory(prefix="lfusion-demo-") as folder:
        cases = _sample_cases(Path(folder) / "sample", plan.images, console)
        studies = Path(folder) / "studies"
        studies.mkdir()
        for case in cases.values():
            shutil.copy(case.image_path, studies)
        console.print(f"Serving a copy of {len(cases)} images on this machine; log: {log}")
        try:
            with (
                running_server(studies, log, *options) as url,
                httpx.Client(base_url=url, timeout=600) as http,
            ):
                _run_loop(DemoClient(http), cases, plan, report, console)
                if plan.keep_server:
                    console.print(f"Serving {studies} at {url}; Ctrl-C ends it", soft_wrap=True)
                    with suppress(KeyboardInterrupt):
                        threading.Event().wait()
        except LFusionError:
            console.print(f"The demonstration failed; the server's log is {log}")
            raise
    return report


def _run_loop(
    client: DemoClient, cases: Mapping[str, Case], plan: DemoPlan, report: Path, console: Console
) -> None:
    """The loop itself, then what it showed."""
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        before = _look(client, cases, bars, "")
        top = sorted(before.ranks, key=before.ranks.__getitem__)[:SHOWN]
        shown = [_shown(client, cases[image_id], before.answers[image_id]) for image_id in top]
        corrected = _correct(client, cases, plan.corrections, bars)
        trained = _retrain(client, plan.steps, bars)
        after = _look(client, cases, bars, " again")
    rows = [
        Row(
            id=image_id,
            corrected=image_id in corrected,
            scores=(_score(before, image_id), _score(after, image_id)),
            ranks=(before.ranks.get(image_id), after.ranks.get(image_id)),
            dice=(before.dice[image_id], after.dice[image_id]),
        )
        for image_id in sorted(before.ranks, key=before.ranks.__getitem__)
    ]
    print_table(rows, SCORE, console)
    print_times(trained, after.seconds, console)
    classes = 1 + len(before.answers[top[0]].result.label_names)
    write_report(report, shown, classes)
    console.print(f"Report: {report}", soft_wrap=True)


def _sample_cases(folder: Path, count: int | None, console: Console) -> dict[str, Case]:
    """The sample data of a checkout, or phantoms generated on the spot."""
    beside = Path(lfusion.__file__).resolve().parents[1] / "sample_data"
    if not (beside / "images").is_dir():
        console.print("No sample data beside the package; generating phantoms")
        write_phantoms(folder, GENERATED if count is None else count, seed=0)
        beside = folder
    return {case.id: case for case in Dataset.read(beside).labelled().cases[:count]}


def _look(client: DemoClient, cases: Mapping[str, Case], bars: Progress, again: str) -> Pass:
    """Score the pool, rank it, and predict every image."""
    bar = bars.add_task(f"Score and rank the pool{again}", total=None)
    began = time.monotonic()
    client.score(lambda status: bars.update(bar, total=status.total, completed=status.done))
    seconds = time.monotonic() - began
    answers: dict[str, Answer] = {}
    for image_id in bars.track(cases, description=f"Predict masks and maps{again}"):
        answers[image_id] = client.infer(image_id)
    current = {answer.result.checkpoint_id for answer in answers.values()}
    ranked = rank(
        {
            image_id: stored.scores[SCORE]
            for image_id, stored in client.stored_scores().items()
            if stored.checkpoint_id in current and stored.unreadable is None
        }
    )
    truth = {image_id: cases[image_id].read_mask() for image_id in cases}
    return Pass(
        answers=answers,
        ranks={image.id: image.rank for image in ranked},
        dice={i: _mean_dice(answer, truth[i]) for i, answer in answers.items()},
        seconds=seconds,
    )


def _correct(
    client: DemoClient, cases: Mapping[str, Case], count: int, bars: Progress
) -> frozenset[str]:
    """Label what the server offers next, with the truth; returns the ids."""
    corrected: set[str] = set()
    for _ in bars.track(range(min(count, len(cases))), description="Save corrections"):
        image_id = client.next_image(STRATEGY)
        mask = None if image_id is None else cases[image_id].mask_path
        if image_id is None or mask is None:
            break
        client.save_label(image_id, mask)
        corrected.add(image_id)
    return frozenset(corrected)


def _retrain(client: DemoClient, steps: int | None, bars: Progress) -> TrainingStatus:
    """Wait for the next checkpoint."""
    bar = bars.add_task("Retrain", total=None)
    return client.train(
        steps,
        lambda status: bars.update(
            bar,
            description=f"Retrain: {status.stage}" if status.stage else "Retrain",
            total=status.steps or None,
            completed=status.step,
        ),
    )


def _shown(client: DemoClient, case: Case, answer: Answer) -> Shown:
    """What the report draws of one image."""
    maps = {tag: client.fetch_map(case.id, tag) for tag in ("aleatoric", "epistemic")}
    return Shown(case.id, case.read().pixels, answer.mask, case.read_mask(), **maps)


def _score(look: Pass, image_id: str) -> float:
    return look.answers[image_id].result.scores[SCORE]


def _mean_dice(answer: Answer, truth: LabelMap) -> float:
    """Mean Dice over the structures."""
    numbers = answer.result.label_names.values()
    return fmean(dice(answer.mask == number, truth == number) for number in numbers)
