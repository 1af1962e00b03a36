"""`lfusion evaluate`: figures of a model on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from lfusion._optional import require
from lfusion.cli.console import counting, write_json
from lfusion.cli.options import CheckpointFile, DataFolder
from lfusion.cli.stages import print_notice, read_dataset

if TYPE_CHECKING:
    from lfusion.evaluation import Estimate, EvaluationReport, Figures

_ROWS = (
    ("n", "images"),
    ("unlabelled", "images without mask, left out"),
    ("dice_mean", "Dice, mean"),
    ("dice_p05", "Dice, 5th percentile"),
    ("hd95_px", "95 % Hausdorff distance, px"),
    ("hd95_mm", "95 % Hausdorff distance, mm"),
    ("nsd", "surface Dice at 2 px"),
    ("nsd_mm", "surface Dice at 1 mm"),
    ("hc_mae_mm", "HC, mean absolute error, mm"),
    ("hc_bias_mm", "HC, mean error, mm"),
    ("hc_n", "HC measured and compared"),
    ("hc_refused", "HC refused"),
    ("hc_coverage", "HC, intervals that hold the reference"),
    ("aop_mae_deg", "AoP, mean absolute error, degrees"),
    ("aop_bias_deg", "AoP, mean error, degrees"),
    ("ece", "expected calibration error"),
    ("ace", "adaptive calibration error"),
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
    ood: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Images out of distribution: a data folder like DATA, or a folder of images. "
            "May be given several times.",
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="HTML file with pictures, charts and all figures.")
    ] = None,
    checkpoint: CheckpointFile = None,
) -> None:
    """Measure outlines, head circumference, calibration and what the uncertainty is worth.

    Images are predicted one at a time; Ctrl-C stops, and nothing is written.
    """
    require("torch", extra="torch")
    from lfusion.evaluation import Figures, read_foreign
    from lfusion.evaluation import evaluate as run
    from lfusion.predictor import load

    dataset = read_dataset(data).split(split)
    foreign = read_foreign(ood or [], split)
    for other in foreign.values():
        print_notice(other)
    predictor = load(checkpoint)
    with counting("evaluating") as progress:
        found = run(predictor, dataset, progress, foreign=foreign)
    figures = Figures.of(found)
    if json is not None:
        write_json(json, found.as_dict() | figures.as_dict())
    if report is not None:
        from lfusion.evaluation.page import write_report

        title = f"{data.resolve().name}, {split}"
        write_report(report, title, found, figures, predictor, dataset, foreign)
    _print(f"{data.name}, {split}: checkpoint {found.checkpoint_id}", found, figures)


def _print(title: str, report: EvaluationReport, figures: Figures) -> None:
    """Print the figures, those of the data set first, then a row an image score."""
    summary, console = report.summary(), Console()
    table = Table("figure", "value", "95 % interval", title=title)
    for key, label in _ROWS:
        if summary[key] is None:  # no pixel size, no reference, or no such structure
            continue
        table.add_row(label, _shown(summary[key]), _interval(figures.overall.get(key)))
    console.print(table)
    scores = Table(
        Column("image score", no_wrap=True), "Spearman with Dice", "AUROC, worst 15 %", "AURC"
    )
    for name in figures.ood:
        scores.add_column(f"AUROC, {name}")
    for name, failure in figures.failure.items():
        cells = [failure.spearman, failure.auroc_worst, failure.aurc]
        cells += [part[name].auroc for part in figures.ood.values()]
        scores.add_row(name, *(_shown(cell.value) for cell in cells))
    console.print(scores)


def _interval(figure: Estimate | None) -> str:
    if figure is None or figure.interval is None:
        return ""
    return " to ".join(map(_shown, figure.interval))


def _shown(value: float | int | None) -> str:
    if value is None:
        return "none"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
