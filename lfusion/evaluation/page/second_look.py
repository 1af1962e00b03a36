"""The masks that a model contradicts, as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lfusion.evaluation.audit import AuditedImage, AuditReport, judged
from lfusion.evaluation.evaluate import match_labels, predict_case, read_reference
from lfusion.evaluation.page.template import write_page
from lfusion.evaluation.page.tiles import overlaid, plain
from lfusion.evaluation.page.words import Card, Table
from lfusion.image import Case, Dataset

if TYPE_CHECKING:
    from lfusion.predictor import Predictor

_LISTED = 3
"""Regions of an image that are told in words."""


def write_second_look(
    path: Path,
    title: str,
    report: AuditReport,
    predictor: Predictor,
    dataset: Dataset,
    most: int = 24,
) -> None:
    """Write the page; the images shown are predicted once more.

    Args:
        path: the file; written whole or not at all.
        title: what was looked at.
        report: of this predictor and data set.
        predictor: whose word was taken.
        dataset: that it was taken on.
        most: images to show at most, the suspects or, without any, the most contradicted one.

    Raises:
        LFusionError: an image that was readable is so no longer.
    """
    cases = {case.id: case for case in dataset}
    numbers = match_labels(predictor.labels, dataset.labels)
    shown = (report.suspects or report.images[:1])[:most]
    write_page(
        path,
        "second_look.html.j2",
        title=title,
        cards=_cards(report),
        cases=[_tiles(image, cases[image.id], predictor, numbers) for image in shown],
        left_out=len(report.suspects) - len(shown) if report.suspects else 0,
        table=_table(report),
        checkpoint_id=report.checkpoint_id,
    )


def _cards(report: AuditReport) -> list[Card]:
    worst = report.images[0]
    return [
        Card("Masks looked at", str(len(report.images)), f"{report.unlabelled} images without"),
        Card("Worth a second look", str(len(report.suspects)), "shown below, the worst first"),
        Card("Most contradicted", worst.id, f"{worst.score:.2f} nats per pixel of the structures"),
    ]


def _tiles(
    image: AuditedImage, case: Case, predictor: Predictor, numbers: Mapping[int, int]
) -> dict[str, Any]:
    prediction, given = predict_case(predictor, case)[0], read_reference(case, numbers)
    found, pixels = judged(predictor, prediction, given), case.read().pixels
    kinds = {
        "missing": found.where & (given == 0),
        "extra": found.where & (prediction.mask == 0),
        "swapped": found.where & (given > 0) & (prediction.mask > 0),
    }
    regions = [region.in_words(predictor.labels) for region in image.regions]
    more = len(regions) - _LISTED
    return {
        "title": f"{image.rank}. {image.id}",
        "caption": "; ".join(
            [
                f"{image.score:.2f} nats per pixel, Dice {image.dice:.2f}",
                *regions[:_LISTED],
                *([f"and {more} smaller regions"] if more > 0 else []),
            ]
        ),
        "image": plain(pixels),
        "outlines": overlaid(pixels, prediction.mask, given),
        "regions": overlaid(pixels, prediction.mask, given, kinds),
    }


def _table(report: AuditReport) -> Table:
    rows = [
        (
            image.id,
            str(image.rank),
            f"{image.score:.3f}",
            f"{image.dice:.3f}",
            image.regions[0].in_words(report.labels) if image.regions else "",
        )
        for image in report.images
    ]
    columns = ("image", "rank", "nats per pixel", "Dice with the model", "largest region")
    return Table("All masks, the most contradicted first", columns, rows)
