"""A picture of the images that strategies chose, from the records of `active_learning.py`.

Usage:

    python benchmarks/active_learning_picks.py FOLDER/psfhs.jsonl ../shared/data/psfhs FILE.png \
        --strategy NAME... [--seed N] [--start N] [--query N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

from lfusion.image import Case, Dataset
from lfusion.simulation import RecordFile

IN_A_ROW = 10


def main() -> None:
    """Draw them in the order in which they were chosen, the first labels left out."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("records", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--strategy", action="append", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=5)
    parser.add_argument("--query", type=int, default=5)
    options = parser.parse_args()
    budget = (options.start, options.query, options.seed)
    cases = {case.id: case for case in Dataset.read(options.data).cases}
    records = RecordFile(options.records).read().items()
    chosen = {}
    for name in options.strategy:
        rounds = [
            record.chosen
            for cell, record in records
            if (cell.start, cell.query, cell.seed) == budget and cell.strategy == name
        ]
        chosen[name] = [cases[image] for image in max(rounds, key=len)[options.start :]]
    draw(chosen, options.picture)


def draw(chosen: dict[str, list[Case]], path: Path) -> None:
    """A block of rows for each strategy, outlines as the data set gives them."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = max(-(-len(cases) // IN_A_ROW) for cases in chosen.values())
    size = (IN_A_ROW, len(chosen) * (rows + 0.25))
    figure = plt.figure(figsize=size, layout="constrained")
    blocks = figure.subfigures(len(chosen), squeeze=False)[:, 0]
    for block, (name, cases) in zip(blocks, chosen.items(), strict=True):
        block.suptitle(name, x=0.005, ha="left", fontsize=9)
        axes = block.subplots(rows, IN_A_ROW, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, case in zip(axes.flat, cases, strict=False):
            image, mask = case.read(), case.read_mask()
            axis.imshow(image.pixels, cmap="gray")
            for number in np.unique(mask[mask > 0]):
                axis.contour(mask == number, [0.5], colors="gold", linewidths=0.7)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
