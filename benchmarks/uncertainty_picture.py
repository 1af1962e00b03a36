"""What the maps mean, and what labels and structures do to them, on real scans.

python benchmarks/uncertainty_picture.py ../shared/data docs/images
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

import lfusion
from lfusion.image import Case, Dataset, UltrasoundImage
from lfusion.predictor import Predictor
from lfusion.predictor.steps import uncertainty_maps
from lfusion.uncertainty import LastLayerLaplace, Observation, Structure
from lfusion.uncertainty.curvature import CURVATURE_SAMPLES

SCANS = ("004_HC", "238_HC", "202_HC")
FEW = 25
BUDGETS = (1, 5, FEW, 368)
STRUCTURES = tuple(Structure)


def posterior_of(
    predictor: Predictor, cases: Iterable[Case], structure: Structure = Structure.FULL
) -> LastLayerLaplace:
    """Return the posterior of the shipped head had it been fitted on these images alone."""
    known = predictor.checkpoint.posterior
    noise = torch.Generator().manual_seed(0)

    def observations() -> Iterable[Observation]:
        for case in cases:
            seen = predictor.fields(case.read())
            yield Observation(
                seen.features, seen.sector, seen.logits.sample(CURVATURE_SAMPLES, noise)
            )

    fitted = LastLayerLaplace.fit(
        observations(),
        known.weight[:, :-1],
        known.weight[:, -1],
        structure=structure,
        prior_precision=known.prior_precision,
        posterior_temperature=known.posterior_temperature,
    )
    return fitted


def epistemic(
    predictor: Predictor, posterior: LastLayerLaplace, image: UltrasoundImage
) -> NDArray[np.float32]:
    """Return the epistemic map under another posterior, on the feature grid, in nats."""
    seen = predictor.fields(image)
    moments = predictor.moments_of(seen)
    covariance = posterior.covariance.to(seen.features)
    changed = replace(
        moments, epistemic=covariance.contrasts(seen.features) * seen.sector[:, :, None]
    )
    terms = changed.decompose(predictor.checkpoint.calibration.temperature)
    return uncertainty_maps(terms)["epistemic"]


def show(axes: Axes, values: NDArray[np.float32], top: float, title: str) -> None:
    """Draw a map from 0 to `top`."""
    axes.imshow(values, cmap="magma", vmin=0, vmax=top)
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def draw_maps(predictor: Predictor, cases: dict[str, Case], file: Path) -> None:
    """Draw scans with their contours and both maps."""
    figure, rows = plt.subplots(len(SCANS), 3, figsize=(9, 6.4), layout="constrained")
    for scan, axes in zip(SCANS, rows, strict=True):
        found = predictor(cases[scan].read())
        axes[0].imshow(cases[scan].read().pixels, cmap="gray")
        axes[0].contour(found.mask, [0.5], colors="orange", linewidths=1)
        axes[0].set_title(scan, fontsize=10)
        axes[0].axis("off")
        show(axes[1], found.aleatoric, 0.69, "aleatoric, 0 to 0.69 nats")
        top = float(found.epistemic.max())
        show(axes[2], found.epistemic, top, f"epistemic, 0 to {top:.1g} nats")
    figure.savefig(file, dpi=90)


def draw_posteriors(
    predictor: Predictor, training: list[Case], image: UltrasoundImage, file: Path
) -> None:
    """Draw the epistemic map by number of labels and by structure."""
    figure, rows = plt.subplots(2, 5, figsize=(14, 4.4), layout="constrained")
    rows[0, 0].imshow(image.pixels, cmap="gray")
    rows[0, 0].set_title("a scan in labour (PSFHS)", fontsize=10)
    rows[0, 0].axis("off")
    by_count = {
        n: epistemic(predictor, posterior_of(predictor, training[:n]), image) for n in BUDGETS
    }
    top = float(by_count[BUDGETS[0]].max())
    for axes, (count, values) in zip(rows[0, 1:], by_count.items(), strict=True):
        show(axes, values, top, f"full, {count} labelled images")
    by_structure = {
        kind: epistemic(predictor, posterior_of(predictor, training[:FEW], kind), image)
        for kind in STRUCTURES
    }
    for axes, (kind, values) in zip(rows[1], by_structure.items(), strict=True):
        peak = float(values.max())
        show(axes, values, peak, f"{kind}, {FEW} images, to {peak:.2g}")
    figure.savefig(file, dpi=80)


def main() -> None:
    """Draw both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    hc18 = Dataset.read(arguments.data / "hc18")
    predictor = lfusion.load(device="cpu")
    cases = {case.id: case for case in hc18.cases}
    draw_maps(predictor, cases, arguments.out / "uncertainty_maps.png")
    foreign = Dataset.read(arguments.data / "psfhs").split("test").cases[0].read()
    training = list(hc18.split("train").cases)
    draw_posteriors(predictor, training, foreign, arguments.out / "posterior.png")


if __name__ == "__main__":
    main()
