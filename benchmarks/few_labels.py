"""How far 25 and 50 labelled heads of HC18 go: trainings that may take their time.

The labels are chosen before any model exists, at random or by `typiclust`; every training starts
from an ImageNet encoder. Measured on the test examinations in native pixels: the mask of one pass,
the mask of two (the image and its mirror image), and the ellipse that is fitted to the latter for
the head circumference; each against the mask of the data set, which holds the drawn line, and
against the true curve that the training learns, the middle of that line. With `--members` the
probabilities of several trainings on the same labels are averaged. Every finished run is a line of
the records, and is not repeated.

    OMP_NUM_THREADS=1 python benchmarks/few_labels.py ../shared/data/hc18 --records FILE.jsonl \
        --weights ../shared/weights/mobilenetv2_100.imagenet.safetensors
    python benchmarks/few_labels.py --quick     # phantoms, one short training
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from active_learning import CONFIG, named_data, tell
from active_learning_report import spread, table
from numpy.typing import NDArray
from skimage.draw import polygon2mask

from lfusion.acquisition import Pick, standardised, stratified, typiclust
from lfusion.biometry import measure_head
from lfusion.checkpoint import Checkpoint
from lfusion.evaluation.metrics import dice
from lfusion.image import UltrasoundImage
from lfusion.image.phantom import write_phantoms
from lfusion.model.input import InputSpec
from lfusion.predictor import Predictor
from lfusion.predictor.steps import most_probable, native_probabilities
from lfusion.simulation import prepare
from lfusion.simulation.pool import HeldOutImage, PoolImage
from lfusion.simulation.records import append_line, read_lines
from lfusion.simulation.simulate import first_labels
from lfusion.training.data import ellipse_mask
from lfusion.types import LabelMap, Probabilities

LONG = replace(CONFIG, input=InputSpec(128), steps=600, average_decay=0.98)


@dataclass(frozen=True)
class Run:
    """One training, or an ensemble of them.

    Attributes:
        strategy: that chose the labels.
        labels: how many.
        seed: of the choice, the first weights and the training.
        members: trainings on the same labels from the same first weights, with seeds of their own.
    """

    strategy: str
    labels: int
    seed: int
    members: int = 1

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Run:
        """The run of a record; those of before there were ensembles had one member."""
        return cls(**{name: record[name] for name in cls.__dataclass_fields__ if name in record})

    @property
    def training_seeds(self) -> Sequence[int]:
        """One for each member."""
        return [self.seed + 1000 * member for member in range(self.members)]


def at_random(pool: Sequence[PoolImage], count: int, seed: int) -> Sequence[str]:
    """Draw at random, no two of one examination while there are others."""
    return first_labels(pool, count, seed)


def by_kind(
    choose: Callable[..., Sequence[Pick]],
) -> Callable[[Sequence[PoolImage], int, int], Sequence[str]]:
    """Choose by what the frozen encoder sees; nothing is labelled yet."""

    def chosen(pool: Sequence[PoolImage], count: int, seed: int) -> Sequence[str]:
        looks, none = standardised(
            np.stack([image.embedding for image in pool]), np.empty((0, len(pool[0].embedding)))
        )
        return [pick.id for pick in choose([i.id for i in pool], looks, count, none, seed)]

    return chosen


STRATEGIES = {
    "random": at_random,
    "stratified_random": by_kind(stratified),
    "typiclust": by_kind(typiclust),
}


def mirrored(image: UltrasoundImage) -> UltrasoundImage:
    """The image as a probe held the other way round would show it."""
    pixels, sector = (np.ascontiguousarray(x[:, ::-1]) for x in (image.pixels, image.sector))
    return replace(image, pixels=pixels, sector=sector)


@torch.inference_mode()
def probabilities(members: Sequence[Predictor], image: UltrasoundImage) -> Probabilities:
    """Class probabilities in native pixels, the mean of the members."""
    rows, columns = image.pixels.shape
    each = [
        native_probabilities(member.moments(image).decompose(1.0), (rows, columns))
        for member in members
    ]
    mean: Probabilities = np.mean(each, axis=0, dtype=np.float32)
    return mean


def measure(
    checkpoints: Sequence[Checkpoint],
    images: Sequence[HeldOutImage],
    curves: Mapping[str, LabelMap],
) -> dict[str, float]:
    """Dice, its 5th percentile and the mean error of the circumference, in three ways."""
    members = [Predictor(checkpoint, "cpu") for checkpoint in checkpoints]
    found: dict[str, list[float]] = {}
    for held_out in images:
        once = probabilities(members, held_out.image)
        other = probabilities(members, mirrored(held_out.image))[:, :, ::-1]
        both = (once + other) / 2
        masks = {"mask": most_probable(once) == 1, "two": most_probable(both) == 1}
        masks["ellipse"] = masks["two"]
        for name, seen in (("mask", once), ("two", both)):
            head = measure_head(seen[1], held_out.image.pixel_size_mm)
            if head.hc_mm is not None and held_out.hc_mm is not None:
                error = abs(head.hc_mm - held_out.hc_mm)
                found.setdefault(f"{name}_hc_mae_mm", []).append(error)
            if name == "two" and head.ellipse is not None:
                masks["ellipse"] = interior(head.ellipse.outline(), masks["two"].shape)
        references = {"dice": held_out.mask, "curve_dice": curves.get(held_out.id, held_out.mask)}
        for name, mask in masks.items():
            for figure, reference in references.items():
                found.setdefault(f"{name}_{figure}", []).append(dice(mask, reference == 1))
    figures = {name: float(np.mean(values)) for name, values in found.items()}
    figures["refused"] = float(len(images) - len(found.get("two_hc_mae_mm", ())))
    for name in ("mask", "two", "ellipse"):
        figures[f"{name}_p05"] = float(np.quantile(found[f"{name}_dice"], 0.05))
    return figures


def interior(outline: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels inside an outline."""
    inside: NDArray[np.bool_] = polygon2mask(shape, outline)  # type: ignore[no-untyped-call]
    return inside


def runs_table(records: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown row for each kind of run: mean ± standard deviation over the seeds."""
    columns = {
        "mask": ("mask_dice", 100),
        "two passes": ("two_dice", 100),
        "ellipse": ("ellipse_dice", 100),
        "mask, true curve": ("mask_curve_dice", 100),
        "two passes, true curve": ("two_curve_dice", 100),
        "ellipse, true curve": ("ellipse_curve_dice", 100),
        "5th percentile": ("mask_p05", 100),
        "HC MAE, mm": ("mask_hc_mae_mm", 1),
        "HC MAE, two passes, mm": ("two_hc_mae_mm", 1),
    }
    kinds: dict[tuple[int, int, str], list[Mapping[str, Any]]] = {}
    for record in records:
        run = Run.of(record)
        kinds.setdefault((run.labels, run.members, run.strategy), []).append(record)
    rows = []
    for (labels, members, strategy), runs in sorted(kinds.items()):
        figures = [
            spread(np.array([r[name] for r in runs]), scale) for name, scale in columns.values()
        ]
        rows.append([str(labels), strategy, str(members), str(len(runs)), *figures])
    return table(["labels", "by", "trainings", "seeds", *columns], rows)


def arguments() -> argparse.Namespace:
    """What to train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder with train and test")
    parser.add_argument("--weights", type=Path, help="pretrained encoder")
    parser.add_argument("--records", type=Path, default=Path("few_labels.jsonl"))
    parser.add_argument("--labels", type=int, action="append", help="again for each; 25 and 50")
    parser.add_argument("--seed", type=int, action="append", help="again for each; 0 to 4")
    parser.add_argument("--strategy", action="append", choices=STRATEGIES)
    parser.add_argument("--members", type=int, default=1, help="trainings to average")
    parser.add_argument("--steps", type=int, default=LONG.steps)
    parser.add_argument("--long-side", type=int, default=LONG.input.long_side)
    parser.add_argument("--quick", action="store_true", help="phantoms and few steps")
    return parser.parse_args()


def main() -> None:
    """Carry out the runs that are missing, and print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of an encoder without weights
    options = arguments()
    if options.quick:
        folder = Path(tempfile.mkdtemp())
        write_phantoms(folder / "phantoms", 30, 0)
        options.data, options.records = folder / "phantoms", folder / "few_labels.jsonl"
        options.labels, options.seed, options.steps = options.labels or [5], [0], 10
    data = named_data(options.data)
    config = replace(LONG, steps=options.steps, input=InputSpec(options.long_side))
    simulation = prepare(
        data.split("train"), data.split("test"), config, options.weights, options.records, tell
    )
    pool, held_out = simulation.pool, simulation.held_out
    curves = {
        case.id: curve
        for case, image in zip(data.split("test").labelled(), held_out, strict=True)
        if (curve := ellipse_mask(case, *image.mask.shape)) is not None
    }
    samples = {image.id: image.sample for image in pool}
    records = read_lines(options.records)
    known = {Run.of(record) for record in records}
    for seed in options.seed or range(5):
        learner = simulation.learner(seed)
        for labels in options.labels or (25, 50):
            for strategy in options.strategy or ("typiclust", "random"):
                run = Run(strategy, labels, seed, options.members)
                if run in known:
                    continue
                chosen = STRATEGIES[strategy](pool, labels, seed)
                began = time.perf_counter()
                labelled = [samples[name] for name in chosen]
                checkpoints = [learner.learn(labelled, each) for each in run.training_seeds]
                seconds = time.perf_counter() - began
                figures = measure(checkpoints, held_out, curves)
                records.append({**asdict(run), **figures, "training_s": seconds})
                append_line(options.records, {**records[-1], "chosen": list(chosen)})
                print(run, figures, flush=True)
    print(runs_table(records))


if __name__ == "__main__":
    main()
