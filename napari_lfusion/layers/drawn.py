"""Layers that others draw into: measurements, the frame of a region, clicks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from napari_lfusion.layers.roles import Role
from napari_lfusion.layers.swap import see

if TYPE_CHECKING:
    from napari.layers import Layer

DRAWN = (Role.MEASUREMENT, Role.REGION, Role.CLICKS)


class DrawnLayers:
    """Keeps them out of sight while they are empty: napari spends more on one than on an image.

    Args:
        layer: Finds or makes the layer with a role.
    """

    def __init__(self, layer: Callable[[Role], Layer]) -> None:
        self._layer = layer
        self._waiting: set[Role] = set()
        """Layers that we hid; those that somebody hid by hand stay hidden."""

    def empty(self, role: Role) -> None:
        """Take out what was drawn, and hide the layer until `show`.

        Args:
            role: Of a layer in `DRAWN`.
        """
        layer = self._layer(role)
        if layer.visible:
            self._waiting.add(role)
            see(layer, False)
        if len(layer.data):
            layer.data = []

    def show(self, role: Role) -> None:
        """Show what was drawn, unless somebody hid the layer.

        Args:
            role: Of a layer in `DRAWN`.
        """
        if role in self._waiting:
            self._waiting.discard(role)
            see(self._layer(role), True)
