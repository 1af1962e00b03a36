"""What kept features of a standing encoder save: processor seconds per step of a quick retraining.

Random weights, whose arithmetic costs what that of trained ones does; phantoms on the working grid
of the shipped checkpoint. "Filled" is a retraining whose images earlier ones have seen.

    OMP_NUM_THREADS=1 python benchmarks/cached_features.py
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from lfusion.image import Dataset
from lfusion.image.phantom import write_phantoms
from lfusion.model import EncoderConfig, NetworkConfig, SegmentationNetwork
from lfusion.model.input import InputSpec
from lfusion.training import TrainingConfig
from lfusion.training.cached_features import FeatureCache
from lfusion.training.data import Sample, load_samples
from lfusion.training.fit import fit_network

ENCODERS = (
    "timm:mobilenetv2_100",
    "timm:vit_small_patch16_224",
    "timm:vit_base_patch16_224",
)
IMAGES = 6


def seconds_per_step(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    config: TrainingConfig,
    folder: Path | None,
) -> float:
    """Train a copy and return the processor time of a step."""
    copied = copy.deepcopy(network)
    cache = None if folder is None else FeatureCache(folder, copied, config.precision)
    began = time.process_time()
    fit_network(copied, samples, config, features=cache)
    return (time.process_time() - began) / config.steps


def main() -> None:
    """Measure each encoder without a cache, with an empty one and with a full one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--encoders", nargs="+", default=ENCODERS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("encoder", "without", "empty", "filled", title="processor seconds per step")
    with tempfile.TemporaryDirectory() as work:
        write_phantoms(Path(work) / "data", IMAGES, seed=0)
        dataset = Dataset.read(Path(work) / "data")
        for name in arguments.encoders:
            torch.manual_seed(0)
            network = SegmentationNetwork(NetworkConfig(EncoderConfig(name), 2))
            samples = load_samples(dataset, InputSpec(), network.stride, 2)
            config = replace(TrainingConfig.quick(), precision="bfloat16", steps=arguments.steps)
            folder = Path(work) / name.replace(":", "-")
            figures = [seconds_per_step(network, samples, config, None)]
            figures.append(seconds_per_step(network, samples, config, folder))
            # the views are drawn by the seed, so the same training finds all of them
            figures.append(seconds_per_step(network, samples, config, folder))
            table.add_row(name, *(f"{value:.3f}" for value in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
