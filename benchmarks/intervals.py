"""Do 90 % intervals hold 90 % of the sonographers' values? Fitted on one split, counted on another.

Prints, for each quantity, the coverage of the model's own standard deviation taken as Gaussian, the
conformal factor fitted on the validation images, and coverage and mean width on the test images;
once with the closed form and once with coherent samples. The truth is `hc_mm` of meta.csv for HC
and the annotated ellipse, where meta.csv has one, or else the mask for the rest.

    OMP_NUM_THREADS=1 python benchmarks/intervals.py ../shared/data/hc18 [--samples 32]
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest, norm, spearmanr

from lfusion.checkpoint import Checkpoint, default_checkpoint_path
from lfusion.image import Case, Dataset
from lfusion.measurement import measure, measure_maps, sample_quantities
from lfusion.measurement.quantities import LEVEL
from lfusion.predictor import Predictor
from lfusion.training.data import ellipse_mask
from lfusion.uncertainty.intervals import conformal_factor

SIZE = "its size"
"""The baseline that knows nothing of the image: a spread in proportion to the value."""
METHODS = ("closed form", "samples", SIZE)


@dataclass(frozen=True)
class Estimate:
    """One quantity of one image: value, truth and both spreads."""

    value: float
    truth: float
    spread: Mapping[str, float]


def true_values(case: Case, labels: Mapping[str, int]) -> dict[str, float]:
    """Return what the annotator says."""
    image = case.read()
    mask = ellipse_mask(case, *image.pixels.shape)
    mask = case.read_mask() if mask is None else mask
    maps = {name: mask == number for name, number in labels.items()}
    values = measure_maps(maps, image.pixel_size_mm).values
    if case.meta.get("hc_mm"):
        values["hc"] = float(case.meta["hc_mm"])
    return values


@torch.inference_mode()
def estimates(
    predictor: Predictor, case: Case, samples: int
) -> tuple[dict[str, Estimate], dict[str, float]]:
    """Return the estimates of one image by quantity, and the seconds of each step."""
    checkpoint, image = predictor.checkpoint, case.read()
    network = checkpoint.network
    pixels, sector = checkpoint.input.prepare(
        image.pixels, image.sector, network.stride, predictor.device
    )
    features = network.features(pixels)
    logits = network.head(features, sector)
    gaussian = logits, features, checkpoint.posterior.covariance.to(features)
    prediction = predictor(image)
    start = perf_counter()
    maps = {name: prediction.probabilities[number] for name, number in predictor.labels.items()}
    measure_maps(maps, image.pixel_size_mm)
    plain = perf_counter()
    measured = measure(prediction.probabilities, predictor.labels, image.pixel_size_mm, *gaussian)
    closed = perf_counter()
    chance = torch.Generator(predictor.device).manual_seed(0)
    size = image.pixels.shape
    drawn = sample_quantities(
        predictor.labels,
        image.pixel_size_mm,
        (size[0], size[1]),
        *gaussian,
        samples=samples,
        generator=chance,
    )
    seconds = {
        "measuring alone": plain - start,
        "closed form": closed - plain - (plain - start),
        "samples": perf_counter() - closed,
    }
    truth = true_values(case, predictor.labels)
    out = {}
    for name, value in measured.values.items():
        if name in truth and len(drawn.get(name, ())) > 1:
            spreads = (measured.deviations[name], float(np.std(drawn[name], ddof=1)), value)
            out[name] = Estimate(value, truth[name], dict(zip(METHODS, spreads, strict=True)))
    return out, seconds


def columns(of: Iterable[Estimate], method: str) -> tuple[NDArray[np.float64], ...]:
    """Return |value − truth| and spread of some estimates."""
    items = list(of)
    error = np.array([abs(item.value - item.truth) for item in items])
    return error, np.array([item.spread[method] for item in items])


def row(name: str, method: str, fitted: list[Estimate], counted: list[Estimate]) -> list[str]:
    """Return one line of the table."""
    own_error, own_spread = columns(fitted, method)
    error, spread = columns(counted, method)
    factor = conformal_factor(own_error / own_spread, LEVEL)
    assert factor is not None, "the validation split is too small for this level"
    gaussian = norm.ppf((1 + LEVEL) / 2)
    inside = int((error <= factor * spread).sum())
    low, high = binomtest(inside, len(error)).proportion_ci(0.95, method="wilson")
    raw = [
        f"{np.mean(e <= gaussian * s):.1%}" for e, s in ((own_error, own_spread), (error, spread))
    ]
    return [
        name,
        method,
        "" if method == SIZE else " / ".join(raw),
        f"{factor / gaussian:.2f}",
        f"{inside / len(error):.1%} ({low:.0%} to {high:.0%})",
        f"{2 * factor * spread.mean():.4g}",
        f"{np.mean(error):.3g}",
        f"{spearmanr(error, spread).statistic:+.2f}",
    ]


def main() -> None:
    """Measure both splits and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fit", default="val")
    parser.add_argument("--count", default="test")
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--checkpoint", type=Path, default=None)
    arguments = parser.parse_args()
    checkpoint = Checkpoint.load(arguments.checkpoint or default_checkpoint_path())
    predictor, dataset = Predictor(checkpoint, "cpu"), Dataset.read(arguments.data)
    seconds: dict[str, list[float]] = defaultdict(list)
    found: dict[str, dict[str, list[Estimate]]] = {}
    for split in (arguments.fit, arguments.count):
        found[split] = defaultdict(list)
        cases = dataset.split(split).labelled().cases
        for case in track(cases, split):
            own, times = estimates(predictor, case, arguments.samples)
            for name, estimate in own.items():
                found[split][name].append(estimate)
            for step, time in times.items():
                seconds[step].append(time)
    table = Table(
        "quantity",
        "spread by",
        f"{LEVEL:.0%} Gaussian, fit / count",
        "factor",
        f"{LEVEL:.0%} calibrated (95 % CI)",
        "mean width",
        "mean |error|",
        "Spearman",
        title=f"checkpoint {checkpoint.id}; "
        + ", ".join(f"{len(found[s]['hc'])} heads of {s}" for s in found),
    )
    for name in found[arguments.count]:
        for method in METHODS:
            both = (found[split][name] for split in (arguments.fit, arguments.count))
            table.add_row(*row(name, method, *both))
    console = Console(width=150)
    console.print(table)
    for step, times_s in seconds.items():
        console.print(f"{step}: {1000 * np.median(times_s):.1f} ms")


if __name__ == "__main__":
    main()
