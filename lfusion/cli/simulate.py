"""`lfusion simulate`: does a strategy save labels on data whose labels are known?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from lfusion._optional import require
from lfusion.cli.console import progress_bar
from lfusion.cli.options import ClassNames, DataFolder
from lfusion.cli.stages import named, read_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress

    from lfusion.simulation import Curves


def simulate(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Folder for the results; a stopped run goes on there.")],
    strategy: Annotated[
        list[str] | None, typer.Option(help="Which to compare, again for each; default a few.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Repetitions, paired over strategies.", min=1)] = 5,
    start: Annotated[int, typer.Option(help="Labels at the beginning.", min=1)] = 5,
    query: Annotated[int, typer.Option(help="Labels that a round adds.", min=1)] = 5,
    rounds: Annotated[int, typer.Option(help="Trainings, the first one included.", min=2)] = 5,
    label: ClassNames = None,
    pool_split: Annotated[str, typer.Option(help="Split of the images to label.")] = "train",
    test_split: Annotated[str, typer.Option(help="Split to measure on.")] = "test",
    encoder_weights: Annotated[
        Path | None, typer.Option(help="File with pretrained encoder weights; default random.")
    ] = None,
    long_side: Annotated[
        int, typer.Option(help="Longer side on the working grid, px.", min=32)
    ] = 96,
    steps: Annotated[int, typer.Option(help="Optimiser steps of each training.", min=1)] = 200,
    batch_size: Annotated[int, typer.Option(help="Images per step.", min=1)] = 8,
) -> None:
    """Play active learning through, and compare strategies by the Dice that their labels buy."""
    require("torch", extra="torch")
    from lfusion.model.input import InputSpec
    from lfusion.simulation import Curves, Plan, prepare
    from lfusion.training import TrainingConfig

    plan = Plan(strategy or ("random", "entropy", "epistemic"), range(seeds), start, query, rounds)
    dataset = named(read_dataset(data), label)
    pool, held_out = (dataset.split(name) for name in (pool_split, test_split))
    plan.check(len(pool.labelled()))
    config = TrainingConfig(
        input=InputSpec(long_side),
        steps=steps,
        batch_size=batch_size,
        learning_rate=2e-3,
        average_decay=0.97,
    )
    with progress_bar("{task.fields[figures]}") as bar:
        simulation = prepare(
            pool, held_out, config, encoder_weights, out / "records.jsonl", _counter(bar)
        )
        task = bar.add_task("rounds", total=len(plan.strategies) * seeds * plan.rounds, figures="")
        simulation.run(
            plan,
            lambda record: bar.update(
                task,
                advance=1,
                figures=f"{record.cell.strategy}, {record.cell.labels} labels: "
                f"Dice {record.dice:.4f}",
            ),
        )
    records = simulation.file.read()
    curves = Curves.of(records, start, query, strategies=plan.strategies, rounds=rounds)
    Console().print(_table(curves))


def _counter(bar: Progress) -> Callable[[str], Callable[[int, int], None]]:
    def of(what: str) -> Callable[[int, int], None]:
        task = bar.add_task(what, total=None, figures="")
        return lambda done, total: bar.update(task, completed=done, total=total)

    return of


def _table(curves: Curves) -> Table:
    table = Table(
        "strategy",
        *(f"{n} labels" for n in curves.labels),
        "area",
        title=f"Dice, mean of {len(curves.seeds)} seeds",
    )
    areas = curves.area().mean(1)
    for row in areas.argsort()[::-1]:
        heights = curves.values[row].mean(0)
        table.add_row(
            curves.strategies[row], *(f"{dice:.4f}" for dice in heights), f"{areas[row]:.4f}"
        )
    return table
