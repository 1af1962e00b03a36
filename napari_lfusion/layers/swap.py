"""One case's content in the place of another's."""

from __future__ import annotations

from napari.layers import Labels

from lfusion.types import LabelMap
from napari_lfusion.core.case import OpenCase


def units_of(case: OpenCase) -> tuple[str, str]:
    """Units of a case's axes.

    Args:
        case: With a pixel size or without.

    Returns:
        As napari names them.
    """
    return ("pixel", "pixel") if case.image.pixel_size_mm is None else ("mm", "mm")


def swap_and_forget(layer: Labels, mask: LabelMap) -> None:
    """Give the mask's layer another mask without the old one's history.

    napari keeps the history when `data` is set, and Ctrl+Z would then write pixels of the case
    before into this one; a layer that stops being editable forgets it, and its mode.

    Args:
        layer: The mask's.
        mask: [height, width] class numbers; copied.
    """
    mode = layer.mode
    layer.data = mask.copy()
    layer.editable = False
    layer.editable = True
    layer.mode = mode
