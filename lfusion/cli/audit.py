"""`lfusion audit`: which masks deserve a second look."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from lfusion._optional import require
from lfusion.cli.console import counting, write_json
from lfusion.cli.options import CheckpointFile, ClassNames, DataFolder
from lfusion.cli.stages import named, read_dataset

if TYPE_CHECKING:
    from lfusion.evaluation import AuditReport

_SHOWN = 10
_COLUMNS = ("rank", "id", "score", "suspect", "dice", "regions", "kind", "box", "area_px")


def audit(
    data: DataFolder,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for audit.html, audit.json and audit.csv; made when missing."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only this split of meta.csv; default: all images.")
    ] = None,
    label: ClassNames = None,
    pictures: Annotated[int, typer.Option(help="Images that the page shows at most.", min=1)] = 24,
    checkpoint: CheckpointFile = None,
) -> None:
    """Rank labelled images by how surely the model contradicts their mask, and say where.

    Masks are not changed. A model that learned from a mask may have learned its mistake: judge
    masks with a model that was trained on others.
    """
    require("torch", extra="torch")
    from lfusion.evaluation import audit as run
    from lfusion.predictor import load

    dataset = named(read_dataset(data), label)
    if split is not None:
        dataset = dataset.split(split)
    predictor = load(checkpoint)
    with counting("comparing") as progress:
        report = run(predictor, dataset, progress)
    title = data.resolve().name + ("" if split is None else f", {split}")
    _print(title, report)
    if out is not None:
        from lfusion.evaluation.page import write_second_look

        write_json(out / "audit.json", report.as_dict())
        _write_csv(out / "audit.csv", report)
        write_second_look(out / "audit.html", title, report, predictor, dataset, pictures)
        typer.echo(f"{out / 'audit.html'}")


def _print(title: str, report: AuditReport) -> None:
    """Print the most contradicted masks, each with its largest region."""
    table = Table(
        "rank",
        Column("image", no_wrap=True),
        "nats per pixel",
        "Dice",
        "largest region, if the model is right",
        title=title,
    )
    shown = report.images[: max(_SHOWN, len(report.suspects))]
    for image in shown:
        largest = image.regions[0].in_words(report.labels) if image.regions else ""
        cells = (str(image.rank), image.id, f"{image.score:.3f}", f"{image.dice:.3f}", largest)
        table.add_row(*cells, style=None if image.suspect else "dim")
    table.caption = (
        f"{len(report.suspects)} of {len(report.images)} masks are worth a second look; "
        f"the first {len(shown)} are shown"
    )
    Console().print(table)


def _write_csv(path: Path, report: AuditReport) -> None:
    """Write one row an image, with its largest region."""
    from lfusion.image.write import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for image in report.images:
            first = image.regions[0] if image.regions else None
            found = () if first is None else (first.kind, first.box, first.area_px)
            numbers = (f"{image.score:.6g}", int(image.suspect), f"{image.dice:.6g}")
            writer.writerow((image.rank, image.id, *numbers, len(image.regions), *found))
