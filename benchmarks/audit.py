"""How well `lfusion audit` finds wrong masks: 5 % of the masks of a data set are made wrong.

First with the shipped model, whose word is independent of the masks, then with models trained on
the very labels that hold the mistakes, each judging the half that it did not see (cross-fitting),
and one judging what it learned from.

    python benchmarks/audit.py ../shared/data/hc18 \
        --encoder-weights ../shared/weights/mobilenetv2_100.imagenet.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import lfusion
from lfusion.evaluation.audit import SUSPECT, judged
from lfusion.evaluation.metrics import auroc, dice, negative_log_likelihood
from lfusion.image import Case, Dataset, write_mask
from lfusion.image.mistakes import MISTAKES, SEVERITIES, draw_mistake
from lfusion.model.input import InputSpec
from lfusion.predictor import Prediction, Predictor
from lfusion.training import TrainingConfig, train
from lfusion.types import LabelMap

SHARE = 0.05
SCORES = ("audit", "1 − Dice", "NLL")
SMALL = TrainingConfig(
    input=InputSpec(144), steps=150, learning_rate=3e-3, average_decay=0.97, reference=False
)
"""A training of minutes, as for a first look at one's own labels."""


@dataclass(frozen=True)
class Mistake:
    """What is done to a mask."""

    kind: str
    severity: int
    other: Case
    seed: int

    def mask(self, case: Case) -> LabelMap:
        """Return the wrong mask of a case."""
        rng = np.random.default_rng(self.seed)
        return draw_mistake(self.kind, self.severity, case.read_mask(), self.other.read_mask(), rng)


def plan(cases: Sequence[Case], seed: int) -> dict[str, Mistake]:
    """Draw which masks are wrong, the kinds in turn, and how."""
    rng = np.random.default_rng(seed)
    count = round(SHARE * len(cases))
    wrong = rng.choice(len(cases), count, replace=False)
    found = {}
    for turn, place in enumerate(wrong):
        other = cases[(place + 1 + rng.integers(len(cases) - 1)) % len(cases)]
        severity = int(rng.choice(SEVERITIES))
        found[cases[place].id] = Mistake(
            MISTAKES[(turn + seed) % len(MISTAKES)], severity, other, int(rng.integers(2**31))
        )
    return found


def scores_of(
    predictor: Predictor, prediction: Prediction, given: LabelMap
) -> tuple[float, float, float]:
    """Return the scores by which masks could be ranked, as named in `SCORES`."""
    return (
        judged(predictor, prediction, given).score,
        1 - dice(prediction.mask == 1, given == 1),
        negative_log_likelihood(prediction.probabilities, given),
    )


def aurocs(scores: NDArray[np.float64], wrong: NDArray[np.bool_]) -> list[float]:
    """Return the AUROC of each column."""
    return [float(auroc(column, wrong)) for column in scores.T]


def of_the_shipped_model(cases: Sequence[Case], seeds: int, what: str) -> NDArray[np.float64]:
    """Return the AUROC of each score for each seed, [seeds, scores]."""
    predictor = lfusion.load(device="cpu")
    plans = [plan(cases, seed) for seed in range(seeds)]
    rows: list[list[tuple[float, float, float]]] = [[] for _ in plans]
    for case in track(cases, what):
        prediction, right = predictor(case.read()), case.read_mask()
        clean = scores_of(predictor, prediction, right)
        for mistakes, row in zip(plans, rows, strict=True):
            mistake = mistakes.get(case.id)
            row.append(
                clean if mistake is None else scores_of(predictor, prediction, mistake.mask(case))
            )
    marks = [np.array([case.id in mistakes for case in cases]) for mistakes in plans]
    return np.array([aurocs(np.array(r), m) for r, m in zip(rows, marks, strict=True)])


def by_mistake(cases: Sequence[Case]) -> Table:
    """Tabulate each kind and severity, made of every image, against all right masks."""
    predictor, rng = lfusion.load(device="cpu"), np.random.default_rng(0)
    kinds = [
        (kind, severity)
        for kind in MISTAKES
        for severity in (SEVERITIES if kind in ("shifted", "shrunk") else (1,))
    ]
    right: list[tuple[float, float, float]] = []
    wrong: dict[tuple[str, int], list[tuple[float, float, float]]] = {key: [] for key in kinds}
    overlap: dict[tuple[str, int], list[float]] = {key: [] for key in kinds}
    for place, case in enumerate(track(cases, "by mistake")):
        prediction, mask = predictor(case.read()), case.read_mask()
        other = cases[(place + 1 + rng.integers(len(cases) - 1)) % len(cases)].read_mask()
        right.append(scores_of(predictor, prediction, mask))
        for key in kinds:
            given = draw_mistake(*key, mask, other, rng)
            wrong[key].append(scores_of(predictor, prediction, given))
            overlap[key].append(dice(given == 1, mask == 1))
    table = Table("mistake", "severity", "Dice with the right one", *SCORES, f"audit ≥ {SUSPECT}")
    marks = np.arange(2 * len(cases)) >= len(cases)
    for key in kinds:
        found = aurocs(np.array(right + wrong[key]), marks)
        flagged = np.mean([row[0] >= SUSPECT for row in wrong[key]])
        cells = [f"{np.median(overlap[key]):.3f}", *(f"{x:.3f}" for x in found)]
        table.add_row(key[0], str(key[1]), *cells, f"{flagged:.0%}")
    flagged = np.mean([row[0] >= SUSPECT for row in right])
    table.add_row("none", "", "1", "", "", "", f"{flagged:.1%}")
    return table


def spoilt(dataset: Dataset, mistakes: Mapping[str, Mistake], folder: Path) -> Dataset:
    """Return the data set with wrong masks, from which the ellipses of meta.csv are gone too."""
    cases = []
    for case in dataset:
        path = case.mask_path
        if case.id in mistakes:
            path = folder / f"{case.id}.png"
            write_mask(path, mistakes[case.id].mask(case))
        cases.append(replace(case, mask_path=path, meta={}))
    return replace(dataset, cases=tuple(cases))


def fold_of(case: Case) -> int:
    """Return 0 or 1 by the examination."""
    return sha256((case.group or case.id).encode()).digest()[0] % 2


def of_own_models(dataset: Dataset, weights: Path, seed: int, cross_fitted: bool) -> list[float]:
    """Return the AUROC of each score where the models learned from the wrong masks as well."""
    mistakes = plan(dataset.cases, seed)
    with TemporaryDirectory() as folder:
        labelled = spoilt(dataset, mistakes, Path(folder))
        rows: dict[str, tuple[float, float, float]] = {}
        for fold in (0, 1) if cross_fitted else (None,):
            seen = [case for case in labelled if fold is None or fold_of(case) != fold]
            judges = [case for case in labelled if fold is None or fold_of(case) == fold]
            checkpoint = train(
                replace(labelled, cases=tuple(seen)),
                replace(SMALL, seed=seed),
                encoder_weights=weights,
                device="cpu",
            )
            predictor = Predictor(checkpoint, "cpu")
            for case in judges:
                prediction = predictor(case.read())
                rows[case.id] = scores_of(predictor, prediction, case.read_mask())
    ids = [case.id for case in dataset]
    wrong = np.array([name in mistakes for name in ids])
    return aurocs(np.array([rows[name] for name in ids]), wrong)


def add_rows(table: Table, who: str, found: NDArray[np.float64]) -> None:
    """Add mean, lowest and highest AUROC of each score over the seeds."""
    cells = [
        f"{column.mean():.3f} ({column.min():.3f} to {column.max():.3f})" for column in found.T
    ]
    table.add_row(who, str(len(found)), *cells)


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder-weights", type=Path, help="for the models that are trained")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trainings", type=int, default=3, help="seeds of those models")
    arguments = parser.parse_args()
    dataset, console = Dataset.read(arguments.data), Console()
    test, seen = (dataset.split(name).labelled() for name in ("test", "train"))
    table = Table("who judges what", "seeds", *SCORES, title=f"AUROC, {SHARE:.0%} of masks wrong")
    for part, who in ((test, "shipped model, test"), (seen, "shipped model, train")):
        add_rows(table, who, of_the_shipped_model(part.cases, arguments.seeds, who))
    if arguments.encoder_weights is not None:
        for cross_fitted, who in ((True, "own models, cross-fitted"), (False, "own model")):
            runs = track(range(arguments.trainings), who)
            found = [
                of_own_models(seen, arguments.encoder_weights, seed, cross_fitted) for seed in runs
            ]
            add_rows(table, f"{who}, train", np.array(found))
    console.print(table)
    console.print(by_mistake(test.cases))


if __name__ == "__main__":
    main()
