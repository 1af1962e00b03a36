"""Draw docs/images/biometry.png: an angle of progression and a head whose outline may move.

python benchmarks/biometry_picture.py ../shared/data [--psfhs ID] [--hc18 ID]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lfusion.biometry import measure_angle
from lfusion.checkpoint import Checkpoint, default_checkpoint_path
from lfusion.image import Case, Dataset
from lfusion.measurement import HEAD, measure

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "biometry.png"


def draw_angle(axes: Axes, case: Case) -> None:
    """Draw the construction on an annotated image."""
    mask = case.read_mask()
    angle = measure_angle(mask == 1, mask == 2)
    assert angle.aop_deg is not None, angle.refusal
    assert angle.symphysis is not None
    assert angle.head is not None
    axes.imshow(case.read().pixels, cmap="gray")
    for ellipse, colour in ((angle.symphysis, "tab:orange"), (angle.head, "tab:cyan")):
        axes.plot(*ellipse.outline().T[::-1], color=colour, lw=1.5)
    assert angle.superior is not None
    assert angle.inferior is not None
    assert angle.touch is not None
    corners = {"P1": angle.superior, "P2": angle.inferior, "Q": angle.touch}
    axes.plot(*np.array(list(corners.values())).T[::-1], "o-", color="white", ms=4)
    for name, (row, column) in corners.items():
        axes.annotate(name, (column, row), (4, 5), textcoords="offset points", color="white")
    axes.set_title(f"AoP {angle.aop_deg:.0f}° ({angle.note})", fontsize=9)


@torch.no_grad()
def draw_head(axes: Axes, case: Case) -> None:
    """Draw the outline of the model and where one and two deviations of HC take it."""
    image, checkpoint = case.read(), Checkpoint.load(default_checkpoint_path())
    network = checkpoint.network
    device = torch.device("cpu")
    pixels, sector = checkpoint.input.prepare(image.pixels, image.sector, network.stride, device)
    features = network.features(pixels)
    logits = network.head(features, sector)
    size = image.pixels.shape
    larger = torch.nn.functional.interpolate(logits.mean, size, mode="bilinear").softmax(1)
    covariance = checkpoint.posterior.covariance.to(features)
    found = measure(larger[0].numpy(), {HEAD: 1}, image.pixel_size_mm, logits, features, covariance)
    head, deviation = found.head, found.deviations["hc"]
    assert head is not None
    assert head.ellipse is not None
    assert head.hc_mm is not None
    axes.imshow(image.pixels, cmap="gray")
    outline, centre = head.ellipse.outline(), (head.ellipse.row, head.ellipse.column)
    for steps, colour in ((-2, "tab:blue"), (0, "white"), (2, "tab:orange")):
        scaled = centre + (outline - centre) * (1 + steps * deviation / head.hc_mm)
        axes.plot(*scaled.T[::-1], color=colour, lw=1)
    axes.set_title(f"HC {head.hc_mm:.1f} mm, σ {deviation:.1f} mm; ellipses ±2σ", fontsize=9)


def main() -> None:
    """Draw both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--psfhs", default="psfhs_03745")
    parser.add_argument("--hc18", default="004_HC")
    arguments = parser.parse_args()
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.48))
    names = {"psfhs": (draw_angle, left), "hc18": (draw_head, right)}
    for folder, (draw, axes) in names.items():
        wanted = getattr(arguments, folder)
        dataset = Dataset.read(arguments.data / folder)
        draw(axes, next(case for case in dataset if case.id == wanted))
        axes.set_axis_off()
    figure.savefig(OUT, dpi=90)


if __name__ == "__main__":
    main()
