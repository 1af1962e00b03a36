"""From the rows of `uncertainty.py` to its tables, in Markdown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation.metrics import aurc, auroc, spearman
from lfusion.image.artefacts import ARTEFACTS

Rows: TypeAlias = Sequence[Mapping[str, Any]]
Parts: TypeAlias = Mapping[tuple[str, int], Rows]

WORST = 0.15
"""Share of the masks that count as failed."""
CHOSEN = "abnormality"
"""The score that the product judges images by. A method without it is given its best one: the
choice is made on the very images it is judged by, which favours it."""
FOREIGN = ("psfhs", "busi", "carotid", *(f"artefact {severity}" for severity in range(1, 6)))


def write_tables(parts: Parts) -> None:
    """Print both tables; figures are mean and range over the seeds."""
    print(main_table({seed: rows for (budget, seed), rows in parts.items() if budget == "all"}))
    print("\n## Artefacts of severity 3 to 5 that no direction was fitted to\n")
    print(unseen_table(next(rows for (budget, _), rows in parts.items() if budget == "all")))
    for budget in dict.fromkeys(budget for budget, _ in parts):
        own = {seed: rows for (name, seed), rows in parts.items() if name == budget}
        print(f"\n## Which score finds poor masks, {budget} training images\n")
        print(score_table(own))


def main_table(seeds: Mapping[int, Rows]) -> str:
    """Return one line for each method."""
    columns: dict[str, Callable[[Rows, Rows], float]] = {
        "Dice": lambda rows, _: float(np.mean([row["dice"] for row in inside(rows)])),
        "HC MAE, mm": lambda rows, _: _hc_error(inside(rows)),
        "ECE": lambda rows, _: _ece(inside(rows)),
        "NLL": lambda rows, _: float(np.mean([row["nll"] for row in inside(rows)])),
        "AURC": lambda rows, _: _aurc(inside(rows)),
    }
    for name in FOREIGN:
        columns[name] = lambda rows, _, name=name: foreign_auroc(rows, name)  # type: ignore[misc]
    columns["lesion, pixels"] = lambda rows, _: _lesion_auroc(rows)
    columns["time"] = time_ratio
    lines = [["method", *columns]]
    for method in dict.fromkeys(row["method"] for rows in seeds.values() for row in rows):
        line = [method]
        for figure in columns.values():
            values = []
            for rows in seeds.values():
                own = [row for row in rows if row["method"] == method]
                values.append(figure(own, rows))
            line.append(_shown(values))
        lines.append(line)
    return _markdown(lines)


def unseen_table(rows: Rows) -> str:
    """Return AUROC for each kind of artefact, with and without the direction fitted to it.

    The frozen encoder is the same for all seeds. Signals are standardised over HC18 test.
    """
    own = [row for row in rows if CHOSEN in row["scores"]]
    usual = inside(own)
    severe = [[row for row in own if row["group"] == name] for name in FOREIGN[-3:]]
    kinds = list(ARTEFACTS)
    lines = [["kind", "all directions", "without its own", "`unfamiliar` alone"]]
    for place, kind in enumerate(kinds):
        # `items` of uncertainty.py draws the kinds in turn
        spoilt = [row for group in severe for row in group[place :: len(kinds)]]
        line = [kind]
        for names in (kinds, [name for name in kinds if name != kind], []):
            strongest = np.max(
                [_standardised(usual, spoilt, name) for name in ("unfamiliar", *names)], axis=0
            )
            line.append(f"{auroc(strongest, np.arange(len(strongest)) >= len(usual)):.3f}")
        lines.append(line)
    return _markdown(lines)


def _standardised(usual: Rows, other: Rows, score: str) -> NDArray[np.float64]:
    """Return a score of both in standard deviations of the usual."""
    base = np.array([row["scores"][score] for row in usual])
    values = np.array([row["scores"][score] for row in (*usual, *other)])
    found: NDArray[np.float64] = (values - base.mean()) / base.std()
    return found


def score_table(seeds: Mapping[int, Rows]) -> str:
    """Return Spearman with Dice and AUROC of the worst masks, for each score of each method."""
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for rows in seeds.values():
        for (method, score), (values, risk) in quality_scores(inside(rows)).items():
            bad = risk >= np.quantile(risk, 1 - WORST)
            if not np.ptp(values):  # a method without that term
                continue
            rank = -float(spearman(values, risk))
            found[method, score].append(
                (rank, float(auroc(values, bad)), float(aurc(risk, values)))
            )
    lines = [["method", "score", "Spearman with Dice", "AUROC, worst 15 %", "AURC"]]
    order = sorted(found.items(), key=lambda entry: float(np.mean([v[0] for v in entry[1]])))
    for (method, score), figures in order:
        lines.append(
            [method, f"`{score}`", *(_shown(column) for column in zip(*figures, strict=True))]
        )
    return _markdown(lines)


def quality_scores(
    rows: Rows,
) -> dict[tuple[str, str], tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return (score, 1 − Dice) over the images for each score of each method."""
    grouped: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        grouped[row["method"]].append(row)
    return {
        (method, score): (
            np.array([row["scores"][score] for row in own]),
            np.array([1 - row["dice"] for row in own]),
        )
        for method, own in grouped.items()
        for score in own[0]["scores"]
    }


def inside(rows: Rows) -> Rows:
    """Return those of the labelled test images."""
    return [row for row in rows if row["group"] == "hc18"]


def _hc_error(rows: Rows) -> float:
    return float(np.mean([row["hc_error"] for row in rows if row["hc_error"] is not None]))


def _ece(rows: Rows) -> float:
    pixels, confidence, correct = np.sum([row["bins"] for row in rows], axis=0)
    return float(np.abs(correct - confidence).sum() / pixels.sum())


def _aurc(rows: Rows) -> float:
    """Of the best of the method's scores: the choice is part of every method alike."""
    return min(float(aurc(risk, values)) for values, risk in quality_scores(rows).values())


def foreign_auroc(rows: Rows, group: str) -> float:
    """Return how well one method tells a group of images from the usual ones."""
    names = rows[0]["scores"]
    if CHOSEN in names:
        return _detection(rows, CHOSEN, group)
    best = max(names, key=lambda name: np.mean([_detection(rows, name, g) for g in FOREIGN]))
    return _detection(rows, best, group)


def _detection(rows: Rows, score: str, group: str) -> float:
    """Return how well a score tells a group of images from the usual ones."""
    own = [row for row in rows if row["group"] in ("hc18", group)]
    values = np.array([row["scores"][score] for row in own])
    return float(auroc(values, np.array([row["group"] == group for row in own])))


def _lesion_auroc(rows: Rows) -> float:
    """Of the method's best map."""
    found = [row["lesion_auroc"] for row in rows if "lesion_auroc" in row]
    return max(float(np.mean([values[name] for values in found])) for name in found[0])


def time_ratio(rows: Rows, everything: Rows) -> float:
    """Return the median ratio to the deterministic network on the same image."""
    base = [row["seconds"] for row in inside(everything) if row["method"] == "deterministic"]
    own = [row["seconds"] for row in inside(rows)]
    return float(np.median(np.array(own) / np.array(base)))


def _shown(values: Iterable[float]) -> str:
    own = list(values)
    digits = 4 if max(own) < 0.1 else 3 if max(own) < 1.5 else 2
    spread = max(own) - min(own)
    return f"{np.mean(own):.{digits}f} ± {spread / 2:.{digits}f}"


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rest))
