"""One case's content in the place of another's."""

from __future__ import annotations

from collections.abc import Mapping

from napari.layers import Labels, Layer

from lfusion.types import LabelMap
from napari_lfusion.colormaps import class_colormap
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


def see(layer: Layer, visible: bool) -> None:
    """Show a layer or hide it; napari builds its whole scene anew even when nothing changes.

    Args:
        layer: Any.
        visible: Whether it is seen.
    """
    if layer.visible is not visible:
        layer.visible = visible


def name_classes(layer: Labels, labels: Mapping[str, int]) -> None:
    """Give the mask's layer the classes' colours and names.

    Args:
        layer: The mask's.
        labels: Class number by name.
    """
    colors = class_colormap(max(1, len(labels)))
    if layer.colormap is not colors:  # a new one has the shaders compiled again
        layer.colormap = colors
    # napari shows these names in its status bar
    layer.features = {"index": [0, *labels.values()], "name": ["background", *labels]}
    if layer.selected_label not in labels.values():
        layer.selected_label = min(labels.values(), default=1)
