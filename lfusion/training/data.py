"""Labelled images on the working grid, held in memory, with soft class targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lfusion.errors import DatasetError, TrainingError
from lfusion.image import Case, Dataset
from lfusion.model.input import InputSpec, resample
from lfusion.types import LabelMap

ELLIPSE_COLUMNS = tuple(f"ellipse_{name}" for name in ("cx", "cy", "d1_px", "d2_px", "angle_deg"))


@dataclass(frozen=True, eq=False)
class Sample:
    """One image on the working grid.

    Attributes:
        id: the case's id.
        image: [1, h, w] in [0, 1].
        sector: [1, h, w], 1 inside the ultrasound fan.
        target: [C − 1, h, w], share of each foreground class in a pixel; [0, h, w] when nobody has
            labelled the image.
        weight: [1, h, w], how much each pixel counts in a training; None when all count alike.
        share: how often it is drawn in a training, relative to the others.
        not_annotated: numbers of the classes that nobody looked for in this image.
    """

    id: str
    image: Tensor
    sector: Tensor
    target: Tensor
    weight: Tensor | None = None
    share: float = 1.0
    not_annotated: tuple[int, ...] = ()


def ellipse_mask(case: Case, height: int, width: int) -> LabelMap | None:
    """Draw the head from the `ellipse_*` columns of `meta.csv`, or return None without them.

    The drawn line of a sonographer is some pixels wide and its mask too large by half of it;
    the ellipse is the true curve, so HC learned from it is unbiased.
    """
    texts = [case.meta.get(name, "") for name in ELLIPSE_COLUMNS]
    if not all(texts):
        return None
    try:
        cx, cy, d1, d2, angle = (float(text) for text in texts)
    except ValueError as error:
        raise DatasetError(
            f"{case.id}: expected numbers in the columns {', '.join(ELLIPSE_COLUMNS)}: {error}"
        ) from error
    y, x = np.mgrid[:height, :width].astype(np.float64)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    u, v = (x - cx) * cos + (y - cy) * sin, (y - cy) * cos - (x - cx) * sin
    inside: LabelMap = ((2 * u / d1) ** 2 + (2 * v / d2) ** 2 <= 1).astype(np.uint8)
    return inside


def load_sample(case: Case, spec: InputSpec, stride: int, classes: int) -> Sample:
    """Read a labelled case and bring it to the working grid.

    Raises:
        TrainingError: the mask holds a class number that the labels do not name.
    """
    image = case.read()
    height, width = image.pixels.shape
    mask = ellipse_mask(case, height, width) if classes == 2 else None
    if mask is None:
        mask = case.read_mask()
    if int(mask.max()) >= classes:
        raise TrainingError(
            f"{case.id}: its mask holds class {int(mask.max())}, but the labels name only "
            f"1 to {classes - 1}; add the class to labels.json or correct the mask"
        )
    size = spec.working_size(height, width, stride)
    shares = np.stack([mask == c for c in range(1, classes)]).astype(np.float32)
    planes = np.concatenate((image.pixels[None], image.sector[None].astype(np.float32), shares))
    small = resample(torch.from_numpy(planes)[None], size)[0].clamp(0.0, 1.0)
    return Sample(case.id, small[:1], (small[1:2] > 0.5).float(), small[2:])


def load_samples(dataset: Dataset, spec: InputSpec, stride: int, classes: int) -> list[Sample]:
    """Load every labelled case of a dataset.

    Raises:
        TrainingError: nothing in the dataset is labelled.
    """
    samples = [load_sample(case, spec, stride, classes) for case in dataset.labelled()]
    if not samples:
        raise TrainingError(
            f"expected labelled images in {dataset.root or 'the dataset'}, found none of "
            f"{len(dataset)} with a mask; label at least one"
        )
    return samples


def load_unlabelled(dataset: Dataset, spec: InputSpec, stride: int) -> list[Sample]:
    """Load every case of a dataset that has no mask.

    Raises:
        TrainingError: all of them have one.
    """
    samples = []
    for case in dataset.unlabelled():
        image = case.read()
        planes = np.stack((image.pixels, image.sector.astype(np.float32)))
        height, width = image.pixels.shape
        size = spec.working_size(height, width, stride)
        small = resample(torch.from_numpy(planes)[None], size)[0].clamp(0.0, 1.0)
        samples.append(Sample(case.id, small[:1], (small[1:] > 0.5).float(), small[:0]))
    if not samples:
        raise TrainingError(
            f"expected images without a mask in {dataset.root or 'the dataset'}, found none among "
            f"{len(dataset)}; add some, or leave semi-supervised training off"
        )
    return samples


def shuffled_batches(
    samples: Sequence[Sample], size: int, chance: torch.Generator
) -> Iterator[list[Sample]]:
    """Yield batches without end; each pass over the samples is a new permutation.

    One of share 2.5 is in each pass two or three times.
    """
    shares = torch.tensor([s.share for s in samples])
    uneven = bool((shares != 1).any())
    queue: list[int] = []
    while True:
        while len(queue) < size:
            order = torch.randperm(len(samples), generator=chance)
            if uneven:
                times = (shares + torch.rand(len(samples), generator=chance)).floor().long()
                order = order.repeat_interleave(times[order])
                order = order[torch.randperm(len(order), generator=chance)]
            queue += order.tolist()
        chosen, queue = queue[:size], queue[size:]
        yield [samples[i] for i in chosen]


def collate(samples: Iterable[Sample]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Stack samples of any size, padded at the bottom right.

    Returns:
        image [B, 1, h, w]; sector [B, 1, h, w]; target [B, C, h, w] with the background first;
        valid [B, 1, h, w], 1 where a sample has pixels.
    """
    items = list(samples)
    height = max(s.image.shape[-2] for s in items)
    width = max(s.image.shape[-1] for s in items)

    def pad(x: Tensor) -> Tensor:
        return functional.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))

    foreground = torch.stack([pad(s.target) for s in items])
    return (
        torch.stack([pad(s.image) for s in items]),
        torch.stack([pad(s.sector) for s in items]),
        with_background(foreground),
        torch.stack([pad(torch.ones_like(s.image)) for s in items]),
    )


def with_background(foreground: Tensor) -> Tensor:
    """Return the shares of all classes [..., C, h, w], given the foreground [..., C − 1, h, w]."""
    return torch.cat((1 - foreground.sum(-3, keepdim=True), foreground), -3)


def to_grid(planes: Tensor, stride: int) -> Tensor:
    """Average [batch, channel, h, w] over the cells of the feature grid."""
    return functional.avg_pool2d(planes, stride, ceil_mode=True)
