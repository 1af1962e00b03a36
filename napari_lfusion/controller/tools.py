"""What the left mouse button does."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_lfusion.controller.pointing import BACKGROUND, Pointer
from napari_lfusion.layers import LayerStack

if TYPE_CHECKING:
    from napari.components import ViewerModel

SMALLEST_BRUSH, LARGEST_BRUSH = 1, 200


class Tool(StrEnum):
    """What the left mouse button does over the image."""

    PAN = "pan"
    PAINT = "paint"
    ERASE = "erase"
    INSIDE = "inside"
    OUTSIDE = "outside"


_MODES = {Tool.PAN: "pan_zoom", Tool.PAINT: "paint", Tool.ERASE: "erase"}


class Tools:
    """Chooses the tool, the class and the brush.

    Args:
        viewer: Whose canvas.
        stack: The layers.
        pointer: Gets clicks while a click tool is chosen.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, stack: LayerStack, pointer: Pointer) -> None:
        self.tool = Tool.PAN
        self._viewer = viewer
        self._stack = stack
        self._pointer = pointer

    def reset(self) -> None:
        """A case opened or closed: clicks end, the brush stays."""
        self._pointer.label = None
        self._viewer.scene.camera.mouse_pan = True
        if self.tool in (Tool.INSIDE, Tool.OUTSIDE):
            self.tool = Tool.PAN
        self.changed.emit()

    def choose(self, tool: Tool, names: dict[int, str]) -> None:
        """Take a tool; the mask becomes the active layer.

        Args:
            tool: Which.
            names: Class name by number; clicks inside mean the selected class.
        """
        labels = self._stack.labels
        self.tool = tool
        self._viewer.layers.selection.active = labels
        labels.mode = _MODES.get(tool, "pan_zoom")
        pointing = tool in (Tool.INSIDE, Tool.OUTSIDE)
        labels.mouse_pan = self._viewer.scene.camera.mouse_pan = tool is Tool.PAN
        inside = names.get(labels.selected_label, next(iter(names.values()), BACKGROUND))
        self._pointer.label = None
        if pointing:
            self._pointer.label = inside if tool is Tool.INSIDE else BACKGROUND
        self.changed.emit()

    def next_class(self, names: dict[int, str]) -> None:
        """Paint the next class, after the last one the first.

        Args:
            names: Class name by number.
        """
        labels, numbers = self._stack.labels, sorted(names)
        later = (number for number in numbers if number > labels.selected_label)
        labels.selected_label = next(later, numbers[0])
        self.choose(self.tool, names)

    def resize_brush(self, factor: float) -> None:
        """Make the brush larger or smaller.

        Args:
            factor: By how much; the size changes by a pixel at least.
        """
        labels = self._stack.labels
        size = round(labels.brush_size * factor)
        size = size if size != labels.brush_size else size + (1 if factor > 1 else -1)
        labels.brush_size = min(max(size, SMALLEST_BRUSH), LARGEST_BRUSH)
