"""`lfusion train`: labelled images to a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfusion._optional import require
from lfusion.cli.console import BadArgumentError, progress_bar
from lfusion.cli.options import DataFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

    from lfusion.image import Dataset
    from lfusion.training import TrainingConfig, TrainingProgress


def train(
    data: DataFolder,
    out: Annotated[Path, typer.Option(help="Checkpoint file to write (.safetensors).")],
    split: Annotated[
        str | None, typer.Option(help="Split to train on; default train, or all without splits.")
    ] = None,
    val_split: Annotated[
        str | None, typer.Option(help="Split to stop and calibrate on; default val, if any.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint to go on from; a short warm start.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="timm:NAME or tiny; a new model only.")
    ] = None,
    encoder_weights: Annotated[
        Path | None, typer.Option(help="File with pretrained encoder weights; a new model only.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps at most.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate.", min=0)] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
) -> None:
    """Train a model, fit its posterior and calibrate it."""
    require("torch", extra="torch")
    from lfusion.checkpoint import Checkpoint
    from lfusion.image import Dataset
    from lfusion.training import train as run

    if start is not None and (encoder is not None or encoder_weights is not None):
        raise BadArgumentError(
            "a training that goes on from --start keeps its encoder; "
            "leave out --encoder and --encoder-weights, or --start"
        )
    if out.is_dir():
        raise BadArgumentError(f"expected a file to write the checkpoint to, {out} is a folder")
    dataset = Dataset.read(data)
    config = _config(
        seed, start, encoder, steps=steps, batch_size=batch_size, learning_rate=learning_rate
    )
    with progress_bar("{task.fields[figures]}") as bar:
        checkpoint = run(
            _training_part(dataset, split),
            config,
            start=None if start is None else Checkpoint.load(start),
            validation=_validation_part(dataset, val_split),
            encoder_weights=encoder_weights,
            on_progress=_shower(bar),
        )
    typer.echo(f"{out}: checkpoint {checkpoint.save(out)}")


def _config(
    seed: int, start: Path | None, encoder: str | None, **given: float | None
) -> TrainingConfig:
    """The preset for a new model or a warm start, with what the user asked for."""
    from lfusion.model import EncoderConfig
    from lfusion.training import TrainingConfig

    config = TrainingConfig(seed=seed) if start is None else TrainingConfig.quick(seed)
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if encoder is not None:
        changes["encoder"] = EncoderConfig(encoder)
    return replace(config, **changes)


def _training_part(dataset: Dataset, split: str | None) -> Dataset:
    if split is None and not dataset.splits:
        return dataset
    return dataset.split(split or "train")


def _validation_part(dataset: Dataset, split: str | None) -> Dataset | None:
    if split is None and "val" not in dataset.splits:
        return None
    return dataset.split(split or "val")


def _shower(bar: Progress) -> Callable[[TrainingProgress], None]:
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
