"""What one click does to the mask: Dice before and after, on labelled images.

The click is simulated at the pixel farthest inside an error of the mask, within the sector, and
says the label's class; it is not counted itself, only what follows from it.

    python benchmarks/clicks.py DATA [--split val] [--images N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.ndimage import distance_transform_edt
from torch import Tensor

import lfusion
from lfusion.checkpoint import Checkpoint
from lfusion.image import Case, Dataset
from lfusion.uncertainty.conditioning import UNSAID, correct, on_grid
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.counterfactual import adopt
from lfusion.uncertainty.smooth import with_smooth_error

LEADS = (0.5, 1.0, 4.0)
NOISES = (0.1, 0.5)


def dice(mask: Tensor, reference: Tensor) -> float:
    """Return 2|A∩B| / (|A| + |B|) of everything that is not background."""
    a, b = mask > 0, reference > 0
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@torch.no_grad()
def measure(model: Checkpoint, case: Case) -> dict[str, float]:
    """Return the Dice of one image before and after the click, by way to correct."""
    image = case.read()
    reference = torch.from_numpy(case.read_mask().astype(np.int64))
    pixels, sector = model.input.prepare(
        image.pixels, image.sector, model.network.stride, torch.device("cpu")
    )
    features = model.network.features(pixels)
    head = model.network.head(features, sector)
    weights = ContrastDistribution.of_weights(head, features, model.posterior.covariance)
    ways = {
        "of": ContrastDistribution.of(head),
        "of_weights": weights,
        "with_smooth_error": with_smooth_error(weights),
    }
    size, cells = tuple(reference.shape), (sector.shape[-2], sector.shape[-1])
    before = adopt(ways["of"].logits, (size[0], size[1]))
    # of the feature grid, for that is where a click is allowed
    inside = torch.nn.functional.interpolate(sector, size)[0, 0] > 0
    depth = distance_transform_edt(((before != reference) & inside).numpy())
    said = torch.full(size, UNSAID)
    place = np.unravel_index(depth.argmax(), depth.shape)
    said[place] = reference[place]
    clicks = on_grid(said, model.network.config.classes, cells)
    result = {"before": dice(before, reference)}
    for name, logits in ways.items():
        for lead in LEADS:
            for noise in NOISES:
                after = correct(logits, clicks, lead=lead, noise=noise).logits
                key = f"{name}, lead {lead}, σ {noise}"
                result[key] = dice(adopt(after, (size[0], size[1])), reference)
    return result


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=80)
    arguments = parser.parse_args()
    model = lfusion.load(device="cpu").checkpoint
    cases = Dataset.read(arguments.data).split(arguments.split).cases[: arguments.images]
    rows = [measure(model, case) for case in track(cases, "one click")]
    table = Table("", "mean Dice", "images improved", title=f"{len(rows)} images")
    for name in rows[0]:
        better = np.mean([row[name] > row["before"] for row in rows])
        table.add_row(name, f"{np.mean([row[name] for row in rows]):.4f}", f"{better:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
