"""The main findings of `uncertainty.py` as one picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from uncertainty_tables import FOREIGN, Parts, foreign_auroc, inside, quality_scores, time_ratio

from lfusion.evaluation.metrics import spearman


def plot_findings(parts: Parts, file: Path) -> None:
    """Draw which method finds what is foreign, and which finds poor masks.

    Args:
        parts: rows by budget and seed.
        file: of the picture.
    """
    methods = list(dict.fromkeys(row["method"] for rows in parts.values() for row in rows))
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(13, 5.6), width_ratios=(1.5, 1), sharey=True, layout="constrained"
    )
    _foreign(left, parts, methods)
    _failures(right, parts, methods)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _foreign(axes: Axes, parts: Parts, methods: list[str]) -> None:
    """Draw AUROC by method and kind of image, mean over the seeds."""
    whole = [rows for (budget, _), rows in parts.items() if budget == "all"]
    found = np.zeros((len(methods), len(FOREIGN)))
    names = []
    for place, method in enumerate(methods):
        own = [[row for row in rows if row["method"] == method] for rows in whole]
        found[place] = [np.mean([foreign_auroc(rows, g) for rows in own]) for g in FOREIGN]
        ratio = np.mean([time_ratio(a, b) for a, b in zip(own, whole, strict=True)])
        names.append(f"{method}   × {ratio:.1f}")
    axes.imshow(found, cmap="cividis", vmin=0.5, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(found):
        shade = "white" if value < 0.8 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(FOREIGN)), [g.replace(" ", "\n") for g in FOREIGN])
    axes.set_title("foreign images found (AUROC); time as a multiple", fontsize=11)


def _failures(axes: Axes, parts: Parts, methods: list[str]) -> None:
    """Draw Spearman with Dice of each method's best score, a dot for each seed."""
    for budget, colour in (("25", "#0072b2"), ("all", "#d55e00")):
        for seed_rows in (rows for (name, _), rows in parts.items() if name == budget):
            best: dict[str, float] = {}
            for (method, _), (values, risk) in quality_scores(inside(seed_rows)).items():
                if np.ptp(values):
                    rank = -float(spearman(values, risk))
                    best[method] = min(best.get(method, 0.0), rank)
            places = [methods.index(method) for method in best]
            axes.plot(list(best.values()), places, "o", color=colour, alpha=0.7)
        axes.plot([], [], "o", color=colour, label=f"{budget} training images")
    axes.axvline(-0.75, color="0.5", linestyle=":")
    axes.legend(fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.set_title("poor masks found: best score's Spearman with Dice", fontsize=11)
