"""A brush that paints only where the model is unsure."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from napari.layers import Labels

from lfusion.types import BoolMap, LabelMap

_BRUSHES = ("paint", "erase")


class BrushGate:
    """Undoes, within the same stroke, what the brush painted outside of the gate.

    napari's own brush does the painting. Inside the stroke's history block the pixels outside of
    the gate are put back after each of its events, so that a stroke stays one undo step and redo
    repeats exactly what was seen.

    Args:
        layer: The mask.
        gate: The pixels that may change, or None when everything may; asked once a stroke.
    """

    def __init__(self, layer: Labels, gate: Callable[[], BoolMap | None]) -> None:
        self._gate = gate
        self._before: LabelMap | None = None
        layer.mouse_drag_callbacks.insert(0, self._remember)
        layer.mouse_drag_callbacks.append(self._restore)
        # each change of mode appends napari's brush behind us, and we must see what it painted
        layer.events.mode.connect(lambda: self._stay_last(layer))

    def _stay_last(self, layer: Labels) -> None:
        layer.mouse_drag_callbacks.remove(self._restore)
        layer.mouse_drag_callbacks.append(self._restore)

    def _remember(self, layer: Labels, event: Any) -> None:
        gated = str(layer.mode) in _BRUSHES and self._gate() is not None
        self._before = layer.data.copy() if gated else None

    def _restore(self, layer: Labels, event: Any) -> Generator[None, None, None]:
        gate, before = self._gate(), self._before
        if gate is None or before is None:
            return
        closed = ~gate
        put_back(layer, before, closed)
        yield
        while event.type == "mouse_move":
            put_back(layer, before, closed)
            yield


def put_back(layer: Labels, before: LabelMap, where: BoolMap) -> None:
    """Write earlier pixels back, as an edit that the layer remembers.

    Args:
        layer: The mask.
        before: [height, width], what was there.
        where: [height, width], which pixels may be written.
    """
    changed = np.nonzero(where & (layer.data != before))
    if changed[0].size:
        layer.data_setitem(changed, before[changed])
