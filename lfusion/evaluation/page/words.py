"""The figures in words and in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lfusion.evaluation.bootstrap import Estimate
from lfusion.evaluation.figures import Figures, is_worst
from lfusion.evaluation.results import EvaluationReport

_OVERALL = (
    ("dice_mean", "Dice, mean", "{:.4f}"),
    ("dice_p05", "Dice, 5th percentile", "{:.4f}"),
    ("nsd", "surface Dice at 2 px", "{:.3f}"),
    ("nsd_mm", "surface Dice at 1 mm", "{:.3f}"),
    ("hd95_px", "95 % Hausdorff distance, px", "{:.2f}"),
    ("hd95_mm", "95 % Hausdorff distance, mm", "{:.2f}"),
    ("hc_mae_mm", "head circumference, mean absolute error, mm", "{:.2f}"),
    ("hc_bias_mm", "head circumference, mean error, mm", "{:+.2f}"),
    ("hc_coverage", "head circumference, share of intervals that hold the reference", "{:.3f}"),
    ("hc_interval_width_mm", "head circumference, mean width of the interval, mm", "{:.2f}"),
    ("aop_mae_deg", "angle of progression, mean absolute error, degrees", "{:.1f}"),
    ("aop_bias_deg", "angle of progression, mean error, degrees", "{:+.1f}"),
    ("ece", "expected calibration error", "{:.4f}"),
    ("ace", "adaptive calibration error", "{:.4f}"),
    ("nll", "negative log-likelihood, nats per pixel", "{:.4f}"),
    ("brier", "Brier score", "{:.4f}"),
)


def text(form: str, value: float) -> str:
    """Return a number as it is typeset: a true minus, and a space before the per cent sign."""
    return form.format(value).replace("-", "−").replace("%", "\N{NO-BREAK SPACE}%")


def readable(score: str) -> str:
    """Return the name of an image score in words."""
    return score.replace("_", " ").replace("sqrt ", "√")


@dataclass(frozen=True)
class Card:
    """One figure at the head of the page."""

    label: str
    value: str
    range: str


@dataclass(frozen=True)
class Table:
    """One table; the first cell of a row names it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Markup]]


def cards(report: EvaluationReport, figures: Figures) -> list[Card]:
    """Return the figures at the head of the page."""
    overall = figures.overall
    found = [
        _card("Dice overlap with the expert", overall["dice_mean"], "{:.3f}"),
        _card("Head circumference off by", overall["hc_mae_mm"], "{:.1f}", " mm"),
        _card("Calibration error", overall["ece"], "{:.1%}"),
    ]
    if best := by_failure(figures)[:1]:
        found.append(
            _card(
                "Poor outlines found, AUROC",
                figures.failure[best[0]].auroc_worst,
                "{:.2f}",
            )
        )
    return [card for card in found if card is not None]


def sentences(report: EvaluationReport, figures: Figures) -> list[str]:
    """Return what the figures mean, a paragraph a topic."""
    paragraphs = (
        _overlap(figures.overall),
        _circumference(report, figures),
        _calibration(figures.overall),
        _failure(report, figures),
        _ood(figures),
    )
    return [paragraph for paragraph in paragraphs if paragraph]


def tables(figures: Figures) -> list[Table]:
    """Return all figures with their intervals."""
    overall = [
        (label, shown(figures.overall[name], form))
        for name, label, form in _OVERALL
        if figures.overall[name].value is not None
    ]
    failure = [
        (name, *(shown(e, "{:.3f}") for e in (f.spearman, f.auroc_worst, f.aurc, f.e_aurc)))
        for name, f in figures.failure.items()
    ]
    found = [
        Table("Outlines, measurements and probabilities", ("figure", "value"), overall),
        Table(
            "Does a high score mean a poor outline? One row an image score",
            ("score", "Spearman with Dice", "AUROC of the worst 15 %", "AURC", "E-AURC"),
            failure,
        ),
    ]
    if figures.ood:
        sets = list(figures.ood)
        columns = [f"{name}: {figure}" for name in sets for figure in ("AUROC", "FPR95")]
        rows = [
            (score, *(cell for name in sets for cell in _ood_cells(figures, name, score)))
            for score in figures.failure
        ]
        caption = "Does a high score mean an image from elsewhere? One row an image score"
        found.append(Table(caption, ("score", *columns), rows))
    return found


def by_failure(figures: Figures) -> list[str]:
    """Return the scores by rising AURC: the first knows best which outlines are poor."""
    known = [
        (f.aurc.value, name) for name, f in figures.failure.items() if f.aurc.value is not None
    ]
    return [name for _, name in sorted(known)]


def by_ood(figures: Figures) -> list[str]:
    """Return the scores by falling AUROC on the set that each finds hardest."""
    hardest = {
        score: min(part[score].auroc.value or 0.0 for part in figures.ood.values())
        for score in (figures.failure if figures.ood else ())
    }
    return sorted(hardest, key=lambda score: -hardest[score])


def shown(figure: Estimate, form: str) -> Markup:
    """Return a figure and its interval for a table cell."""
    if figure.value is None:
        return Markup("none")
    if figure.interval is None:
        return Markup(text(form, figure.value))
    low, high = (text(form, end) for end in figure.interval)
    return Markup(f"{text(form, figure.value)}<small>[{low}, {high}]</small>")


def _card(label: str, figure: Estimate, form: str, unit: str = "") -> Card | None:
    if figure.value is None:
        return None
    ends = figure.interval
    around = "" if ends is None else " to ".join(text(form, end) for end in ends) + unit
    return Card(label, text(form, figure.value) + unit, around and f"95 % interval {around}")


def _overlap(overall: Mapping[str, Estimate]) -> str:
    mean, low = overall["dice_mean"].value or 0.0, overall["dice_p05"].value or 0.0
    words = (
        f"The model's outline and the expert's overlap by {text('{:.1%}', mean)} on average (Dice: "
        "twice the common area over the sum of both; 100 % is the same outline). One image in "
        f"twenty lies below {text('{:.1%}', low)}."
    )
    if (within := overall["nsd_mm"].value) is not None:
        words += f" Of the two contours, {text('{:.0%}', within)} lie within 1 mm of the other one."
    return words


def _circumference(report: EvaluationReport, figures: Figures) -> str:
    error, bias = figures.overall["hc_mae_mm"].value, figures.overall["hc_bias_mm"].value
    if error is None or bias is None:
        return ""
    words = (
        f"The head circumference differs from the sonographer's by {error:.1f} mm on average; "
        f"over all heads the mean difference is {text('{:+.1f}', bias)} mm."
    )
    if (limits := figures.hc_agreement) is not None:
        low, high = text("{:+.1f}", limits.lower), text("{:+.1f}", limits.upper)
        words += f" About 95 % of the differences lie between {low} and {high} mm."
    level, held = report.summary()["hc_interval_level"], figures.overall["hc_coverage"].value
    if level is not None and held is not None:
        words += (
            f" Its {text('{:.0%}', level)} intervals hold the sonographer's value in "
            f"{text('{:.0%}', held)} of heads."
        )
    if refused := sum(image.hc_refused for image in report.images):
        words += f" Heads that the model declined to measure: {refused} of {len(report.images)}."
    return words


def _calibration(overall: Mapping[str, Estimate]) -> str:
    error = 100 * (overall["ece"].value or 0.0)
    return (
        "When the model is 90 % sure of a pixel, it should be right nine times in ten. Over all "
        f"pixels its certainty is off by {error:.1f} percentage points on average; most pixels "
        "are easy, so look at the diagram for those that are not."
    )


def _failure(report: EvaluationReport, figures: Figures) -> str:
    ranked = by_failure(figures)
    if not ranked:
        return ""
    poor, scores = is_worst(report.column("dice")), report.scores(ranked[0])
    reviewed = np.argsort(-scores, kind="stable")[: int(poor.sum())]
    return (
        f"If the {len(reviewed)} most doubtful of the {len(scores)} images are reviewed by hand, "
        f"{int(poor[reviewed].sum())} of the {int(poor.sum())} poorest outlines (lowest Dice) are "
        f"among them, going by the score “{readable(ranked[0])}”. Of the model's scores it is the "
        "best on these very images, so a little of that is luck."
    )


def _ood(figures: Figures) -> str:
    ranked = by_ood(figures)
    if not ranked:
        return ""
    parts = [
        f"{text('{:.0%}', part[ranked[0]].auroc.value or 0.0)} for {name}"
        for name, part in figures.ood.items()
    ]
    return (
        "An image from elsewhere should look more unusual to the model than a familiar one. Of all "
        f"pairs of the two, that is so in {', '.join(parts)} (AUROC), going by the score "
        f"“{readable(ranked[0])}”, which does best on the set that is hardest for it."
    )


def _ood_cells(figures: Figures, name: str, score: str) -> tuple[Markup, Markup]:
    found = figures.ood[name][score]
    return shown(found.auroc, "{:.3f}"), shown(found.fpr95, "{:.3f}")
