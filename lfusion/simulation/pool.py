"""The images that a simulated annotator labels, and those that everything is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import DatasetError
from lfusion.image import Case, Dataset, UltrasoundImage
from lfusion.image.image import Geometry
from lfusion.measurement import reference_hc
from lfusion.model import Encoder, EncoderConfig
from lfusion.model.input import InputSpec
from lfusion.model.reference import appearance_of
from lfusion.training.data import Sample, load_sample
from lfusion.training.reference import reference_of
from lfusion.types import LabelMap

OnImage = Callable[[int, int], None]
"""Called with (images read, images)."""


@dataclass(frozen=True, eq=False)
class PoolImage:
    """An image whose mask is known to the oracle alone.

    Attributes:
        id: of the case.
        group: examination or patient; None: of its own.
        image: on the working grid, so that a round takes seconds and not minutes.
        sample: the same as a training sees it.
        embedding: what it looks like to the frozen encoder, [features].
    """

    id: str
    group: str | None
    image: UltrasoundImage
    sample: Sample
    embedding: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class HeldOutImage:
    """An image that measures a model, in native pixels.

    Attributes:
        id: of the case.
        image: as it was read.
        mask: its reference.
        hc_mm: circumference that the data set gives; None without one.
    """

    id: str
    image: UltrasoundImage
    mask: LabelMap
    hc_mm: float | None


def read_pool(
    dataset: Dataset,
    spec: InputSpec,
    stride: int,
    pretrained: Encoder,
    config: EncoderConfig,
    on_image: OnImage,
) -> list[PoolImage]:
    """Read every labelled image of a data set on the working grid.

    Args:
        dataset: at least one labelled image; its labels name the classes.
        spec: the working grid.
        stride: pixels of it per cell of the feature grid.
        pretrained: encoder with the weights that every training starts from.
        config: of it.
        on_image: called after each image.

    Raises:
        DatasetError: nothing is labelled, or no class has a name.
        TrainingError: a mask holds a class without a name.
    """
    frozen = reference_of(pretrained, config)
    cases, classes = _labelled(dataset), _classes(dataset)
    images = []
    for number, case in enumerate(cases, start=1):
        sample = load_sample(case, spec, stride, classes)
        images.append(
            PoolImage(
                case.id,
                case.group,
                UltrasoundImage(
                    pixels=sample.image[0].numpy(),
                    pixel_size_mm=None,
                    sector=sample.sector[0].numpy() > 0.5,
                    geometry=Geometry.grid(),
                ),
                sample,
                appearance_of(frozen, case.read()).statistics.float().numpy(),
            )
        )
        on_image(number, len(cases))
    return images


def read_held_out(dataset: Dataset, on_image: OnImage) -> list[HeldOutImage]:
    """Read every labelled image of a data set in native pixels.

    Raises:
        DatasetError: nothing is labelled, or a circumference is no positive number.
    """
    cases, images = _labelled(dataset), []
    for number, case in enumerate(cases, start=1):
        images.append(HeldOutImage(case.id, case.read(), case.read_mask(), reference_hc(case)))
        on_image(number, len(cases))
    return images


def _labelled(dataset: Dataset) -> tuple[Case, ...]:
    cases = tuple(dataset.labelled())
    if not cases:
        raise DatasetError(
            f"expected images with masks in {dataset.root}, found none of {len(dataset)}: the "
            "simulated annotator needs them all"
        )
    return cases


def _classes(dataset: Dataset) -> int:
    if not dataset.labels:
        raise DatasetError(f"expected named classes in {dataset.root}; add labels.json")
    return max(dataset.labels.values()) + 1
