"""The charts of the report, each a figure of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lfusion.evaluation.metrics import Agreement, Reliability, risk_coverage
from lfusion.evaluation.page.svg import (
    FIRST,
    FOURTH,
    INK,
    MUTED,
    SECOND,
    THIRD,
    inline,
    new_figure,
    page_style,
    tidy,
)
from lfusion.evaluation.page.words import readable, text

Floats = NDArray[np.float64]

_COLOURS = (FIRST, SECOND, THIRD, FOURTH)
_LEAST_COVERAGE = 0.05
"""The mean of fewer images is noise and would set the scale."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Values of one score on the evaluated images and on foreign ones, by set."""

    score: str
    inside: Floats
    outside: Mapping[str, Floats]


def reliability_chart(bins: Reliability) -> Markup:
    """Draw accuracy over confidence, each bin a dot as large as its share of the pixels."""
    used = bins.pixels > 0
    confidence, accuracy = (
        sums[used] / bins.pixels[used] for sums in (bins.confidence, bins.correct)
    )
    share = bins.pixels[used] / bins.pixels.sum()
    with page_style():
        figure = new_figure(4.6, 4.0)
        axes = figure.subplots()
        low = float(np.floor(10 * min(confidence.min(), accuracy.min())) / 10)
        axes.plot([low, 1], [low, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        axes.plot(confidence, accuracy, color=FIRST)
        axes.scatter(confidence, accuracy, 14 + 260 * share, color=FIRST, zorder=3, clip_on=False)
        axes.set(
            xlim=(low, 1.02),
            ylim=(low, 1.02),
            xlabel="how sure the model is of a pixel",
            ylabel="how often it is right",
        )
        _percent(axes, "xy")
        tidy(axes)
        return inline(
            figure,
            "reliability",
            "Reliability diagram: accuracy over confidence, "
            + "; ".join(
                f"{c:.0%} sure, {a:.0%} right" for c, a in zip(confidence, accuracy, strict=True)
            ),
        )


def risk_coverage_chart(risks: Floats, scores: Mapping[str, Floats]) -> Markup:
    """Draw the mean Dice of the images kept, over the share of images kept."""
    with page_style():
        figure = new_figure(4.6, 4.0)
        axes = figure.subplots()
        oracle, best = risk_coverage(risks, risks)
        axes.plot(oracle, 1 - best, color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        axes.axhline(1 - float(risks.mean()), color=MUTED, linewidth=1, linestyle=(0, (1, 3)))
        axes.annotate(
            "perfect order",
            (0.03, 1 - float(best[0])),
            (4, 4),
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
        )
        axes.annotate(
            "without a choice",
            (0.0, 1 - float(risks.mean())),
            (4, -11),
            textcoords="offset points",
            color=MUTED,
            fontsize=8.5,
        )
        for (name, values), colour in zip(scores.items(), cycle(_COLOURS)):
            coverage, risk = risk_coverage(risks, values)
            enough = coverage >= _LEAST_COVERAGE
            axes.plot(coverage[enough], 1 - risk[enough], color=colour, label=readable(name))
        axes.set(xlim=(0, 1), xlabel="share of images accepted, surest first")
        axes.set_ylabel("mean Dice of those accepted")
        axes.margins(y=0.14)
        _percent(axes, "x")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, ncols=1)
        tidy(axes)
        names = ", ".join(scores)
        return inline(figure, "risk", f"Mean Dice over the share of images accepted, by {names}")


def score_chart(histograms: Sequence[Histogram]) -> Markup:
    """Draw the distribution of scores in and out of distribution, a row a score."""
    with page_style():
        sets = 1 + len(histograms[0].outside)
        figure = new_figure(9.4, len(histograms) * (0.62 + 0.3 * sets))
        rows = figure.subplots(len(histograms), 1, squeeze=False)[:, 0]
        for axes, histogram in zip(rows, histograms, strict=True):
            _strips(axes, histogram)
        return inline(
            figure,
            "scores",
            "Scores of the evaluated images and of the foreign ones: "
            + "; ".join(f"{h.score}: {_medians(h)}" for h in histograms),
        )


def _strips(axes: Axes, histogram: Histogram) -> None:
    """One line a set: each image a stroke, its quartiles a bar."""
    groups = {"evaluated": histogram.inside, **histogram.outside}
    positive = all((values > 0).all() for values in groups.values())
    every = np.concatenate(list(groups.values()))
    if positive and every.max() > 20 * every.min():
        axes.set_xscale("log")
    for line, (values, colour) in enumerate(zip(groups.values(), cycle(_COLOURS))):
        at = np.full(len(values), -line)
        axes.scatter(values, at, 90, marker="|", color=colour, alpha=0.35, linewidths=1)
        first, middle, third = np.quantile(values, [0.25, 0.5, 0.75])
        axes.plot([first, third], [-line, -line], color=colour, linewidth=5, solid_capstyle="round")
        axes.scatter([middle], [-line], 34, color=INK, zorder=4)
    axes.set_yticks([-line for line in range(len(groups))], list(groups))
    axes.set_ylim(-len(groups) + 0.4, 0.6)
    axes.set_title(readable(histogram.score))
    axes.grid(visible=False, axis="y")
    axes.minorticks_off()
    axes.spines["left"].set_visible(False)
    tidy(axes)


def bland_altman_chart(measured: Floats, reference: Floats, limits: Agreement) -> Markup:
    """Draw measured minus reference over their mean, with bias and limits of agreement, mm."""
    with page_style():
        figure = new_figure(9.4, 3.4)
        axes = figure.subplots()
        mean, difference = (measured + reference) / 2, measured - reference
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.axhspan(limits.lower, limits.upper, color=FIRST, alpha=0.08, linewidth=0)
        axes.axhline(limits.bias, color=FIRST, linewidth=1.2)
        axes.scatter(mean, difference, 16, color=FIRST, alpha=0.7, linewidths=0)
        right = axes.get_yaxis_transform()
        for value, word in (
            (limits.upper, "97.5 %"),
            (limits.bias, "mean"),
            (limits.lower, "2.5 %"),
        ):
            axes.text(
                1.01,
                value,
                f"{text('{:+.1f}', value)} mm\n{word}",
                transform=right,
                va="center",
                fontsize=9,
            )
        axes.set(xlabel="head circumference, mm", ylabel="model − sonographer, mm")
        tidy(axes)
        return inline(
            figure,
            "agreement",
            f"Bland-Altman plot of {len(mean)} heads: mean difference {limits.bias:+.1f} mm, "
            f"limits of agreement {limits.lower:+.1f} to {limits.upper:+.1f} mm",
        )


def _medians(histogram: Histogram) -> str:
    groups = {"evaluated": histogram.inside, **histogram.outside}
    return ", ".join(f"{name} median {np.median(values):.3g}" for name, values in groups.items())


def _percent(axes: Axes, which: str) -> None:
    for letter in which:
        getattr(axes, f"{letter}axis").set_major_formatter(lambda x, _: text("{:.0%}", x))
