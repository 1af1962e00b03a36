"""Does the plugin save work? A scripted annotator corrects images with it and by the brush alone.

He knows the reference, sees its outline to within a tolerance, and deals with the largest visible
error first, until the mask has the Dice asked for. Every way begins with the same proposal.
Tools, counts and answers are those of the plugin and the server.

    OMP_NUM_THREADS=1 python benchmarks/scripted_annotator.py HC18 [--limit N] [--picture FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scripted_desk import (
    Desk,
    Person,
    Sheet,
    by_brush,
    by_click,
    by_review,
    by_scribble,
    worst_first,
)
from scripted_person import perceived
from scripted_picture import draw

import lfusion
from lfusion.evaluation import Estimate, estimate, resample_weights
from lfusion.evaluation.metrics import dice
from lfusion.image import Case, Dataset
from lfusion.interaction import Possibilities, possibilities
from lfusion.predictor import Predictor
from lfusion.uncertainty.contrasts import ContrastDistribution

BRUSH = "brush alone"
CLICKS = "clicks"
NO_STRETCHES = "clicks, weights alone"
TARGET = 0.5
"""Of the pixels edited by the brush alone, at most."""


def clicks_after_adopting(desk: Desk) -> None:
    """Take over the best other mask first."""
    desk.adopt_best()
    worst_first(desk, by_click)


WAYS: dict[str, Callable[[Desk], None]] = {
    BRUSH: lambda desk: worst_first(desk, by_brush),
    NO_STRETCHES: lambda desk: worst_first(desk, by_click),
    CLICKS: lambda desk: worst_first(desk, by_click),
    "scribbles": lambda desk: worst_first(desk, by_scribble),
    "region review, clicks": lambda desk: by_review(desk, by_click),
    "another mask, clicks": clicks_after_adopting,
}


@dataclass(frozen=True, eq=False)
class Row:
    """One image.

    Attributes:
        name: Of the image.
        group: Its examination.
        before: Dice of the proposal.
        desks: What became of it, by way; empty where there was nothing to do.
    """

    name: str
    group: str | None
    before: float
    desks: dict[str, Desk]


@torch.inference_mode()
def work(predictor: Predictor, case: Case, person: Person, seed: int) -> Row:
    """Correct one image in every way.

    Args:
        predictor: Whose proposal it is.
        case: With a reference.
        person: Who corrects.
        seed: Of how the outline is seen.
    """
    image, reference = case.read(), case.read_mask() > 0
    proposal = predictor(image)
    before = dice(proposal.mask > 0, reference)
    if before >= person.target:
        return Row(case.id, case.group, before, {})
    seen = perceived(reference, person.tolerance_px, seed)
    possible = possibilities(predictor, image)
    sheet = Sheet(case.id, proposal.mask > 0, reference, seen, proposal.epistemic, possible)
    known = replace(sheet, possible=weights_alone(predictor, case, possible))
    desks = {}
    for name, way in WAYS.items():
        desks[name] = Desk(known if name == NO_STRETCHES else sheet, person)
        way(desks[name])
    return Row(case.id, case.group, before, desks)


def weights_alone(predictor: Predictor, case: Case, possible: Possibilities) -> Possibilities:
    """The same without errors in stretches: what clicks meant before there were any."""
    fields = predictor.fields(case.read())
    covariance = predictor.checkpoint.posterior.covariance
    weights = ContrastDistribution.of_weights(fields.logits, fields.features, covariance)
    return replace(possible, learnt=weights)


def edited(rows: list[Row], way: str) -> NDArray[np.float64]:
    """Pixels edited by hand, by image."""
    return np.array([row.desks[way].edited_px for row in rows], np.float64)


def ratio(rows: list[Row], way: str) -> Estimate:
    """Edited pixels of a way by those of the brush alone, summed; examinations drawn anew."""
    mine, brush = edited(rows, way), edited(rows, BRUSH)
    weights = resample_weights([row.group for row in rows])
    return estimate(lambda drawn: (drawn @ mine) / (drawn @ brush), weights)


def ways_table(rows: list[Row]) -> Table:
    """What each way costs."""
    columns = (
        "clicks",
        "undone",
        "strokes",
        "way of the brush, px",
        "looks",
        "edited px",
        "median",
    )
    table = Table("mean an image", *columns, "differs, px", "reached", "ratio (95 %)")
    for way in WAYS:
        desks = [row.desks[way] for row in rows]
        efforts = [desk.effort for desk in desks]
        figures = (
            f"{np.mean([effort.clicks for effort in efforts]):.2f}",
            f"{np.mean([effort.undos for effort in efforts]):.2f}",
            f"{np.mean([effort.strokes for effort in efforts]):.2f}",
            f"{np.mean([desk.length_px for desk in desks]):.0f}",
            f"{np.mean([desk.looks for desk in desks]):.1f}",
            f"{edited(rows, way).mean():.0f}",
            f"{np.median(edited(rows, way)):.0f}",
            f"{np.mean([desk.distance_px for desk in desks]):.0f}",
            f"{np.mean([desk.done for desk in desks]):.0%}",
        )
        found = ratio(rows, way)
        table.add_row(way, *figures, f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})")
    return table


def quartile_table(rows: list[Row]) -> Table:
    """Brush and clicks by how good the proposal was."""
    head = ("images", "edited px, brush", "clicks", "ratio", "strokes", "clicks + strokes")
    table = Table("Dice before", *head)
    ordered = sorted(rows, key=lambda row: row.before)
    for part in np.array_split(np.arange(len(ordered)), 4):
        some = [ordered[index] for index in part]
        if not some:
            continue
        brush, clicks = edited(some, BRUSH).mean(), edited(some, CLICKS).mean()
        efforts = [row.desks[CLICKS].effort for row in some]
        table.add_row(
            f"{some[0].before:.3f} to {some[-1].before:.3f}",
            f"{len(some)}",
            f"{brush:.0f}",
            f"{clicks:.0f}",
            f"{clicks / brush:.3f}",
            f"{np.mean([row.desks[BRUSH].effort.strokes for row in some]):.2f}",
            f"{np.mean([effort.clicks + effort.strokes for effort in efforts]):.2f}",
        )
    return table


def main() -> None:
    """Correct the images, print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, help="images, the first ones")
    parser.add_argument("--radius", type=float, default=6.0, help="of the brush, px")
    parser.add_argument("--tolerance", type=float, default=2.0, help="of the eye, px")
    parser.add_argument("--dice", type=float, default=0.98, help="at which a mask is good")
    parser.add_argument("--picture", type=Path, help="file to draw a median image into")
    arguments = parser.parse_args()
    person = Person(arguments.radius, arguments.tolerance, arguments.dice)
    predictor = lfusion.load(device="cpu")
    cases = Dataset.read(arguments.data).split(arguments.split).cases[: arguments.limit]
    rows = [
        work(predictor, case, person, seed) for seed, case in enumerate(track(cases, "correcting"))
    ]
    todo = [row for row in rows if row.desks]
    console = Console(width=170)
    console.print(
        f"{len(rows)} images, {len(rows) - len(todo)} at Dice {person.target} before any edit; "
        f"the others:"
    )
    if not todo:
        return
    console.print(ways_table(todo), quartile_table(todo))
    met = (ratio(todo, CLICKS).value or 1.0) <= TARGET
    console.print(f"target, at most {TARGET} of the pixels: {'met' if met else 'missed'}")
    if arguments.picture:
        row = sorted(todo, key=lambda row: row.desks[BRUSH].edited_px)[len(todo) // 2]
        image = next(case for case in cases if case.id == row.name).read()
        draw(arguments.picture, image, row.desks[BRUSH], row.desks[CLICKS])


if __name__ == "__main__":
    main()
