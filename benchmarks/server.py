"""The server beside stock MONAI Label: the same images, the same tiny network, one run.

Next-sample and save-label on pools of growing size; /info while four clients infer and a training
runs; three slow inferences at once; what the server costs over the same pipeline called in this
process; and how long ours takes to score a pool with the shipped network. The pools are links to a
few images, in a folder of the run's own; ours starts with every image scored, stock MONAI Label
with its Random strategy. A save waits for the disk, so what one wait costs is printed, too.

    OMP_NUM_THREADS=1 python benchmarks/server.py [--quick] [--sizes N ...] [--work DIR]
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from server_contenders import Contender, Ours, Stock
from server_measures import (
    Figures,
    measure_labelling,
    measure_large,
    measure_load,
    measure_overhead,
    measure_scoring,
    measure_waits,
)
from server_pools import (
    LARGE,
    LARGE_SIDE,
    SIDE,
    make_distinct,
    make_pool,
    seed_scores,
    train_tiny,
    write_images,
    write_large,
)

from lfusion.checkpoint import default_checkpoint_path
from lfusion.cli.server_process import ServerError


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        sizes: Images in the pools.
        repeats: Labels saved in each, fewer where `limit` ends it.
        scored: Images scored by ours.
        load_seconds: For which four clients infer.
        limit: Seconds after which a request counts as not answered, and labelling on one pool ends.
    """

    sizes: Sequence[int]
    repeats: int
    scored: int
    load_seconds: float
    limit: float


QUICK = Plan(sizes=(300, 1_000), repeats=20, scored=40, load_seconds=3, limit=30)
FULL = Plan(sizes=(1_000, 10_000, 100_000), repeats=60, scored=1_000, load_seconds=10, limit=45)


def studies_of(contender: Contender, images: list[Path], count: int) -> Path:
    """A new pool for a contender."""
    studies = contender.work / f"{contender.name}{count}"
    make_pool(studies, images, count)
    write_large(images[0], studies / f"{LARGE}.png", LARGE_SIDE)
    if isinstance(contender, Ours):
        seed_scores(studies, contender.checkpoint)
    return studies


def measure_pool(
    contender: Contender, images: list[Path], count: int, plan: Plan, *, inference: bool
) -> tuple[Figures, Figures]:
    """Figures on a pool of one size: of labelling, and if asked for of inference."""
    studies = studies_of(contender, images, count)
    mask = images[0].parents[1] / "masks" / images[0].name
    start = time.perf_counter()
    beside: Figures = {}
    try:
        with contender.serving(studies, plan.limit) as http:
            figures = {"start": 1000 * (time.perf_counter() - start)}
            figures |= measure_labelling(contender, http, mask, plan.repeats, plan.limit)
            if inference:
                beside |= measure_load(contender, http, plan.load_seconds)
                beside |= measure_large(contender, http)
                beside |= measure_overhead(contender, http, studies / "image000000.png")
    except ServerError:
        figures = {"start": math.inf}
    return figures, beside


def table_of(title: str, columns: dict[str, Figures], limit: float) -> Table:
    """Figures side by side; a dash where one was not measured."""

    def cell(name: str, figures: Figures) -> str:
        value = figures.get(name)
        if value is None:
            return "–"
        unit = "" if name.startswith("number") else " ms"
        return f"> {limit:.0f} s" if math.isinf(value) else f"{value:.{1 if unit else 0}f}{unit}"

    table = Table("", *columns, title=title)
    for name in dict.fromkeys(name for figures in columns.values() for name in figures):
        table.add_row(name, *(cell(name, figures) for figures in columns.values()))
    return table


def measure(work: Path, plan: Plan, console: Console, *, inference: bool) -> None:
    """Measure in a work folder and print the tables."""
    checkpoint = work / "tiny.safetensors"
    images = write_images(work / "source")
    train_tiny(work / "source", checkpoint)
    console.print(table_of("the disk, p50", measure_waits(work), plan.limit))
    labelling: dict[str, Figures] = {}
    beside: dict[str, Figures] = {}
    for count in sorted(plan.sizes):
        for contender in (Ours(checkpoint, work), Stock(checkpoint, work)):
            asked = inference and contender.name not in beside
            figures = measure_pool(contender, images, count, plan, inference=asked)
            labelling[f"{contender.name}, {count}"] = figures[0]
            beside.setdefault(contender.name, figures[1])
            console.log(f"{contender.name}, {count} images: measured")
    console.print(table_of("labelling, by size of the pool", labelling, plan.limit))
    if not inference:
        return
    console.print(table_of(f"inference, pool of {min(plan.sizes)}", beside, plan.limit))
    studies = make_distinct(work / "scored", images, plan.scored)
    seconds = measure_scoring(Ours(default_checkpoint_path(), work), studies, plan.scored)
    rate = plan.scored / seconds
    console.print(
        f"scoring, shipped network: {plan.scored} images of {SIDE}² in {seconds:.1f} s, "
        f"{rate:.1f} a second"
    )


def main() -> None:
    """Take the arguments, and a work folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small pools, two minutes")
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--scored", type=int, help="images scored by ours")
    parser.add_argument("--labelling-only", action="store_true")
    parser.add_argument("--work", type=Path, help="where the pools are made; by default in /tmp")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    if arguments.sizes:
        plan = replace(plan, sizes=arguments.sizes)
    if arguments.scored:
        plan = replace(plan, scored=arguments.scored)
    with tempfile.TemporaryDirectory(prefix="lfusion-server-", dir=arguments.work) as folder:
        measure(Path(folder), plan, Console(), inference=not arguments.labelling_only)


if __name__ == "__main__":
    main()
