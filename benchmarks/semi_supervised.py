"""What images without labels add to a training: the same labels and steps, with and without them.

For each number of labels and each seed, that many training images are drawn, no two of one
examination; the rest of the split is the unlabelled pool. With and without, the start is the same
network and the labelled batches are the same. The figure is the mean Dice over the test split, on
the feature grid. Runs are written as they end, and those that are written are not made again.

    python benchmarks/semi_supervised.py ../shared/data/hc18 --out runs.jsonl \
        --encoder-weights ../shared/weights/mobilenetv2_100.imagenet.safetensors
    python benchmarks/semi_supervised.py --out runs.jsonl --table
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lfusion.image import Case, Dataset
from lfusion.model import (
    EncoderConfig,
    NetworkConfig,
    SegmentationNetwork,
    load_encoder_weights,
)
from lfusion.model.input import InputSpec
from lfusion.simulation.records import append_line, read_lines
from lfusion.training import TrainingConfig
from lfusion.training.data import Sample, load_samples
from lfusion.training.fit import fit_network, validation_dice

HALF = (0.5, 0.5, 0.5)
ENCODER = EncoderConfig("timm:mobilenetv2_100", {"pad_type": "same"}, HALF, HALF)
"""As the README beside the weights asks for."""


def drawn(cases: Sequence[Case], count: int, seed: int) -> set[str]:
    """Return the ids of images drawn with the seed, no two of one group."""
    chosen: dict[str, str] = {}
    for case in random.Random(seed).sample(sorted(cases, key=lambda c: c.id), len(cases)):
        if len(chosen) < count:
            chosen.setdefault(case.group or case.id, case.id)
    return set(chosen.values())


def measured(
    run: dict[str, Any],
    labelled: set[str],
    samples: Sequence[Sample],
    test: Sequence[Sample],
    encoder_weights: Path,
) -> dict[str, Any]:
    """Train once and return the run with its figures."""
    config = TrainingConfig(
        encoder=ENCODER,
        steps=run["steps"],
        batch_size=4,
        average_decay=0.97,
        semi_supervised=run["weight"],
        seed=run["seed"],
    )
    torch.manual_seed(run["seed"])
    network = SegmentationNetwork(NetworkConfig(ENCODER, len(samples[0].target) + 1))
    load_encoder_weights(network.encoder, encoder_weights)
    start = time.process_time()
    fit_network(
        network,
        [s for s in samples if s.id in labelled],
        config,
        unlabelled=[replace(s, target=s.target[:0]) for s in samples if s.id not in labelled],
    )
    seconds = time.process_time() - start
    return {**run, "dice": validation_dice(network, test), "seconds": seconds}


def measure(a: argparse.Namespace) -> None:
    """Make the runs that are not written yet."""
    done = [without_figures(run) for run in read_lines(a.out)]
    dataset, spec, stride = Dataset.read(a.data), InputSpec(a.long_side), 2
    classes = max(dataset.labels.values()) + 1
    training = dataset.split("train")
    samples, test = (
        load_samples(part, spec, stride, classes) for part in (training, dataset.split("test"))
    )
    for seed, labels, weight, steps in product(range(a.seeds), a.labels, a.weights, a.steps):
        run = {
            "data": a.data.name,
            "labels": labels,
            "seed": seed,
            "weight": weight,
            "steps": steps,
        }
        if run in done:
            continue
        labelled = drawn(training.cases, labels, seed)
        figures = measured(run, labelled, samples, test, a.encoder_weights)
        append_line(a.out, figures)


def without_figures(run: dict[str, Any]) -> dict[str, Any]:
    """Return what identifies a run."""
    return {key: value for key, value in run.items() if key not in ("dice", "seconds")}


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table: Dice in points and the paired difference to the run without."""
    cells: dict[tuple[Any, ...], dict[int, tuple[float, float]]] = defaultdict(dict)
    for run in runs:
        key = (run["data"], run["labels"], run["weight"], run["steps"])
        cells[key][run["seed"]] = (100 * run["dice"], run["seconds"])
    fewest = min(run["steps"] for run in runs)
    lines = [
        "| data | labels | λ | steps | Dice | difference, by seed | mean ± sd | CPU s |",
        "|" + "---|" * 8,
    ]
    for (data, labels, weight, steps), own in sorted(cells.items()):
        plain = cells[data, labels, 0.0, fewest]
        dice = np.array([value for value, _ in own.values()])
        gains = np.array([own[seed][0] - plain[seed][0] for seed in sorted(own) if seed in plain])
        compared = (
            ["", ""]
            if plain is own
            else [" ".join(f"{g:+.2f}" for g in gains), f"{gains.mean():+.2f} ± {_sd(gains):.2f}"]
        )
        seconds = np.mean([s for _, s in own.values()])
        row = [data, labels, f"{weight:g}", steps]
        row += [f"{dice.mean():.2f} ± {_sd(dice):.2f}", *compared, f"{seconds:.0f}"]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines)


def _sd(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def main() -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder-weights", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[10, 25])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--steps", type=int, nargs="+", default=[200])
    parser.add_argument("--long-side", type=int, default=96)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(read_lines(arguments.out)))
    else:
        measure(arguments)


if __name__ == "__main__":
    main()
