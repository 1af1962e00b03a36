"""The open case: its layers, its mask, its regions, its measurements."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from lfusion.types import LabelMap
from napari_lfusion.controller.mask import MaskEditor
from napari_lfusion.controller.measuring import LiveMeasurement
from napari_lfusion.controller.pointing import Click, Pointer
from napari_lfusion.controller.requests import Requests
from napari_lfusion.controller.review import RegionReview
from napari_lfusion.controller.tools import Tool, Tools
from napari_lfusion.controller.view import View
from napari_lfusion.core.case import BackendInfo, OpenCase, Proposal
from napari_lfusion.core.effort import Effort
from napari_lfusion.core.regions import Region, reversion
from napari_lfusion.layers import LayerStack

if TYPE_CHECKING:
    from napari.components import ViewerModel


class CaseController:
    """Everything that can be done to an open case, each edit as one undo step.

    Args:
        viewer: napari's viewer, or its model.
        requests: For what takes longer than a frame.
        clock: Seconds, monotonic.
    """

    opened = Signal()
    closed = Signal()
    edited = Signal()
    """The mask is another one."""
    clicked = Signal()
    """There are clicks that the model does not know yet."""
    alternative_changed = Signal()
    """Another mask is looked at, or none."""

    def __init__(
        self,
        viewer: ViewerModel,
        requests: Requests,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.case: OpenCase | None = None
        """What is open."""
        self.info: BackendInfo | None = None
        self.effort = Effort()
        self.alternative: LabelMap | None = None
        """A mask that is looked at and can be adopted."""
        self.stack = LayerStack(viewer)
        self.editor = MaskEditor(self.stack)
        self.review = RegionReview()
        self.pointer = Pointer(viewer, self.stack)
        self.view = View(viewer, self.stack, self.editor, self.review)
        self.tools = Tools(viewer, self.stack, self.pointer)
        self.measurement = LiveMeasurement(self.stack, requests)
        self._viewer = viewer
        self._clock = clock
        self._model_mask: LabelMap | None = None
        self._answered: tuple[Click, ...] = ()
        self._answers: list[tuple[LabelMap, LabelMap, tuple[Click, ...]]] = []
        self.editor.changed.connect(self._on_edited)
        self.editor.stroke.connect(self._on_stroke)
        self.pointer.added.connect(self._on_clicked)
        viewer.mouse_move_callbacks.append(self._on_move)

    def open(
        self,
        case: OpenCase,
        info: BackendInfo,
        recovered: LabelMap | None = None,
        effort: Effort | None = None,
    ) -> None:
        """Show a case and begin to edit it.

        Args:
            case: What to show.
            info: Labels and colour scale.
            recovered: The mask as it was when the program ended, instead of the case's own.
            effort: Work that went into it before.
        """
        self.editor.end()
        self.measurement.clear()
        self.case, self.info = case, info
        self.effort = Effort() if effort is None else effort
        self.alternative = None
        self._model_mask, self._answered, self._answers = case.proposal.mask, (), []
        scale = info.capabilities.epistemic_scale if info.capabilities else None
        mask = case.start if recovered is None else recovered
        self.stack.show(case, info.labels, mask, scale)
        self.editor.begin(case.start)
        self.pointer.replace(())
        self.pointer.frozen = False
        self.view.begin(case)
        self.tools.reset()
        self.measurement.update(case, info.labels, self.editor.data)
        self.opened.emit()

    def close(self) -> None:
        """Nothing is open any more; the layers wait, hidden, for the next case."""
        self.editor.end()
        self.case = None
        self.alternative = None
        self.view.begin(None)
        self.tools.reset()
        self.measurement.clear()
        self.stack.rest()
        self.closed.emit()

    def freeze(self, frozen: bool) -> None:
        """Take neither edits nor clicks while the case is on its way out, or take them again.

        Args:
            frozen: Whether it is on its way.
        """
        self.editor.freeze(frozen)
        self.pointer.frozen = frozen
        if not frozen and self.pointer.clicks != self._answered:
            self.clicked.emit()  # the answer came meanwhile, or never did

    def leave(self) -> None:
        """Take everything of ours out of the viewer, which would hold on to it."""
        self.stack.remove()
        self.pointer.leave()
        self._viewer.mouse_move_callbacks.remove(self._on_move)

    @property
    def mask(self) -> LabelMap:
        """[height, width] class numbers on screen; do not write into it."""
        return self.editor.data

    def choose(self, tool: Tool) -> None:
        """Take a tool in hand.

        Args:
            tool: Which.
        """
        if self.info is not None:
            self.tools.choose(tool, self._class_names())

    def next_class(self) -> None:
        """Paint the next class."""
        if self.info is not None and self.info.labels:
            self.tools.next_class(self._class_names())

    def accept(self) -> Region | None:
        """The region is good as it is; goes to the next one that waits.

        Returns:
            The region to look at now.
        """
        self._active()
        if self.review.current is not None:
            self.review.decide()
        return self.review.next_open()

    def revert(self) -> bool:
        """Put the proposal back into the region under review.

        Returns:
            Whether a region was under review.
        """
        region = self.review.current
        if self.case is None or region is None:
            return False
        self._active()
        where = self.review.regions.mask(region.number)
        self.editor.write_at(*reversion(self.mask, self.case.proposal.mask, where))
        self.review.decide()
        return True

    def show_alternative(self, mask: LabelMap | None) -> None:
        """Lay another mask's contour over the image.

        Args:
            mask: The mask, or None to take it away.
        """
        self.alternative = mask
        self.stack.show_alternative(mask)
        self.alternative_changed.emit()

    def adopt(self) -> bool:
        """Take the alternative over as one undo step.

        Returns:
            Whether there was one.
        """
        if self.alternative is None:
            return False
        self.effort = self.effort.adopt(self._clock())
        self.editor.write(self.alternative)
        self.show_alternative(None)
        return True

    def follow(self, proposal: Proposal) -> None:
        """Take over what the model makes of the clicks, as one undo step.

        Only what the clicks changed is written, so that strokes elsewhere stay.

        Args:
            proposal: The answer to all clicks so far.
        """
        assert self._model_mask is not None, "clicks belong to an open case"
        if self.pointer.frozen:
            return
        moved = np.nonzero(proposal.mask != self._model_mask)
        before = (self.mask.copy(), self._model_mask, self._answered)
        self._model_mask, self._answered = proposal.mask, self.pointer.clicks
        if self.editor.write_at(moved, proposal.mask[moved]):
            self._answers.append(before)
        self.stack.set_maps(proposal.maps)

    def take_back_click(self) -> tuple[Click, ...]:
        """Forget the last click or point of a scribble.

        Returns:
            The clicks that are left.
        """
        self.pointer.replace(self.pointer.clicks[:-1])
        return self.pointer.clicks

    def undo(self) -> None:
        """Take the last stroke or edit back; clicks go with their answer, lest they return."""
        if self.case is not None:
            self.effort = self.effort.undo(self._clock())
            self.editor.undo()
            if self._answers and np.array_equal(self.mask, self._answers[-1][0]):
                _, self._model_mask, self._answered = self._answers.pop()
                self.pointer.replace(self._answered)

    def redo(self) -> None:
        """Do the last undone stroke or edit again."""
        if self.case is not None:
            self.effort = self.effort.undo(self._clock())
            self.editor.redo()

    def _class_names(self) -> dict[int, str]:
        assert self.info is not None, "a case is open"
        return {number: name for name, number in self.info.labels.items()}

    def _on_edited(self) -> None:
        if self.case is not None and self.info is not None:
            self.measurement.update(self.case, self.info.labels, self.mask)
            self.edited.emit()

    def _on_stroke(self, changed_px: int) -> None:
        self.effort = self.effort.stroke(self._clock(), changed_px)

    def _on_clicked(self) -> None:
        self.effort = self.effort.click(self._clock())
        self.clicked.emit()

    def _on_move(self, viewer: object, event: object) -> None:
        self._active()

    def _active(self) -> None:
        if self.case is not None:
            self.effort = self.effort.active(self._clock())
