"""The decomposition alone: closed form and Monte Carlo beside one forward pass, by classes.

A MobileNetV2 U-Net with random weights, D = 32 features at 128 × 128 of one 256 × 256 image. The
baseline ends with softmax and mask in native pixels; the decompositions add all maps on the
feature grid and three of them in native pixels. The ways take turns in one process.

    OMP_NUM_THREADS=1 python benchmarks/decomposition.py [--repeats K]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lfusion.model import EncoderConfig
from lfusion.model.input import resample
from lfusion.model.network import NetworkConfig, SegmentationNetwork
from lfusion.predictor.steps import most_probable
from lfusion.uncertainty import (
    Decomposition,
    LastLayerLaplace,
    decompose,
    decompose_monte_carlo,
)
from lfusion.uncertainty.gauge import contrast_basis

SIDE = 256
CLASSES = (2, 3, 4)
TARGET = 1.3
"""The closed form against the deterministic forward, at most."""


class Ways:
    """Three ways through one network."""

    def __init__(self, classes: int) -> None:
        """Build the network and fit a posterior on its own features."""
        torch.manual_seed(0)
        encoder = EncoderConfig("timm:mobilenetv2_100", {"pad_type": "same"})
        self.network = SegmentationNetwork(NetworkConfig(encoder, classes=classes)).eval()
        self.image, self.sector = torch.rand(1, 1, SIDE, SIDE), torch.ones(1, 1, 128, 128)
        features = self.network.features(self.image)
        mean = self.network.head.mean
        self.posterior = LastLayerLaplace.fit(features, mean.weight, mean.bias)
        self.covariance = self.posterior.covariance.to(features)
        self.basis = contrast_basis(classes, features)

    def deterministic(self) -> object:
        """Softmax of the mean logits, and the mask."""
        logits = self.network.head.mean(self.network.features(self.image))
        return most_probable(resample(logits, (SIDE, SIDE)).softmax(1)[0].numpy())

    def closed_form(self) -> object:
        """The same with all terms of the decomposition."""
        features = self.network.features(self.image)
        logits = self.network.head(features, self.sector)
        return self._ended(
            decompose(
                logits.mean,
                self.covariance.contrasts(features),
                logits.contrast_covariance(self.basis),
            )
        )

    def monte_carlo(self) -> object:
        """Twenty heads, ten logit samples each."""
        features = self.network.features(self.image)
        logits = self.network.head(features, self.sector)
        return self._ended(
            decompose_monte_carlo(
                features, logits, self.posterior, theta_samples=20, eta_samples=10
            )
        )

    def _ended(self, terms: Decomposition) -> tuple[object, Tensor]:
        maps = torch.stack(
            (terms.mutual_information, terms.expected_entropy, terms.predictive_entropy), 1
        )
        probabilities = resample(terms.probabilities, (SIDE, SIDE))[0].numpy()
        return most_probable(probabilities), resample(maps, (SIDE, SIDE))


@torch.inference_mode()
def seconds_of(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the times of each way; the first round pays for allocations and does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    table = Table("classes", "way", "ms, median", "ratio, median")
    for classes in CLASSES:
        with torch.inference_mode():
            built = Ways(classes)
        ways: dict[str, Callable[[], object]] = {
            "deterministic": built.deterministic,
            "closed form": built.closed_form,
            "Monte Carlo 20 × 10": built.monte_carlo,
        }
        times = seconds_of(ways, arguments.repeats)
        base = times["deterministic"]
        for name, values in times.items():
            ratio = statistics.median(a / b for a, b in zip(values, base, strict=True))
            median = f"{1000 * statistics.median(values):.1f}"
            table.add_row(str(classes), name, median, f"{ratio:.2f}")
    console = Console()
    console.print(table)
    console.print(f"target of the closed form: ≤ {TARGET}")


if __name__ == "__main__":
    main()
