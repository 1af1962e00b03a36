"""Other heads that the model finds possible, and what one click does: a picture.

The two largest modes of the logits of a sample image, at ±1 and ±2 standard deviations, and the
mask before and after one click. Each mask is coherent: all its pixels moved together.

    python examples/counterfactual_modes.py [IMAGE] [--out docs/images/counterfactual_modes.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

import lfusion
from lfusion.image import UltrasoundImage, read_image
from lfusion.interaction import LEAD, NOISE
from lfusion.uncertainty.conditioning import UNSAID, correct, on_grid
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.counterfactual import adopt, principal_modes, walk
from lfusion.uncertainty.smooth import with_smooth_error

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample_data" / "images" / "phantom_0016.png"
CLICK = (199, 137)
"""(row, column) in native pixels of the sample: a place that the mask leaves out."""
HEAD = 1
LOW, MEAN, HIGH = "tab:blue", "white", "tab:orange"


@torch.no_grad()
def logit_distributions(
    image: UltrasoundImage,
) -> tuple[ContrastDistribution, ContrastDistribution]:
    """Return what pixels share by the stochastic head, and what the server learns clicks by."""
    model = lfusion.load(device="cpu").checkpoint
    pixels, sector = model.input.prepare(
        image.pixels, image.sector, model.network.stride, torch.device("cpu")
    )
    features = model.network.features(pixels)
    head = model.network.head(features, sector)
    weights = ContrastDistribution.of_weights(head, features, model.posterior.covariance)
    return ContrastDistribution.of(head), with_smooth_error(weights)


def outline(axes: Axes, mask: Tensor, colour: str, style: str = "solid") -> None:
    """Draw the contour of a mask."""
    axes.contour(mask == HEAD, [0.5], colors=colour, linewidths=1.2, linestyles=style)


def draw(
    image: UltrasoundImage, logits: ContrastDistribution, learnt: ContrastDistribution
) -> Figure:
    """Return the picture: mode 1, mode 2, one click."""
    size = (image.pixels.shape[0], image.pixels.shape[1])
    mask = adopt(logits.logits, size)
    rows, columns = (mask == HEAD).nonzero(as_tuple=True)
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes in panels:
        axes.imshow(image.pixels**0.6, cmap="gray")
        axes.set_axis_off()
        axes.set_xlim(int(columns.min()) - 30, int(columns.max()) + 30)
        axes.set_ylim(int(rows.max()) + 30, int(rows.min()) - 30)
        outline(axes, mask, MEAN)
    for axes, (number, mode) in zip(
        panels[:2], enumerate(principal_modes(logits), 1), strict=False
    ):
        for step in walk(logits, mode, [-2, -1, 1, 2]):
            style = "solid" if abs(step.t) == 2 else "dotted"
            outline(axes, adopt(step.logits, size), LOW if step.t < 0 else HIGH, style)
        axes.set_title(
            f"mode {number}, {mode.variance_share:.0%} of the variance\n"
            f"±1σ dotted (p = 0.32), ±2σ solid (p = 0.05)",
            fontsize=10,
        )
    said = torch.full(size, UNSAID)
    said[CLICK] = HEAD
    on_cells = on_grid(said, 2, (logits.mean.shape[1], logits.mean.shape[2]))
    outline(panels[2], adopt(correct(logits, on_cells).logits, size, said), LOW)
    outline(
        panels[2], adopt(correct(learnt, on_cells, lead=LEAD, noise=NOISE).logits, size, said), HIGH
    )
    panels[2].plot(CLICK[1], CLICK[0], "+", color=HIGH, markersize=12, markeredgewidth=2)
    panels[2].set_title(
        "one click “head” (+): before white,\nafter through the modes blue, by the server orange",
        fontsize=10,
    )
    return figure


def main() -> None:
    """Draw the picture and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "images" / "counterfactual_modes.png"
    )
    arguments = parser.parse_args()
    image = read_image(arguments.image)
    figure = draw(image, *logit_distributions(image))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_figure(arguments.out, dpi=100)


if __name__ == "__main__":
    main()
