"""How the open case is looked at: map, threshold, gate, before or after, camera."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_lfusion.controller.drawing import draw_frame
from napari_lfusion.controller.mask import MaskEditor
from napari_lfusion.controller.review import RegionReview
from napari_lfusion.core.case import OpenCase
from napari_lfusion.core.regions import Region, suggested_threshold
from napari_lfusion.layers import MAPS, LayerStack, Role, see

if TYPE_CHECKING:
    from napari.components import ViewerModel

LOWEST, HIGHEST = 0.02, 0.98
"""Ends of the threshold, as shares of a map's scale."""
_CLOSEST = 3.0
"""A region is shown at most this much larger than the whole image."""
_CONTEXT = 4.0
"""A region is shown with surroundings of this many times its size."""


class View:
    """One threshold drives the map's alpha, the regions and the brush gate together.

    Args:
        viewer: Whose camera.
        stack: The layers.
        editor: Whose brush is gated.
        review: Whose regions are cut.
    """

    changed = Signal()
    """Another map, threshold, gate, or before instead of after."""

    def __init__(
        self, viewer: ViewerModel, stack: LayerStack, editor: MaskEditor, review: RegionReview
    ) -> None:
        self.threshold = 0.5
        """Share of the map's scale from which on a pixel counts as unsure."""
        self.automatic = True
        """Whether each map begins at a threshold that suits it, until somebody moves it."""
        self.role: Role | None = None
        """The map that regions and gate go by; stays when the map itself is hidden."""
        self.gated = False
        self.before = False
        """Whether the proposal is shown instead of the mask."""
        self._viewer = viewer
        self._stack = stack
        self._editor = editor
        self._review = review
        self._case: OpenCase | None = None
        self._fit_zoom = 1.0
        review.selected.connect(self._on_region)

    def begin(self, case: OpenCase | None) -> None:
        """Look at a new case, whole and as it is now; or at none.

        Args:
            case: Its layers are there.
        """
        self._case = case
        self.before = self.gated = False
        self.role = None if case is None else self._stack.visible_map
        if case is not None:
            see(self._stack.labels, True)
            self._review.begin(case.image.pixels.shape)
            self._suggest()
            self._cut()
            self._viewer.fit_to_view(layers=[self._stack.layer(Role.IMAGE)])
            self._fit_zoom = self._viewer.scene.camera.zoom
        self.changed.emit()

    @property
    def maps(self) -> tuple[Role, ...]:
        """The maps that this case has."""
        return tuple(self._stack.limits)

    @property
    def shown(self) -> Role | None:
        """The map that is seen."""
        return self._stack.visible_map

    @property
    def limits(self) -> tuple[float, str] | None:
        """Upper end of the scale that the threshold is a share of, nats, and where it is from."""
        limits = self._stack.limits.get(self.role) if self.role else None
        return None if limits is None else (limits.upper, limits.source)

    @property
    def threshold_nats(self) -> float | None:
        """The threshold on the map's scale; None without a map."""
        limits = self._stack.limits.get(self.role) if self.role else None
        return None if limits is None else self.threshold * limits.upper

    def show_map(self, role: Role | None) -> None:
        """Show another map, or none; regions and gate follow the map that is shown.

        Args:
            role: Which.
        """
        self._stack.show_map(role)
        if role in self._stack.limits:
            self.role = role
            self._suggest()
            self._cut()
        self.changed.emit()

    def next_map(self) -> None:
        """Show the next map, after the last one none."""
        ring = [*(role for role in MAPS if role in self._stack.limits), None]
        self.show_map(ring[(ring.index(self._stack.visible_map) + 1) % len(ring)])

    def set_threshold(self, share: float) -> None:
        """Move what counts as unsure: the map's alpha, the regions and the gate together.

        Args:
            share: Of the map's colour scale, cut to its ends.
        """
        self.automatic = False
        self.threshold = min(max(share, LOWEST), HIGHEST)
        if self._case is not None:
            self._cut()
        self.changed.emit()

    def set_gate(self, gated: bool) -> None:
        """Let the brush paint only where the map is above the threshold, or everywhere.

        Args:
            gated: Whether.
        """
        self.gated = gated and self.role is not None
        self._editor.gate = self._review.regions.above if self.gated else None
        self.changed.emit()

    def show_before(self, before: bool) -> None:
        """Show the proposal in place of the mask, or the mask again.

        Args:
            before: Whether the proposal.
        """
        if self._case is None:
            return
        self.before = before
        see(self._stack.layer(Role.PROPOSAL), before)
        see(self._stack.labels, not before)
        self.changed.emit()

    def _suggest(self) -> None:
        limits = self._stack.limits.get(self.role) if self.role else None
        if not self.automatic or self._case is None or self.role is None or limits is None:
            return
        suggested = suggested_threshold(self._case.proposal.maps[self.role.value])
        self.threshold = min(max(suggested / limits.upper, LOWEST), HIGHEST)

    def _cut(self) -> None:
        self._stack.set_threshold(self.threshold)
        threshold = self.threshold_nats
        if self._case is None or self.role is None or threshold is None:
            return
        self._review.show(self._case.proposal.maps[self.role.value], threshold)
        self.set_gate(self.gated)

    def _on_region(self, region: Region | None) -> None:
        if self._case is None:
            return
        draw_frame(self._stack, region)
        if region is not None:
            self._focus(region)

    def _focus(self, region: Region) -> None:
        image = self._stack.layer(Role.IMAGE)
        top, left, bottom, right = region.box
        height, width = image.data.shape
        closer = min(height / (_CONTEXT * (bottom - top)), width / (_CONTEXT * (right - left)))
        self._viewer.scene.camera.center = image.data_to_world(region.centroid)
        self._viewer.scene.camera.zoom = self._fit_zoom * min(max(closer, 1.0), _CLOSEST)
