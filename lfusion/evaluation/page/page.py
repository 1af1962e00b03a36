"""Rows, figures and pictures → one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from lfusion.evaluation.bootstrap import REPLICATES
from lfusion.evaluation.evaluate import match_labels, predict_case, read_reference
from lfusion.evaluation.figures import Figures
from lfusion.evaluation.page import charts, words
from lfusion.evaluation.page.template import write_page
from lfusion.evaluation.page.tiles import Shown, coloured, map_scales, outlined
from lfusion.evaluation.results import EvaluationReport, ImageResult
from lfusion.image import Case, Dataset
from lfusion.types import LabelMap

if TYPE_CHECKING:
    from lfusion.predictor import Predictor

_CURVES = 3
"""Scores drawn in one chart; more cannot be told apart."""
_PER_KIND = 2


def write_report(
    path: Path,
    title: str,
    report: EvaluationReport,
    figures: Figures,
    predictor: Predictor,
    dataset: Dataset,
    foreign: Mapping[str, Dataset],
) -> None:
    """Write the report as one HTML file; the few images shown are predicted once more.

    Args:
        path: the file; written whole or not at all.
        title: what was evaluated.
        report: the rows.
        figures: of the report.
        predictor: that was evaluated.
        dataset: that it was evaluated on.
        foreign: the images out of distribution, by name.

    Raises:
        LFusionError: an image that was readable is so no longer.
    """
    classes = len(predictor.labels) + 1
    write_page(
        path,
        "report.html.j2",
        title=title,
        subtitle=_subtitle(report, figures),
        cards=words.cards(report, figures),
        cases=_drawn(_labelled(report, predictor, dataset), classes),
        foreign=_drawn(_foreign(report, figures, predictor, foreign), classes),
        sentences=words.sentences(report, figures),
        charts=_charts(report, figures),
        shown_scores_note=_note(words.by_failure(figures), "lowest area under the curve"),
        ood_scores_note=_note(words.by_ood(figures), "highest AUROC on their hardest set"),
        tables=words.tables(figures),
        exams=figures.exams,
        replicates=REPLICATES,
        checkpoint_id=report.checkpoint_id,
    )


def _subtitle(report: EvaluationReport, figures: Figures) -> str:
    text = f"{len(report.images)} images of {figures.exams} examinations with expert outlines"
    if report.foreign:
        sets = ", ".join(f"{len(part.images)} of {part.name}" for part in report.foreign)
        text += f"; images from elsewhere: {sets}"
    return text + "."


def _note(ranked: Sequence[str], why: str) -> str:
    if len(ranked) <= _CURVES:
        return ""
    return f"Shown are the {_CURVES} scores of {why} out of {len(ranked)}; the table has all."


def _charts(report: EvaluationReport, figures: Figures) -> dict[str, Markup | None]:
    risks = 1 - report.column("dice")
    curves = {name: report.scores(name) for name in words.by_failure(figures)[:_CURVES]}
    histograms = [
        charts.Histogram(
            name,
            report.scores(name),
            {
                part.name: np.array([image.scores[name] for image in part.images])
                for part in report.foreign
            },
        )
        for name in words.by_ood(figures)[:_CURVES]
    ]
    measured, reference = report.column("hc_mm"), report.column("hc_reference_mm")
    known = np.isfinite(measured) & np.isfinite(reference)
    limits = figures.hc_agreement
    return {
        "reliability": charts.reliability_chart(figures.reliability),
        "risk": charts.risk_coverage_chart(risks, curves),
        "scores": charts.score_chart(histograms) if histograms else None,
        "agreement": None
        if limits is None
        else charts.bland_altman_chart(measured[known], reference[known], limits),
    }


def _labelled(report: EvaluationReport, predictor: Predictor, dataset: Dataset) -> list[Shown]:
    """The poorest, the middle and the best images, each once."""
    cases = {case.id: case for case in dataset}
    numbers = match_labels(predictor.labels, dataset.labels)
    shown = []
    for title, row in _chosen(report.images):
        case = cases[row.id]
        reference = read_reference(case, numbers)
        shown.append(_shown(title, _row_caption(row), case, predictor, reference))
    return shown


def _chosen(images: Sequence[ImageResult]) -> list[tuple[str, ImageResult]]:
    ranked = sorted(images, key=lambda image: (image.dice, image.id))
    middle = max(len(ranked) // 2 - _PER_KIND // 2, 0)
    picked = [
        *(("Poorest", image) for image in ranked[:_PER_KIND]),
        *(("Middle", image) for image in ranked[middle : middle + _PER_KIND]),
        *(("Best", image) for image in ranked[-_PER_KIND:]),
    ]
    first: dict[str, tuple[str, ImageResult]] = {}
    for title, image in picked:
        first.setdefault(image.id, (f"{title}: {image.id}", image))
    return list(first.values())


def _row_caption(row: ImageResult) -> str:
    parts = [f"Dice {row.dice:.3f}"]
    if row.hc_error_mm is not None and row.hc_reference_mm is not None:
        parts.append(
            f"head circumference {row.hc_mm:.1f} mm, sonographer {row.hc_reference_mm:.1f} mm "
            f"({words.text('{:+.1f}', row.hc_error_mm)} mm)"
        )
    elif row.hc_refusal is not None:
        parts.append(f"head not measured: {row.hc_refusal}")
    return "; ".join(parts)


def _foreign(
    report: EvaluationReport,
    figures: Figures,
    predictor: Predictor,
    foreign: Mapping[str, Dataset],
) -> list[Shown]:
    """Of each foreign set the least and the most unusual image."""
    shown = []
    for name in words.by_ood(figures)[:1]:
        usual = report.scores(name)
        for part in report.foreign:
            cases = {case.id: case for case in foreign[part.name]}
            ranked = sorted(part.images, key=lambda image: (image.scores[name], image.id))
            ends = {"least unusual": ranked[0], "most unusual": ranked[-1]}
            for which, image in ends.items():
                above = words.text("{:.0%}", float(np.mean(usual < image.scores[name])))
                by = f"by “{words.readable(name)}”"
                caption = f"more unusual than {above} of the evaluated images, {by}"
                title = f"{part.name}, {which}: {image.id}"
                shown.append(_shown(title, caption, cases[image.id], predictor, None))
    return shown


def _shown(
    title: str, caption: str, case: Case, predictor: Predictor, reference: LabelMap | None
) -> Shown:
    prediction = predict_case(predictor, case)[0]
    return Shown(
        title,
        caption,
        case.read().pixels,
        prediction.mask,
        reference,
        prediction.aleatoric,
        prediction.epistemic,
    )


def _drawn(shown: Sequence[Shown], classes: int) -> dict[str, Any]:
    """The pictures of one section, which share the scales of their colours."""
    if not shown:
        return {"scales": [], "tiles": []}
    scales = map_scales(shown, classes)
    tiles = [
        {
            "title": entry.title,
            "caption": entry.caption,
            "image": outlined(entry),
            **{name: coloured(entry, scale) for name, scale in scales.items()},
        }
        for entry in shown
    ]
    return {"scales": list(scales.values()), "tiles": tiles}
