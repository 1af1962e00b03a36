"""Edits of the mask: one undo step each, and known to have changed by what the pixels are."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from numpy.typing import NDArray
from psygnal import Signal

from lfusion.types import BoolMap, LabelMap
from napari_lfusion.controller.gate import BrushGate
from napari_lfusion.layers import LayerStack, Role


class MaskEditor:
    """The mask of the open case as something to edit.

    Args:
        stack: The layers.
    """

    changed = Signal()
    """The pixels are others than before: after a stroke, an edit, an undo or a redo."""
    stroke = Signal(int)
    """Somebody painted; pixels that changed. Comes before `changed`."""

    def __init__(self, stack: LayerStack) -> None:
        self.gate: BoolMap | None = None
        """[height, width], where the brush paints; None for everywhere."""
        self._frozen = self._announced = False
        self._stack = stack
        self._start: LabelMap | None = None
        self._last: LabelMap | None = None
        self._programmatic = False
        stack.made.connect(self._on_made)

    @property
    def data(self) -> LabelMap:
        """[height, width] class numbers on screen, or last seen there; do not write into it."""
        if self._last is not None and not self._stack.alive:
            return self._last
        mask: LabelMap = self._stack.labels.data
        return mask

    @property
    def dirty(self) -> bool:
        """Whether the pixels differ from those that the case began with, whatever led there."""
        return self._start is not None and not np.array_equal(self._start, self.data)

    def begin(self, start: LabelMap) -> None:
        """Take what is on screen as the state of a new case.

        Args:
            start: [height, width], what the case began with; a recovered mask differs from it.
        """
        self._start, self._last = start, self.data.copy()

    def end(self) -> None:
        """No case is open: whatever happens to the layer is no edit."""
        self.gate, self._start, self._last = None, None, None
        self._frozen = False

    def freeze(self, frozen: bool) -> None:
        """Let nothing change the pixels, or let them be changed again.

        The layer stays editable all the same: napari would forget its history, and with it what
        could be undone when the case comes back.

        Args:
            frozen: Whether nothing may change them.
        """
        self._look()  # a stroke that is not over yet counts so far
        self._frozen = frozen

    def write(self, mask: LabelMap) -> bool:
        """Replace the whole mask as one undo step.

        Args:
            mask: [height, width] class numbers.

        Returns:
            Whether anything changed.
        """
        where = np.nonzero(mask != self.data)
        return self.write_at(where, mask[where])

    def write_at(
        self, where: tuple[NDArray[np.intp], ...], values: int | NDArray[np.uint8]
    ) -> bool:
        """Replace pixels as one undo step.

        Args:
            where: Rows and columns.
            values: Class numbers, one for each or one for all.

        Returns:
            Whether anything changed.
        """
        if self._frozen:
            return False
        self._set(where, values)
        return self._look() > 0

    def undo(self) -> None:
        """Take the last stroke or edit back."""
        self._stack.labels.undo()

    def redo(self) -> None:
        """Do the last undone stroke or edit again."""
        self._stack.labels.redo()

    def _on_made(self, role: Role, layer: Labels) -> None:
        if role is not Role.MASK:
            return
        BrushGate(layer, lambda: self.gate)
        layer.events.paint.connect(lambda: self._on_paint())
        layer.events.labels_update.connect(lambda: self._on_written())
        # undo and redo announce themselves by this one alone
        layer.events.set_data.connect(lambda: self._look())

    def _set(self, where: tuple[NDArray[np.intp], ...], values: int | NDArray[np.uint8]) -> None:
        layer = self._stack.labels
        self._programmatic = True
        try:
            with layer.block_history():
                layer.data_setitem(where, values)
        finally:
            self._programmatic = False

    def _on_paint(self) -> None:
        if self._programmatic:
            return
        # a polygon is announced before it is written, a stroke when it is over
        self._announced = not self._look(painted=True)

    def _on_written(self) -> None:
        if self._announced:
            self._announced = False
            self._look(painted=True)

    def _look(self, *, painted: bool = False) -> int:
        """Compare with what was seen last, and say so when it is another mask."""
        if self._last is None or self._programmatic:
            return 0
        different = self._last != self.data
        changed = int(np.count_nonzero(different))
        if changed and self._frozen:
            self._put_back(np.nonzero(different), painted=painted)
        elif changed:
            self._last = self.data.copy()
            if painted:
                self.stroke.emit(changed)
            self.changed.emit()
        return changed

    def _put_back(self, where: tuple[NDArray[np.intp], ...], *, painted: bool) -> None:
        assert self._last is not None, "there is something to put back"
        if painted:
            self._stack.labels.undo()
        else:  # an undo or a redo, and nobody knows which
            self._set(where, self._last[where])
