"""Label files as clients send them, read as class numbers of the model.

PNG from a script, `.nii.gz` from 3D Slicer and `.nrrd` all become [H, W] class
numbers on the grid of the image. A cine is labelled in its middle frame, which is
the one that stands for it, or by a volume with a slice for each of its frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lfusion.image import read_mask_frames
from lfusion.types import LabelMap
from monailabel_app.lib.errors import LabelError


def read_label(
    label: Path, label_info: object, labels: Mapping[str, int], frames: int = 1
) -> LabelMap:
    """A stored label in the class numbers of the model; of a cine that of its middle frame.

    Args, errors: As of `read_label_frames`.

    Returns:
        [H, W] class numbers of the model.
    """
    masks = read_label_frames(label, label_info, labels, frames)
    return masks[len(masks) // 2]


def read_label_frames(
    label: Path, label_info: object, labels: Mapping[str, int], frames: int = 1
) -> tuple[LabelMap, ...]:
    """A stored label in the class numbers of the model.

    3D Slicer numbers the segments of a label by their order in `label_info`,
    whatever class numbers the model has, so named segments are mapped by order.

    Args:
        label: The label file.
        label_info: `[{"name": ...}, ...]` as saved with the label, or anything
            else when it was saved without names.
        labels: Class number by name of the model.
        frames: Of the image.

    Returns:
        [H, W] class numbers of the model, of each frame or of the middle one alone.

    Raises:
        LabelError: A class number or the name of a drawn segment is unknown to the model, or the
            label has another number of slices.
        ImageError: The file cannot be read.
    """
    masks = read_mask_frames(label)
    if len(masks) not in (1, frames):
        raise LabelError(
            f"expected a label of one slice{f', or of {frames} for the frames' * (frames > 1)}; "
            f"got {len(masks)} slices; save a mask of the image itself"
        )
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
    unknown = set(np.unique(mask).tolist()) - {0, *labels.values()}
    if unknown:
        classes = ", ".join(f"{number} ({name})" for name, number in labels.items())
        raise LabelError(
            f"expected class numbers 0 (background), {classes}; got {max(unknown)}; save class "
            "numbers, not grey levels"
        )
    return mask


def _segment_names(label_info: object) -> Sequence[str]:
    """Names in order; empty when the label was saved without."""
    if not isinstance(label_info, list):
        return ()
    entries: list[Any] = label_info
    return [str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry]
