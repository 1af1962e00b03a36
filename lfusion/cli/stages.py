"""What `train` and `calibrate` share: their data, and one progress line for each stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.progress import Progress, TaskID

    from lfusion.image import Dataset
    from lfusion.training import TrainingProgress


def read_parts(
    roots: Sequence[Path], names: Sequence[str] | None, split: str | None, val_split: str | None
) -> tuple[Dataset, Dataset | None]:
    """The training and the validation images of all folders together."""
    from lfusion.image import Dataset

    datasets = [named(read_dataset(root), names) for root in roots]
    training = [
        d if split is None and not d.splits else d.split(split or "train") for d in datasets
    ]
    held_out = [
        d.split(val_split or "val") for d in datasets if val_split is not None or "val" in d.splits
    ]
    return Dataset.join(training), Dataset.join(held_out) if held_out else None


def read_dataset(root: Path) -> Dataset:
    """Read a dataset folder, and name on stderr what was passed over."""
    from lfusion.image import Dataset

    dataset = Dataset.read(root)
    print_notice(dataset)
    return dataset


def print_notice(dataset: Dataset) -> None:
    """Name on stderr what was passed over in the folder of a dataset."""
    if dataset.notice is not None:
        typer.echo(f"note: {dataset.root}: {dataset.notice}", err=True)


def named(dataset: Dataset, names: Sequence[str] | None) -> Dataset:
    """The dataset with the names of class 1, 2, ...; as it is when none are given."""
    if not names:
        return dataset
    return dataset.renamed({name: n for n, name in enumerate(names, start=1)})


def show_stages(bar: Progress) -> Callable[[TrainingProgress], None]:
    """One line of the progress bar for each stage of the training."""
    tasks: dict[str, TaskID] = {}

    def show(progress: TrainingProgress) -> None:
        if progress.stage not in tasks:
            tasks[progress.stage] = bar.add_task(progress.stage, total=None, figures="")
        figures = {"loss": progress.loss, "Dice": progress.dice, "best": progress.best_dice}
        bar.update(
            tasks[progress.stage],
            completed=progress.step,
            total=progress.steps,
            figures=" ".join(f"{k} {v:.4f}" for k, v in figures.items() if v is not None),
        )

    return show
