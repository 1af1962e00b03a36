"""What one corrected image costs: milliseconds from its features to the refitted posterior.

Random features of one image; the head has C·d = 256 weights. `add` and `replace` end with the
factorised covariance that predicts; the contribution of the image is timed apart, for it may be
kept.

    OMP_NUM_THREADS=1 python benchmarks/online.py [--classes C] [--size H W] [--repeats K]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from lfusion.uncertainty import LastLayerLaplace, Structure

WEIGHTS = 256
PIXELS = 4096
TARGET_MS = 50.0
"""Replacing the contribution of one image in the full structure, at most."""


def median_ms(action: Callable[[], object], repeats: int) -> float:
    """Return the median time of an action, after one call that pays for allocations."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def measure(structure: Structure, classes: int, size: tuple[int, int], repeats: int) -> list[float]:
    """Return ms of: contribution of all pixels, of a draw of them, add, replace."""
    chance = torch.Generator().manual_seed(0)
    old, new = torch.randn(2, 1, WEIGHTS // classes - 1, *size, generator=chance)
    weight = torch.randn(classes, old.shape[1], generator=chance)
    posterior = LastLayerLaplace.fit(old, weight, None, structure=structure)
    before, after = posterior.contribution(old), posterior.contribution(new)
    actions: tuple[Callable[[], object], ...] = (
        lambda: posterior.contribution(new),
        lambda: posterior.contribution(new, pixels=PIXELS),
        lambda: posterior.add(after).covariance,
        lambda: posterior.replace(before, after).covariance,
    )
    return [median_ms(action, repeats) for action in actions]


def main() -> None:
    """Measure every structure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 192), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    height, width = arguments.size
    table = Table(
        "structure",
        "contribution",
        f"of {PIXELS} pixels",
        "add",
        "replace",
        title=f"ms, median; {arguments.classes} classes × {WEIGHTS // arguments.classes} weights, "
        f"{height}×{width} pixels, {torch.get_num_threads()} threads",
    )
    replaced = {}
    for structure in Structure:
        row = measure(structure, arguments.classes, (height, width), arguments.repeats)
        replaced[structure] = row[-1]
        table.add_row(structure, *(f"{value:.2f}" for value in row))
    console = Console()
    console.print(table)
    full = replaced[Structure.FULL]
    verdict = "met" if full <= TARGET_MS else "missed"
    console.print(f"target replace, full ≤ {TARGET_MS:.0f} ms: {verdict} at {full:.1f}")


if __name__ == "__main__":
    main()
