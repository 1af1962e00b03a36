"""`lfusion evaluate`: figures of a model on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lfusion._optional import require
from lfusion.cli.console import counting, write_json
from lfusion.cli.options import CheckpointFile, DataFolder

_ROWS = (
    ("n", "images"),
    ("unlabelled", "images without mask, left out"),
    ("dice_mean", "Dice, mean"),
    ("dice_p05", "Dice, 5th percentile"),
    ("hd95_px", "95 % Hausdorff distance, px"),
    ("nsd", "surface Dice at 2 px"),
    ("hc_mae_mm", "HC, mean absolute error, mm"),
    ("hc_bias_mm", "HC, mean error, mm"),
    ("hc_n", "HC measured and compared"),
    ("hc_refused", "HC refused"),
    ("ece", "expected calibration error"),
    ("nll", "negative log-likelihood, nats"),
    ("brier", "Brier score"),
    ("seconds_per_image", "seconds per image"),
)


def evaluate(
    data: DataFolder,
    split: Annotated[str, typer.Option(help="Split of meta.csv to evaluate on.")] = "test",
    json: Annotated[
        Path | None, typer.Option(help="File for all figures and one row per image.")
    ] = None,
    checkpoint: CheckpointFile = None,
) -> None:
    """Measure overlap, boundary, head circumference and calibration on labelled images."""
    require("torch", extra="torch")
    from lfusion.evaluation import evaluate as run
    from lfusion.image import Dataset
    from lfusion.predictor import load

    dataset = Dataset.read(data).split(split)
    predictor = load(checkpoint)
    with counting("evaluating") as progress:
        report = run(predictor, dataset, progress)
    if json is not None:
        write_json(json, report.as_dict())
    figures = report.summary()
    title = f"{data.name}, {split}: checkpoint {report.checkpoint_id}"
    table = Table(title=title, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for key, label in _ROWS:
        value = figures[key]
        table.add_row(label, _shown(value))
    Console().print(table)


def _shown(value: float | int | None) -> str:
    if value is None:
        return "none"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
