"""What uncertainty costs: seconds per image as a ratio to the deterministic network.

One process, one model, the same images; the methods take turns image by image, so that a busy
machine slows all of them alike. Every method starts from the file's pixels in memory and ends
with a mask and its maps in native pixels.

    python benchmarks/inference.py [--data DIR] [--images N] [--repeats K] [--threads T]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from lfusion.checkpoint import Checkpoint, default_checkpoint_path
from lfusion.image import Dataset, UltrasoundImage
from lfusion.model.input import resample
from lfusion.predictor import Predictor
from lfusion.predictor.steps import most_probable
from lfusion.uncertainty import decompose_monte_carlo
from lfusion.uncertainty.decomposition import entropy

TARGET = 1.5
"""Ours against the deterministic forward, at most."""

Method = Callable[[UltrasoundImage], object]


class Methods:
    """The ways to get a mask, and how unsure it is, from one checkpoint."""

    def __init__(self, path: Path) -> None:
        """Load the checkpoint twice: MC dropout needs a copy in another mode."""
        self.predictor = Predictor(Checkpoint.load(path), "cpu")
        self.checkpoint = self.predictor.checkpoint
        self.dropping = Checkpoint.load(path).network
        for module in self.dropping.modules():
            if isinstance(module, nn.Dropout2d):
                module.train()

    def prepare(self, image: UltrasoundImage) -> tuple[Tensor, Tensor]:
        """Bring an image to the working grid."""
        stride = self.checkpoint.network.stride
        return self.checkpoint.input.prepare(
            image.pixels, image.sector, stride, torch.device("cpu")
        )

    def deterministic(self, image: UltrasoundImage) -> object:
        """Mask and softmax probabilities of the mean logits: no uncertainty but theirs."""
        pixels, _ = self.prepare(image)
        network = self.checkpoint.network
        probabilities = _native(network.head.mean(network.features(pixels)), image).softmax(1)
        return probabilities, _mask(probabilities)

    def ours(self, image: UltrasoundImage) -> object:
        """Mask, three maps, scores, percentiles and biometry."""
        return self.predictor(image)

    def ours_dropout_8(self, image: UltrasoundImage) -> object:
        """The same with eight dropout passes in the epistemic covariance."""
        return self.predictor(image, dropout_passes=8)

    def dropout_20(self, image: UltrasoundImage) -> object:
        """Twenty decoder passes with dropout on one encoder pass."""
        pixels, sector = self.prepare(image)
        pyramid = self.dropping.encoder(pixels)
        height, width = sector.shape[-2:]
        passes = []
        for _ in range(20):
            features = self.dropping.decoder(pyramid)[..., :height, :width]
            passes.append(self.dropping.head(features, sector).mean.softmax(1))
        mean = torch.stack(passes).mean(0)
        total = entropy(mean, 1)
        expected = entropy(torch.stack(passes), 2).mean(0)
        maps = torch.stack((total, total - expected), 1)
        return _mask(_native(mean, image)), _native(maps, image)

    def sampled_20x10(self, image: UltrasoundImage) -> object:
        """Twenty heads from the posterior, ten logit samples each."""
        pixels, sector = self.prepare(image)
        network = self.checkpoint.network
        features = network.features(pixels)
        terms = decompose_monte_carlo(
            features,
            network.head(features, sector),
            self.checkpoint.posterior,
            theta_samples=20,
            eta_samples=10,
        )
        maps = torch.stack((terms.mutual_information, terms.expected_entropy), 1)
        return _mask(_native(terms.probabilities, image)), _native(maps, image)


def _native(values: Tensor, image: UltrasoundImage) -> Tensor:
    height, width = image.pixels.shape
    return resample(values, (height, width))


def _mask(probabilities: Tensor) -> NDArray[np.uint8]:
    """Choose as ours does: torch's argmax over two channels is seven times slower."""
    return most_probable(probabilities[0].numpy())


def measure(
    methods: dict[str, Method], images: list[UltrasoundImage], repeats: int
) -> NDArray[np.float64]:
    """Return seconds [method, repeat × image]; the methods take turns on each image."""
    seconds: list[list[float]] = [[] for _ in methods]
    with torch.inference_mode():
        for method in methods.values():  # the first call pays for allocations
            method(images[0])
        for _ in track(range(repeats), "timing"):
            for image in images:
                for row, method in zip(seconds, methods.values(), strict=True):
                    start = time.perf_counter()
                    method(image)
                    row.append(time.perf_counter() - start)
    return np.array(seconds)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--data", type=Path, default=root / "sample_data")
    parser.add_argument("--checkpoint", type=Path, default=None)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = [case.read() for case in Dataset.read(arguments.data).cases[: arguments.images]]
    kinds = Methods(arguments.checkpoint or default_checkpoint_path())
    methods: dict[str, Method] = {
        "deterministic forward": kinds.deterministic,
        "ours: mask, 3 maps, scores, biometry": kinds.ours,
        "ours with 8 dropout passes": kinds.ours_dropout_8,
        "MC dropout ×20 (decoder passes)": kinds.dropout_20,
        "sampled Laplace 20×10": kinds.sampled_20x10,
    }
    seconds = measure(methods, images, arguments.repeats)
    table = Table(
        "method",
        "ms, median",
        "ratio, median",
        "ratio, range",
        title=f"{len(images)} images of {images[0].pixels.shape}, {arguments.threads} threads",
    )
    ratios = seconds / seconds[0]
    for name, row, ratio in zip(methods, seconds, ratios, strict=True):
        low, high = np.percentile(ratio, (10, 90))
        table.add_row(
            name,
            f"{1000 * statistics.median(row):.1f}",
            f"{statistics.median(ratio):.2f}",
            f"{low:.2f} to {high:.2f}",
        )
    console = Console()
    console.print(table)
    ours = statistics.median(ratios[1])
    console.print(f"target ours ≤ {TARGET}: {'met' if ours <= TARGET else 'missed'} at {ours:.2f}")


if __name__ == "__main__":
    main()
