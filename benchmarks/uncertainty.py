"""Every way to uncertainty beside every other, on real ultrasound: one run, two tables.

Networks of several seeds are trained once from 25 and once from all images of HC18, kept in a work
folder and used again by the next run. Each method then predicts HC18 test, four kinds of images it
should find foreign, and phantoms with and without a lesion.

    python benchmarks/uncertainty.py --data ../shared/data --weights ../shared/weights/FILE
        --work DIR [--seeds 3] [--images 30] [--only SEED BUDGET] [--plot FILE]

`--only` measures one part, so that a second process may take another; without it, all parts are
measured and the tables printed.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from uncertainty_methods import COSTLY, Method, Methods, Output
from uncertainty_plot import plot_findings
from uncertainty_tables import write_tables

from lfusion.biometry import measure_head
from lfusion.checkpoint import Checkpoint
from lfusion.evaluation.metrics import Reliability, auroc, dice
from lfusion.image import Case, Dataset, UltrasoundImage, as_ultrasound_image
from lfusion.image.artefacts import ARTEFACTS, SEVERITIES, draw_artefact
from lfusion.image.phantom import Condition, generate_phantom
from lfusion.model import EncoderConfig
from lfusion.model.input import resample
from lfusion.training import TrainingConfig, train

BUDGETS = {"25": 300, "all": 600}
"""Training images → optimiser steps; the shipped model had 2000."""
FOREIGN = ("psfhs", "busi", "carotid")
PHANTOM_SEED = 7
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, eq=False)
class Item:
    """One image to predict."""

    group: str
    image: UltrasoundImage
    case: Case | None = None
    lesion: NDArray[np.bool_] | None = None


def training_part(data: Path, budget: str, seed: int) -> Dataset:
    """Return the training images: all, or 25 drawn with the seed."""
    dataset = Dataset.read(data / "hc18").split("train")
    if budget == "all":
        return dataset
    drawn = random.Random(seed).sample(sorted(dataset.cases, key=lambda c: c.id), int(budget))
    return replace(dataset, cases=tuple(sorted(drawn, key=lambda c: c.id)))


def trained(data: Path, weights: Path, work: Path, budget: str, seed: int) -> Checkpoint:
    """Return the network of a seed and budget, trained when it is not in the work folder."""
    file = work / f"{budget}-{seed}.safetensors"
    if not file.is_file():
        encoder = EncoderConfig("timm:mobilenetv2_100", {"pad_type": "same"}, HALF, HALF)
        steps = BUDGETS[budget]
        config = TrainingConfig(
            encoder=encoder, steps=steps, validate_every=300, patience=100, seed=seed
        )
        held_out = Dataset.read(data / "hc18").split("val")
        part = training_part(data, budget, seed)
        train(part, config, validation=held_out, encoder_weights=weights).save(file)
    return Checkpoint.load(file)


def items(data: Path, count: int, budget: str) -> Iterator[Item]:
    """Yield the images of all groups; for the smaller budget only those of HC18."""
    test = Dataset.read(data / "hc18").split("test").cases
    for case in test:
        yield Item("hc18", case.read(), case)
    if budget != "all":
        return
    chance = random.Random(0)
    for name in FOREIGN:
        cases = Dataset.read(data / name).split("test").cases
        for case in chance.sample(cases, min(count, len(cases))):
            yield Item(name, case.read())
    for severity in SEVERITIES:
        for number, case in enumerate(chance.sample(test, count // 2)):
            kind = list(ARTEFACTS)[number % len(ARTEFACTS)]
            rng = np.random.default_rng([severity, number])
            spoilt = draw_artefact(kind, severity, rng)(case.read())
            yield Item(f"artefact {severity}", spoilt.image)
    for index in range(count // 4):
        for condition in (Condition.NORMAL, Condition.ABNORMAL):
            made = generate_phantom(PHANTOM_SEED, condition, index=index)
            size = (made.pixel_size_mm, made.pixel_size_mm)
            image = as_ultrasound_image(made.image, size)
            yield Item(f"phantom {condition}", image, None, made.lesion)


def measured(item: Item, name: str, method: Method) -> dict[str, Any]:
    """Return the figures of one method on one image."""
    start = time.perf_counter()
    with torch.inference_mode():
        found = method(item.image)
    row: dict[str, Any] = {
        "group": item.group,
        "method": name,
        "seconds": time.perf_counter() - start,
        "scores": dict(found.scores),
    }
    shape = (item.image.pixels.shape[0], item.image.pixels.shape[1])
    if item.case is not None:
        row |= segmentation_figures(item.case, found, shape)
    if item.lesion is not None:
        inside = item.image.sector
        row["lesion_auroc"] = {
            key: float(auroc(_native(values, shape)[inside].astype(float), item.lesion[inside]))
            for key, values in found.maps.items()
        }
    return row


def segmentation_figures(case: Case, found: Output, shape: tuple[int, int]) -> dict[str, Any]:
    """Return Dice, error of HC and the pixels' calibration of one labelled image."""
    truth = case.read_mask()
    tiny = np.finfo(np.float32).tiny
    logs = torch.from_numpy(np.log(np.maximum(found.probabilities, tiny)))[None]
    native = resample(logs, shape).softmax(1)[0].numpy()
    hc = measure_head(native[1], case.pixel_size_mm).hc_mm
    bins = Reliability.of(native, truth).equal_width()
    return {
        "id": case.id,
        "exam": case.group or case.meta.get("exam", case.id),
        "dice": float(dice(native[1] > 0.5, truth == 1)),
        "hc_error": None if hc is None else abs(hc - float(case.meta["hc_mm"])),
        "nll": float(-np.log(np.maximum(np.where(truth == 1, native[1], native[0]), 1e-7)).mean()),
        "bins": [bins.pixels.tolist(), bins.confidence.tolist(), bins.correct.tolist()],
    }


def _native(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    out: NDArray[np.float32] = resample(torch.from_numpy(values)[None, None], shape)[0, 0].numpy()
    return out


def measure_part(arguments: argparse.Namespace, budget: str, seed: int) -> Path:
    """Predict with all methods of one seed and budget; the rows go to the work folder."""
    file: Path = arguments.work / f"rows-{budget}-{seed}.json"
    if file.is_file():
        return file
    members = [
        trained(arguments.data, arguments.weights, arguments.work, budget, other)
        for other in range(arguments.seeds)
    ]
    own = members.pop(seed)
    methods = Methods(own, members, training_part(arguments.data, budget, seed)).all()
    rows = []
    every = list(items(arguments.data, arguments.images, budget))
    for number, item in enumerate(track(every, f"{budget} {seed}")):
        chosen = methods
        if item.group != "hc18" and number % 3:
            chosen = {name: methods[name] for name in methods if name not in COSTLY}
        elif budget != "all":
            chosen = {name: methods[name] for name in methods if "dropout" not in name}
        rows += [measured(item, name, method) for name, method in chosen.items()]
    file.write_text(json.dumps(rows))
    return file


def main() -> None:
    """Measure what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--only", nargs=2, metavar=("SEED", "BUDGET"))
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    if arguments.only:
        measure_part(arguments, arguments.only[1], int(arguments.only[0]))
        return
    files = {
        (budget, seed): measure_part(arguments, budget, seed)
        for budget in BUDGETS
        for seed in range(arguments.seeds)
    }
    parts = {part: json.loads(file.read_text()) for part, file in files.items()}
    write_tables(parts)
    if arguments.plot:
        plot_findings(parts, arguments.plot)


if __name__ == "__main__":
    main()
