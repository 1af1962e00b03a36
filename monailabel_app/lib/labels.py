"""The one check that every label passes: uploaded, hand-placed, imported, or learned from.

PNG from a script, `.nii.gz` or `.seg.nrrd` from 3D Slicer and `.nrrd` all become [H, W] class
numbers of the model on the grid of the image. A cine is labelled in its middle frame, which is
the one that stands for it, or by a volume with a slice for each of its frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfusion.errors import DatasetError, ImageError
from lfusion.image.classes import check_class_numbers
from lfusion.image.formats import MASK_SUFFIXES, suffix_of
from lfusion.image.masks import read_placed_mask
from lfusion.types import LabelMap
from monailabel_app.lib.errors import LabelError

_LOSSY = {".jpg": "JPEG", ".jpeg": "JPEG", ".dcm": "DICOM", ".dicom": "DICOM"}
"""Formats of images that hold no class numbers."""


def read_label(label: Path, image: Path, label_info: object, labels: Mapping[str, int]) -> LabelMap:
    """A label in the class numbers of the model; of a cine that of its middle frame.

    Args, errors: As of `read_label_frames`.

    Returns:
        [H, W] class numbers of the model.
    """
    masks = read_label_frames(label, image, label_info, labels)
    return masks[len(masks) // 2]


def read_label_frames(
    label: Path, image: Path, label_info: object, labels: Mapping[str, int]
) -> tuple[LabelMap, ...]:
    """A label in the class numbers of the model, laid on its image by geometry.

    3D Slicer numbers the segments of a label by their order in `label_info`,
    whatever class numbers the model has, so named segments are mapped by order. Segments of a
    `.seg.nrrd` are mapped by the names in the file.

    Args:
        label: The label file.
        image: The image that it is a label of.
        label_info: `[{"name": ...}, ...]` as saved with the label, or anything
            else when it was saved without names.
        labels: Class number by name of the model.

    Returns:
        [H, W] class numbers of the model, of each frame or of the middle one alone.

    Raises:
        LabelError: The file is no label of this image: of another format, size, place, number of
            slices, or with values or segments that are no classes of the model.
        ImageError: The image cannot be read.
    """
    if suffix_of(label) not in MASK_SUFFIXES:
        kind = _LOSSY.get(suffix_of(label), "this format")
        raise LabelError(
            f"expected a label whose name ends in {', '.join(MASK_SUFFIXES)}; {kind} does not "
            "keep class numbers; save the label as PNG"
        )
    try:
        placed = read_placed_mask(label, image, labels)
    except ImageError as error:
        if error.path == image:
            raise
        raise LabelError(error.reason) from error
    masks = tuple(placed.frames)
    if placed.named:
        return masks
    names = _segment_names(label_info)
    return tuple(_named(mask, names, labels) for mask in masks)


def _named(mask: LabelMap, names: Sequence[str], labels: Mapping[str, int]) -> LabelMap:
    """The mask in class numbers of the model, segments by their names where there are some."""
    if not names:
        return _checked(mask, labels)
    mapped = np.zeros_like(mask)
    for value in np.unique(mask[mask > 0]).tolist():
        name = names[value - 1] if value <= len(names) else "unnamed"
        if name not in labels:
            raise LabelError(
                f"expected segments named {', '.join(labels)}; segment {value} is {name!r}; "
                "rename it and save again"
            )
        mapped[mask == value] = labels[name]
    return mapped


def _checked(mask: LabelMap, labels: Mapping[str, int]) -> LabelMap:
    """The mask, when each of its values is a class of the model."""
    try:
        check_class_numbers(np.unique(mask).tolist(), labels)
    except DatasetError as error:
        raise LabelError(str(error)) from error
    return mask


def _segment_names(label_info: object) -> Sequence[str]:
    """Names in order; empty when the label was saved without."""
    if not isinstance(label_info, list):
        return ()
    entries: list[Any] = label_info
    return [str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry]
