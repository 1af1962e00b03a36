"""Tables and curves of `active_learning.py`, from its records.

Usage:

    python benchmarks/active_learning_report.py FOLDER/hc18.jsonl FOLDER/psfhs.jsonl \
        [--strategy NAME]... [--pictures FOLDER]
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation import Estimate
from lfusion.simulation import FIRST, Cell, Curves, Record, RecordFile, training_noise

BASELINES = ("random", "stratified_random")
SHARE_OF_FULL = 0.99


def main() -> None:
    """Print the tables as Markdown and draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("records", type=Path, nargs="+", help="one file a data set")
    parser.add_argument("--strategy", action="append", help="only these; default all")
    parser.add_argument("--pictures", type=Path, help="folder for the curves")
    options = parser.parse_args()
    wanted = {*options.strategy, BASELINES[0]} if options.strategy else None
    found = {}
    for file in options.records:
        records = RecordFile(file).read()
        if wanted:
            records = {c: r for c, r in records.items() if c.strategy in wanted}
        found[file.stem] = records
        noise = file.with_name(f"{file.stem}_noise.jsonl")
        if noise.is_file():
            print(f"{file.stem}: {noise_line(RecordFile(noise).read(), records)}\n")
    for start, query in sorted({b for records in found.values() for b in budgets(records)}):
        asked = f"{start} labels and {query} more each time"
        curves = []
        for name, records in found.items():
            if (start, query) not in budgets(records):
                continue
            file = f"active_learning_{name}_{start}_{query}.png"
            picture = options.pictures / file if options.pictures else None
            print(f"## {name}, {asked}\n\n{report(records, start, query, picture)}")
            curves.append(Curves.of(records, start, query))
        if len(curves) > 1:
            print(f"## Together, {asked}\n\n{together(curves)}")


def budgets(records: Mapping[Cell, Record]) -> set[tuple[int, int]]:
    """First labels and query of what was played in rounds."""
    return {(cell.start, cell.query) for cell in records if cell.round}


def together(parts: Sequence[Curves]) -> str:
    """A row for each strategy that all data sets have, the largest mean area first."""
    joined = Curves.joined(parts)
    areas = joined.area()
    base = areas[joined.strategies.index(BASELINES[0])]
    against = {n: joined.against(n) for n in BASELINES if n in joined.strategies}
    rows = []
    for row in areas.mean(1).argsort()[::-1]:
        name = joined.strategies[row]
        won = f"{(areas[row] > base).sum()} of {len(base)}" if name != BASELINES[0] else ""
        rows.append([name, *(difference(a.get(name)) for a in against.values()), won])
    head = ["strategy", *(f"− {name}" for name in against), f"seeds ahead of {BASELINES[0]}"]
    return table(head, rows)


def report(
    records: Mapping[Cell, Record], start: int, query: int, picture: Path | None = None
) -> str:
    """All tables of one starting budget and query; the curves as a picture, too."""
    dice = Curves.of(records, start, query)
    if picture:
        draw(dice, picture)
    tables = (curves_table(records, start, query), wins_table(dice))
    return "\n".join((f"{len(dice.seeds)} seeds\n", *tables))


def curves_table(records: Mapping[Cell, Record], start: int, query: int) -> str:
    """A row for each strategy, the largest area first."""
    dice, hc, seconds = (
        Curves.of(records, start, query, figure) for figure in ("dice", "hc_mae_mm", "choosing_s")
    )
    areas, errors = dice.area(), hc.values[:, :, -1].mean(1)
    full = [record.dice for cell, record in records.items() if not cell.query]
    needed = dice.labels_to_reach(SHARE_OF_FULL * float(np.mean(full))) if full else None
    against = {name: dice.against(name) for name in BASELINES if name in dice.strategies}
    head = [
        "strategy",
        *(f"Dice, {n} labels" for n in dice.labels),
        "area",
        *(f"− {name}" for name in against),
        *([f"HC MAE, {dice.labels[-1]} labels"] if np.isfinite(errors).all() else []),
        *(["labels to 99 %"] if full else []),
        "choosing",
    ]
    rows = []
    for row in areas.mean(1).argsort()[::-1]:
        name = dice.strategies[row]
        cells = [name, *(spread(dice.values[row, :, r]) for r in range(len(dice.labels)))]
        cells.append(f"{100 * areas[row].mean():.2f}")
        cells += [difference(found.get(name)) for found in against.values()]
        if np.isfinite(errors).all():
            cells.append(f"{errors[row]:.2f} mm")
        if needed is not None:
            cells.append("more" if math.isinf(needed[row]) else f"{needed[row]:.0f}")
        cells.append(f"{np.nanmean(seconds.values[row]):.1f} s")
        rows.append(cells)
    note = f"All labels: Dice {spread(np.array(full))}\n" if full else ""
    return table(head, rows) + note


def difference(found: Estimate | None) -> str:
    """Percentage points with their interval; nothing for a strategy against itself."""
    if found is None or found.value is None:
        return ""
    value = f"{100 * found.value:+.2f}"
    if found.low is None or found.high is None:
        return value
    return f"{value} ({100 * found.low:+.2f} to {100 * found.high:+.2f})"


def wins_table(curves: Curves) -> str:
    """How often the row beats the column, over seeds and rounds after the first."""
    wins = curves.wins()
    names = list(curves.strategies)
    rows = [
        [name, *("" if r == c else str(wins[r, c]) for c in range(len(names)))]
        for r, name in enumerate(names)
    ]
    return table(["row beats column", *names], rows)


def noise_line(again: Mapping[Cell, Record], records: Mapping[Cell, Record]) -> str:
    """The noise of the training itself, by number of labels.

    Args:
        again: trainings on labels of `records`, with other seeds.
        records: as played.
    """
    repeats: dict[int, dict[tuple[str, ...], list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in again.values():
        repeats[len(record.chosen)][record.chosen].append(record.dice)
    for cell, record in records.items():
        if cell.strategy == FIRST and record.chosen in repeats[len(record.chosen)]:
            repeats[len(record.chosen)][record.chosen].append(record.dice)
    parts = []
    for labels, sets in sorted((n, list(found.values())) for n, found in repeats.items() if found):
        freedom = sum(len(values) - 1 for values in sets)
        noise = 100 * training_noise(sets)
        parts.append(f"{noise:.2f} with {labels} labels ({freedom} degrees of freedom)")
    return f"Standard deviation between trainings on the same labels, Dice in %: {', '.join(parts)}"


def spread(values: NDArray[np.float64], scale: float = 100, digits: int = 2) -> str:
    """Mean ± standard deviation over the seeds, by default in %; the value of a single one."""
    mean = f"{scale * values.mean():.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {scale * values.std(ddof=1):.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def draw(curves: Curves, path: Path) -> None:
    """The curves of the means, with one standard error of the paired difference to random."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
    base = curves.values[curves.strategies.index(BASELINES[0])]
    colours = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]
    by_name = sorted(zip(curves.strategies, curves.values, strict=True), key=lambda pair: pair[0])
    for number, (name, values) in enumerate(by_name):  # the same colours on each data set
        colour = "black" if name in BASELINES[:1] else colours[number % len(colours)]
        style = {"color": colour, "lw": 2.5 if name in BASELINES[:1] else 1.5}
        marker = "osv^D<>pXP*h"[number % 12]
        left.plot(curves.labels, 100 * values.mean(0), marker=marker, label=name, **style)
        if name not in BASELINES[:1]:
            gain = 100 * (values - base)
            error = gain.std(0, ddof=1) / math.sqrt(len(gain)) if len(gain) > 1 else None
            right.errorbar(curves.labels, gain.mean(0), error, marker=marker, capsize=2, **style)
    right.axhline(0, color="black", lw=2.5)
    left.set(xlabel="labels", ylabel="Dice on the test images, %", title="Learning curves")
    right.set(
        xlabel="labels", ylabel="Dice, % points", title="Difference to random, ± standard error"
    )
    figure.legend(*left.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    for axis in (left, right):
        axis.set_xticks(curves.labels)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
