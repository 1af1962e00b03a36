"""What the scores and the posterior of a checkpoint are worth on a labelled data set.

Prints, for each image score, how it goes with the Dice of the mask and how well it finds the worst
15 % of the masks; then the held-out likelihood under posteriors of several temperatures.

    python benchmarks/default_checkpoint.py ../shared/data/hc18 --split val
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from lfusion.checkpoint import Checkpoint, default_checkpoint_path
from lfusion.evaluation import ImageResult, evaluate
from lfusion.evaluation.metrics import auroc, spearman
from lfusion.image import Case, Dataset
from lfusion.predictor import Predictor
from lfusion.training.data import load_sample, to_grid, with_background
from lfusion.training.losses import soft_cross_entropy
from lfusion.uncertainty import fit_prior_precision

TEMPERATURES = (1.0, 10.0, 100.0, 1e3, 1e4, 1e5)
WORST = 0.15


def score_table(images: Sequence[ImageResult]) -> Table:
    """Tabulate how each score goes with the Dice."""
    dice = np.array([image.dice for image in images])
    worst = dice <= np.quantile(dice, WORST)
    table = Table("image score", "median", "Spearman with Dice", f"AUROC of the worst {WORST:.0%}")
    for name in images[0].scores:
        values = np.array([image.scores[name] for image in images])
        table.add_row(
            name,
            f"{np.median(values):.2e}",
            f"{float(spearman(values, dice)):+.2f}",
            f"{float(auroc(values, worst)):.2f}",
        )
    return table


@torch.inference_mode()
def held_out(checkpoint: Checkpoint, cases: Sequence[Case]) -> tuple[float, float]:
    """Return the mean negative log-likelihood and the highest epistemic value, nats a pixel."""
    predictor, network = Predictor(checkpoint, "cpu"), checkpoint.network
    losses, highest = [], 0.0
    for case in cases:
        terms = predictor.moments(case.read()).decompose(checkpoint.calibration.temperature)
        sample = load_sample(case, checkpoint.input, network.stride, network.config.classes)
        target = with_background(to_grid(sample.target[None], network.stride))
        losses.append(float(soft_cross_entropy(terms.probabilities, target)))
        highest = max(highest, float(terms.mutual_information.max()))
    return float(np.mean(losses)), highest


def temperature_table(checkpoint: Checkpoint, cases: Sequence[Case]) -> Table:
    """Tabulate the held-out likelihood over κ, each with the τ of highest evidence."""
    table = Table("κ", "τ", "held-out NLL, nats", "highest epistemic, nats")
    for temperature in track(TEMPERATURES, "temperatures"):
        posterior = replace(checkpoint.posterior, posterior_temperature=temperature)
        tempered = replace(checkpoint, posterior=fit_prior_precision(posterior))
        loss, highest = held_out(tempered, cases)
        table.add_row(
            f"{temperature:g}",
            f"{tempered.posterior.prior_precision:.2f}",
            f"{loss:.4f}",
            f"{highest:.4f}",
        )
    return table


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--checkpoint", type=Path, default=None)
    arguments = parser.parse_args()
    checkpoint = Checkpoint.load(arguments.checkpoint or default_checkpoint_path())
    dataset = Dataset.read(arguments.data).split(arguments.split)
    report = evaluate(Predictor(checkpoint, "cpu"), dataset)
    console = Console()
    console.print(score_table(report.images))
    console.print(temperature_table(checkpoint, dataset.labelled().cases))


if __name__ == "__main__":
    main()
