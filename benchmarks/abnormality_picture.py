"""What is unusual, where, how sure: one scan as it is and spoilt, and scans of something else.

python benchmarks/abnormality_picture.py ../shared/data docs/images/abnormality.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from textwrap import fill

import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

import lfusion
from lfusion.image import Dataset
from lfusion.image.artefacts import PastedLesion, Shadow

SCAN = "238_HC"
DISTANCES = (0.8, 2.2)
"""Limits of the map; normal places are about 1."""


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    predictor = lfusion.load(device="cpu")
    test = {case.id: case for case in Dataset.read(arguments.data / "hc18").split("test")}
    scan = test[SCAN].read()
    foreign = [
        Dataset.read(arguments.data / name).split("test").cases[0].read()
        for name in ("psfhs", "busi")
    ]
    columns = {
        "a scan of HC18": scan,
        "with a shadow put on it": Shadow(0.62, 0.2, 0.1, 0.9)(scan).image,
        "with a mass put into it": PastedLesion(0.52, 0.4, 0.1, 1.3, 0.4, 0.4, (0.5, 0.5))(
            scan
        ).image,
        "in labour (PSFHS)": foreign[0],
        "a breast (BUSI)": foreign[1],
    }
    figure, axes = plt.subplots(2, len(columns), figsize=(15, 5.0), layout="constrained")
    for (title, image), (top, bottom) in zip(columns.items(), axes.T, strict=True):
        found = predictor(image)
        assert found.abnormality is not None
        assert found.unfamiliarity is not None
        top.imshow(image.pixels, cmap="gray", vmin=0, vmax=1)
        top.set_title(title)
        shown = bottom.imshow(
            found.unfamiliarity, cmap="cividis", vmin=DISTANCES[0], vmax=DISTANCES[1]
        )
        for region in (r for r in found.regions if r.kind == "unfamiliar" and r.p_value <= 0.05):
            first_row, first_column, row, column = region.box
            size = column - first_column, row - first_row
            top.add_patch(
                Rectangle((first_column, first_row), *size, fill=False, color="orange", lw=1.5)
            )
        bottom.set_xlabel(fill(found.abnormality.sentence, 38), fontsize=9)
        for axis in (top, bottom):
            axis.set_xticks([])
            axis.set_yticks([])
    figure.colorbar(shown, ax=axes[1], label="distance from normal", shrink=0.8)
    figure.savefig(arguments.out, dpi=80)


if __name__ == "__main__":
    main()
