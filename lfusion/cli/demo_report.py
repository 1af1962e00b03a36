"""What a demonstration shows at its end: one table and one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from lfusion.protocol import TrainingStatus
from lfusion.types import FloatMap, GreyImage, LabelMap

_COLOURS = "cividis"
"""Readable with every form of colour blindness, and in print."""


@dataclass(frozen=True)
class Row:
    """One image before and after the retraining.

    Attributes:
        id: The image.
        corrected: Whether its true mask was saved, and learned from.
        scores: Uncertainty score, before and after.
        ranks: Place in the ranking, before and after; None when it is labelled.
        dice: Dice with the truth, before and after.
    """

    id: str
    corrected: bool
    scores: tuple[float, float]
    ranks: tuple[int | None, int | None]
    dice: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Shown:
    """One row of the picture.

    Attributes:
        id: The image.
        pixels: The image itself.
        mask: Prediction.
        truth: True mask.
        aleatoric: Map in nats.
        epistemic: Map in nats.
    """

    id: str
    pixels: GreyImage
    mask: LabelMap
    truth: LabelMap
    aleatoric: FloatMap
    epistemic: FloatMap


def print_table(rows: Sequence[Row], score_name: str, console: Console) -> None:
    """Print all images in their first order, then the mean Dice of both groups.

    Args:
        rows: In the order of the first ranking.
        score_name: Which score ranks.
        console: Where to.
    """
    table = Table(
        title=f"Ranked by {score_name}",
        caption="● corrected: its true mask was saved",
        box=SIMPLE_HEAD,
    )
    table.add_column("image", no_wrap=True)
    for name in ("score", "rank", "Dice"):
        for when in ("before", "after"):
            table.add_column(f"{name}\n{when}", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row.id} ●" if row.corrected else row.id,
            *(f"{score:.2e}" for score in row.scores),
            *("labelled" if place is None else str(place) for place in row.ranks),
            *(f"{value:.3f}" for value in row.dice),
            style="bold" if row.corrected else None,
        )
    console.print(table)
    for name, corrected in (("corrected", True), ("untouched", False)):
        group = [row.dice for row in rows if row.corrected is corrected]
        if group:
            before, after = (fmean(values) for values in zip(*group, strict=True))
            console.print(
                f"Mean Dice of the {len(group)} {name} images: {before:.4f} before, "
                f"{after:.4f} after ({after - before:+.4f})"
            )


def print_times(trained: TrainingStatus, ranking: float, console: Console) -> None:
    """Print what the quick retraining took, stage by stage.

    Args:
        trained: The training at its end.
        ranking: Seconds to score the pool and rank it anew.
        console: Where to.
    """
    stages = {**trained.stages, "rank anew": ranking}
    parts = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items())
    console.print(
        "Quick retraining on the corrections and a new ranking: "
        f"{trained.seconds + ranking:.1f} s ({parts})"
    )


def write_report(path: Path, shown: Sequence[Shown], classes: int) -> None:
    """Draw image, contours, aleatoric and epistemic map of some images; needs no screen.

    Args:
        path: A PNG file.
        shown: One row each.
        classes: C with the background; the aleatoric colours span 0 to ln C nats. What a trained
            model does not know is a small part of that, so the epistemic maps share a scale of
            their own, up to the value that a thousandth of their pixels exceeds.
    """
    # Imported here: half a second that no other command should pay.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    height, width = shown[0].pixels.shape
    figure = Figure(figsize=(12, 3 * len(shown) * height / width + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(shown), 4, squeeze=False)
    highest = np.quantile([entry.epistemic for entry in shown], 0.999)
    limits = {"aleatoric": math.log(classes), "epistemic": max(float(highest), 1e-9)}
    drawn: dict[str, Any] = {}
    for row, entry in zip(axes, shown, strict=True):
        for axis, title in zip(row, ("image", "contour", "aleatoric", "epistemic"), strict=True):
            axis.set_title(f"{entry.id}: {title}" if title == "image" else title, fontsize=9)
            axis.set_axis_off()
        for axis in row[:2]:
            axis.imshow(entry.pixels, cmap="gray", vmin=0, vmax=1)
        _draw_contours(row[1], entry)
        for axis, name in zip(row[2:], limits, strict=True):
            values = getattr(entry, name)
            drawn[name] = axis.imshow(values, cmap=_COLOURS, vmin=0.0, vmax=limits[name])
    for column, (name, limit) in enumerate(limits.items(), start=2):
        bar = figure.colorbar(
            drawn[name], ax=axes[:, column], location="bottom", shrink=0.9, aspect=30, pad=0.01
        )
        bar.set_label(f"{name}, nats")
        bar.set_ticks([0.0, limit / 2, limit], labels=["0", f"{limit / 2:.2g}", f"{limit:.2g}"])
    lines = [Line2D([], [], color="orange"), Line2D([], [], color="deepskyblue", linestyle="--")]
    figure.legend(lines, ["prediction", "truth"], loc="outside lower left", ncols=2)
    figure.savefig(path, dpi=100)


def _draw_contours(axis: Any, entry: Shown) -> None:
    """Outline prediction and truth, each where it has any foreground."""
    for mask, colour, style in ((entry.mask, "orange", "-"), (entry.truth, "deepskyblue", "--")):
        if mask.any() and not mask.all():
            axis.contour(mask > 0, [0.5], colors=colour, linestyles=style, linewidths=1.2)
