"""The layers of the open case in a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Layer, LayerLock, Points
from numpy.typing import NDArray
from psygnal import Signal

from lfusion.types import LabelMap
from napari_lfusion.colormaps import alpha_ramp
from napari_lfusion.core.case import OpenCase
from napari_lfusion.layers.build import BUILDERS
from napari_lfusion.layers.drawn import DRAWN, DrawnLayers
from napari_lfusion.layers.roles import MAPS, Role, mark
from napari_lfusion.layers.scale import MapLimits, map_limits
from napari_lfusion.layers.swap import name_classes, see, swap_and_forget, units_of

if TYPE_CHECKING:
    from napari.components import ViewerModel


class LayerStack:
    """Shows one case after the other in the same layers.

    Swapping the data of a layer reaches the screen several times faster than new layers do, and
    keeps what the annotator set: brush size, opacity, visibility. Layers that nobody sees are
    filled when they are shown. Layers of others are left alone, also those that have a role: a
    result that somebody opened, or a copy of one of ours.

    Args:
        viewer: napari's viewer, or its model where there is no window.
    """

    made = Signal(object, object)
    """Role and layer, whenever a layer is made."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._case: OpenCase | None = None
        self._layers: dict[Role, Layer] = {}
        """Those made last; somebody may have removed them from the viewer."""
        self._content: dict[Role, NDArray[Any]] = {}
        self._stale: set[Role] = set()
        self._hidden: dict[Role, bool] = {}
        self._threshold = 0.0
        self.drawn = DrawnLayers(self.layer)
        """Layers that a new case empties."""
        self.limits: dict[Role, MapLimits] = {}
        """Colour scale by map of the open case; without the maps that it does not have."""

    def show(
        self,
        case: OpenCase,
        labels: Mapping[str, int],
        mask: LabelMap,
        epistemic_scale: float | None = None,
    ) -> None:
        """Put a case on screen; the undo history of the one before is gone.

        Args:
            case: What to show.
            labels: Class number by name.
            mask: What to edit; copied.
            epistemic_scale: Upper end of the epistemic scale, nats.
        """
        self._case = case
        self._set_units(case)
        self._set_limits(case, 1 + len(labels), epistemic_scale)
        self._content = {
            Role.IMAGE: case.image.pixels,
            Role.PROPOSAL: case.proposal.mask,
            Role.ALTERNATIVE: np.zeros_like(mask),
            Role.MASK: mask,
            **{role: case.proposal.maps[role.value] for role in self.limits},
        }
        self._stale = set(BUILDERS)
        for role in DRAWN:
            self.drawn.empty(role)
        for role, visible in self._hidden.items():
            see(self.layer(role), visible)
        self._hidden = {}
        for role in (Role.PROPOSAL, Role.ALTERNATIVE):
            see(self.layer(role), False)
        seen = self.visible_map or MAPS[0]
        self.show_map(seen if seen in self.limits else next(iter(self.limits), None))
        for role in BUILDERS:
            if self.layer(role).visible or role is Role.MASK:
                self._fill(role)
        name_classes(self.labels, labels)
        self._viewer.canvas.overlays.scale_bar.visible = case.image.pixel_size_mm is not None
        self._viewer.layers.selection.active = self.labels

    def rest(self) -> None:
        """Hide the layers until the next case, which needs them again."""
        layers = {role: self._find(role) for role in BUILDERS}
        for role in DRAWN:
            if layers[role] is not None:
                self.drawn.empty(role)
        self._hidden = {role: layer.visible for role, layer in layers.items() if layer is not None}
        for layer in layers.values():
            if layer is not None:
                see(layer, False)

    def remove(self) -> None:
        """Take the layers out of the viewer: nobody is left who would fill them."""
        for role in BUILDERS:
            layer = self._find(role)
            if layer is not None:
                layer.locked = LayerLock.NONE
                self._viewer.layers.remove(layer)

    @property
    def alive(self) -> bool:
        """Whether the mask has its layer: not before a case, nor once the viewer was closed."""
        return self._find(Role.MASK) is not None

    @property
    def labels(self) -> Labels:
        """The mask that is edited."""
        return self.layer(Role.MASK)

    @property
    def points(self) -> Points:
        """The clicks."""
        return self.layer(Role.CLICKS)

    @property
    def visible_map(self) -> Role | None:
        """The map that is shown."""
        layers = {role: self._find(role) for role in MAPS}
        return next((role for role, layer in layers.items() if layer and layer.visible), None)

    def layer(self, role: Role) -> Layer:
        """The layer with a role, made again when somebody removed it.

        Args:
            role: What for.

        Returns:
            The layer.
        """
        layer = self._find(role)
        if layer is None:
            layer = BUILDERS[role]()
            mark(layer, role, case="", model_version="")
            if self._case is not None:
                layer.units = units_of(self._case)
            layer.locked = LayerLock.DELETION
            layer.events.visible.connect(lambda: self._on_visible(role))
            position = self._position(role)
            self._layers[role] = layer
            self._viewer.layers.insert(position, layer)
            self.made.emit(role, layer)
        return layer

    def show_map(self, role: Role | None) -> None:
        """Show one map and hide the others.

        Args:
            role: Which, or None for none.
        """
        for other in MAPS:
            see(self.layer(other), other is role and other in self.limits)

    def set_threshold(self, share: float) -> None:
        """Clear the maps below a threshold.

        Args:
            share: Of each map's colour scale, in [0, 1).
        """
        self._threshold = share
        for role in MAPS:
            if self.layer(role).visible:
                self.layer(role).colormap = alpha_ramp(share)
            else:
                self._stale.add(role)

    def set_maps(self, maps: Mapping[str, NDArray[np.float32]]) -> None:
        """Show new maps of the same case on the scales it has.

        Args:
            maps: By name; the others stay.
        """
        for role in self.limits:
            if role.value in maps:
                self._content[role] = maps[role.value]
                self._stale.add(role)
                if self.layer(role).visible:
                    self._fill(role)

    def show_alternative(self, mask: LabelMap | None) -> None:
        """Lay another mask's contour over the image, or take it away.

        Args:
            mask: The mask, or None.
        """
        layer = self.layer(Role.ALTERNATIVE)
        if mask is not None:
            self._content[Role.ALTERNATIVE] = mask
            self._stale.add(Role.ALTERNATIVE)
            self._fill(Role.ALTERNATIVE)
        see(layer, mask is not None)

    def _find(self, role: Role) -> Layer | None:
        made = self._layers.get(role)
        return next((layer for layer in self._viewer.layers if layer is made), None)

    def _set_units(self, case: OpenCase) -> None:
        """In all layers at once, before the next frame: napari warns of units that are mixed."""
        for role in BUILDERS:
            layer = self._find(role)
            if layer is not None:
                layer.units = units_of(case)

    def _set_limits(self, case: OpenCase, classes: int, epistemic_scale: float | None) -> None:
        maps = {role: case.proposal.maps.get(role.value) for role in MAPS}
        self.limits = {
            role: map_limits(role, values, classes, epistemic_scale)
            for role, values in maps.items()
            if values is not None
        }

    def _on_visible(self, role: Role) -> None:
        layer = self._find(role)
        if layer is not None and layer.visible:
            self._fill(role)

    def _fill(self, role: Role) -> None:
        """Give a layer the content of the open case, once."""
        if self._case is None or role not in self._stale:
            return
        self._stale.discard(role)
        layer = self.layer(role)
        mark(layer, role, self._case.offer.image_id, self._case.proposal.checkpoint_id or "")
        size = self._case.image.pixel_size_mm
        if tuple(layer.scale) != (size or (1.0, 1.0)):
            layer.scale = size or (1.0, 1.0)
        if role is Role.MASK:
            swap_and_forget(layer, self._content[role])
        elif role in MAPS:
            self._fill_map(layer, role)
        elif role in self._content:
            layer.data = self._content[role].copy()

    def _fill_map(self, layer: Layer, role: Role) -> None:
        assert self._case is not None, "only an open case is filled in"
        values = self._content.get(role)
        # a map that this case lacks must not show the one of the case before
        layer.data = np.zeros_like(self._case.image.pixels) if values is None else values
        if layer.colormap is not alpha_ramp(self._threshold):
            layer.colormap = alpha_ramp(self._threshold)
        if role in self.limits:
            layer.contrast_limits_range = self.limits[role][:2]
            layer.contrast_limits = self.limits[role][:2]

    def _position(self, role: Role) -> int:
        """Where a layer belongs among ours, so that a remade one finds its place."""
        order = list(BUILDERS)
        above = [self._find(other) for other in order[order.index(role) + 1 :]]
        places = [self._viewer.layers.index(layer) for layer in above if layer is not None]
        return min(places, default=len(self._viewer.layers))
