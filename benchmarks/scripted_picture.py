"""One image corrected by the brush and by clicks, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scripted_desk import Desk

from lfusion.evaluation.metrics import dice
from lfusion.image import UltrasoundImage
from lfusion.types import BoolMap

MASK, REFERENCE, EDITED = "#56B4E9", "white", "#E69F00"
MARGIN_PX = 25


def draw(file: Path, image: UltrasoundImage, brush: Desk, clicks: Desk) -> None:
    """Draw the proposal, the clicks and what followed, and what was painted instead.

    Args:
        file: PNG to write.
        image: That was corrected.
        brush: After the brush alone.
        clicks: After clicks.
    """
    sheet = brush.sheet
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    before, told, after, painted = figure.subplots(1, 4)
    for axes, mask in (
        (before, sheet.start),
        (told, sheet.start),
        (after, clicks.mask),
        (painted, brush.mask),
    ):
        _show(axes, image, mask, sheet.reference)
    quality = dice(sheet.start, sheet.reference)
    before.set_title(f"proposal, Dice {quality:.3f}", fontsize=10)
    for number, mark in ((1, "+"), (0, "x")):
        rows, columns = np.array(clicks.said[number], int).reshape(-1, 2).T
        told.plot(columns, rows, mark, color=EDITED, markersize=12, markeredgewidth=2.5)
    told.set_title(
        f"clicks: {clicks.effort.clicks}, {clicks.effort.undos} taken back\n+ inside, × outside",
        fontsize=10,
    )
    _paint(after, clicks.painted)
    after.set_title(_words("after the clicks", clicks), fontsize=10)
    _paint(painted, brush.painted)
    painted.set_title(_words("brush alone", brush), fontsize=10)
    file.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_figure(file, dpi=90)


def _words(what: str, desk: Desk) -> str:
    quality = dice(desk.mask, desk.sheet.reference)
    strokes = f"strokes: {desk.effort.strokes}, {desk.edited_px} px by hand"
    return f"{what}, Dice {quality:.3f}\n{strokes}"


def _show(axes: Axes, image: UltrasoundImage, mask: BoolMap, reference: BoolMap) -> None:
    axes.imshow(image.pixels**0.6, cmap="gray")
    axes.set_axis_off()
    rows, columns = np.nonzero(mask | reference)
    axes.set_xlim(columns.min() - MARGIN_PX, columns.max() + MARGIN_PX)
    axes.set_ylim(rows.max() + MARGIN_PX, rows.min() - MARGIN_PX)
    axes.contour(reference, [0.5], colors=REFERENCE, linewidths=1, linestyles="dotted")
    axes.contour(mask, [0.5], colors=MASK, linewidths=1.4)


def _paint(axes: Axes, painted: BoolMap) -> None:
    axes.imshow(painted[..., None] * np.array(to_rgba(EDITED, 0.8)), interpolation="nearest")
