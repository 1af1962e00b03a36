"""What lower precision saves in a step of all weights: the passes of encoder and decoder.

Three ways in turn in one run: float32, bfloat16 throughout, and bfloat16 as a training uses it,
where strided depthwise convolutions stay in float32. Processor time of one thread.

    OMP_NUM_THREADS=1 python benchmarks/reduced_precision.py [--repeats N]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from active_learning import CONFIG

from lfusion.model import NetworkConfig, SegmentationNetwork
from lfusion.training.precision import reduced_precision

SIZES = ((4, 96, 128), (8, 96, 128), (8, 128, 192), (4, 224, 320))
"""(images, height, width)."""


def main() -> None:
    """Print a Markdown table of milliseconds and ratios."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.manual_seed(0)
    network = SegmentationNetwork(NetworkConfig(CONFIG.encoder, 2)).train()
    ways: dict[str, Callable[[], AbstractContextManager[object]]] = {
        "float32": nullcontext,
        "bfloat16 throughout": lambda: torch.autocast("cpu", torch.bfloat16),
        "bfloat16 as trained": lambda: reduced_precision(network, "bfloat16"),
    }
    print(f"| images | {' | '.join(f'{way}, ms' for way in ways)} | of float32 | of throughout |")
    print(f"| {' | '.join(['---'] * 6)} |")
    for images, height, width in SIZES:
        image = torch.rand(images, 1, height, width)
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(repeats + 1):
            for way, scope in ways.items():
                began = time.process_time()
                step(network, image, scope())
                taken[way].append(1000 * (time.process_time() - began))
        plain, throughout, trained = (statistics.median(t[1:]) for t in taken.values())
        print(
            f"| {images} of {height} × {width} | {plain:.0f} | {throughout:.0f} | {trained:.0f} "
            f"| {trained / plain:.2f} | {trained / throughout:.2f} |"
        )


def step(
    network: SegmentationNetwork, image: torch.Tensor, scope: AbstractContextManager[object]
) -> None:
    """A forward and a backward pass."""
    with scope:
        features = network.decode(network.encode(image), network.grid(image))
    features.float().square().mean().backward()  # type: ignore[no-untyped-call]
    network.zero_grad()


if __name__ == "__main__":
    main()
