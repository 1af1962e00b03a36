"""What a correction costs: milliseconds from what was said to the conditioned distribution.

Random logits on the feature grid of a 256×256 input; a case is some clicks or a
scribble, said on that grid.

    OMP_NUM_THREADS=1 python benchmarks/counterfactual.py [--classes C] [--rank R] [--size H W]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from rich.console import Console
from rich.table import Table

from lfusion.model.distribution import LogitDistribution
from lfusion.uncertainty.conditioning import UNSAID, correct
from lfusion.uncertainty.contrasts import ContrastDistribution
from lfusion.uncertainty.counterfactual import principal_modes

CASES = {"20 clicks": 20, "scribble of 500 pixels": 500}
TARGET_MS = 20.0
"""One conditioning, at most, two classes and one thread."""


def random_logits(classes: int, rank: int, size: tuple[int, int]) -> ContrastDistribution:
    """Return the logits of one image, float32 as a network gives them."""
    chance = torch.Generator().manual_seed(0)
    shape = (1, classes, *size)
    return ContrastDistribution.of(
        LogitDistribution(
            mean=torch.randn(shape, generator=chance),
            scale=torch.rand(shape, generator=chance) + 0.05,
            factor=torch.randn(1, classes, rank, *size, generator=chance),
        )
    )


def measure(logits: ContrastDistribution, pixels: int, repeats: int) -> list[float]:
    """Return the ms of each of some corrections, after one that pays for allocations."""
    chance = torch.Generator().manual_seed(1)
    size = logits.mean.shape[1:]
    said = torch.full(size, UNSAID)
    chosen = torch.randperm(said.numel(), generator=chance)[:pixels]
    said.view(-1)[chosen] = torch.randint(len(logits.mean) + 1, (pixels,), generator=chance)
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        correct(logits, said)
        times.append(1000 * (time.perf_counter() - start))
    return times[1:]


def main() -> None:
    """Measure both cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--rank", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=2, default=(128, 128), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    height, width = arguments.size
    logits = random_logits(arguments.classes, arguments.rank, (height, width))
    table = Table(
        "said",
        "median",
        "maximum",
        title=f"ms; {arguments.classes} classes, rank {arguments.rank}, {height}×{width} grid, "
        f"{torch.get_num_threads()} threads",
    )
    slowest = 0.0
    for name, pixels in CASES.items():
        times = measure(logits, pixels, arguments.repeats)
        median = statistics.median(times)
        table.add_row(name, f"{median:.2f}", f"{max(times):.2f}")
        slowest = max(slowest, median)
    start = time.perf_counter()
    principal_modes(logits)
    modes = 1000 * (time.perf_counter() - start)
    console = Console()
    console.print(table)
    verdict = "met" if slowest <= TARGET_MS else "missed"
    console.print(
        f"target ≤ {TARGET_MS:.0f} ms: {verdict} at {slowest:.1f}; all modes {modes:.1f} ms"
    )


if __name__ == "__main__":
    main()
