"""Measurements that follow the mask: worked out in the background, drawn as shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from psygnal import Signal

from lfusion.biometry import AngleOfProgression, measure_angle
from lfusion.errors import LFusionError
from lfusion.image import UltrasoundImage
from lfusion.types import LabelMap
from napari_lfusion.controller.drawing import draw_measurements
from napari_lfusion.controller.requests import Requests
from napari_lfusion.core.case import OpenCase
from napari_lfusion.core.measure import HEAD_LABEL, Change, compare, measure
from napari_lfusion.layers import LayerStack

SYMPHYSIS_LABEL = "pubic symphysis"
"""With it and the head the angle of progression is measured."""
_TOPIC = "measurement"


@dataclass(frozen=True)
class Measured:
    """What is known of the mask on screen.

    Attributes:
        change: Against the proposal, with the head before and after.
        angle: Of progression; None when the labels lack one of its structures.
    """

    change: Change
    angle: AngleOfProgression | None


def measure_mask(
    proposal: LabelMap,
    mask: LabelMap,
    labels: Mapping[str, int],
    image: UltrasoundImage,
) -> Measured:
    """Measure a mask beside the proposal it came from.

    Args:
        proposal: [height, width] class numbers.
        mask: [height, width] class numbers on screen.
        labels: Class number by name.
        image: Gives the pixel size where each of them lies.

    Returns:
        Everything that is shown of it.
    """
    first, now = image.calibration(proposal), image.calibration(mask)
    before = measure(proposal, labels, first.pixel_size_mm, first.note)
    change = compare(before, proposal, mask, labels, now.pixel_size_mm, now.note)
    bone, head = labels.get(SYMPHYSIS_LABEL), labels.get(HEAD_LABEL)
    if bone is None or head is None:
        return Measured(change, None)
    return Measured(change, measure_angle(mask == bone, mask == head, now.pixel_size_mm))


class LiveMeasurement:
    """Measures again whenever it is told that the mask changed, one mask at a time.

    A mask that changes while another is measured waits, and only the newest does: a measurement
    for each dab would take the time from the painting.

    Args:
        stack: Where it is drawn.
        requests: Where it is worked out.
    """

    changed = Signal(object)
    """`Measured`, or None while nothing is known."""

    def __init__(self, stack: LayerStack, requests: Requests) -> None:
        self.latest: Measured | None = None
        """What was measured last."""
        self.visible = True
        """Whether it is drawn."""
        self._stack = stack
        self._requests = requests
        self._next: Callable[[], Measured] | None = None

    def update(self, case: OpenCase, labels: Mapping[str, int], mask: LabelMap) -> None:
        """Measure.

        Args:
            case: The open one.
            labels: Class number by name.
            mask: [height, width] on screen; copied.
        """
        image, proposal, copy = case.image, case.proposal.mask, mask.copy()
        self._next = lambda: measure_mask(proposal, copy, dict(labels), image)
        if _TOPIC not in self._requests.topics:
            self._go_on()

    def clear(self) -> None:
        """Nothing is measured: no case is open, or another one will be."""
        self._requests.drop(_TOPIC)
        self._next = None
        self.latest = None
        self.changed.emit(None)

    def toggle(self) -> None:
        """Draw it, or draw it no longer."""
        self.visible = not self.visible
        self._draw()

    def _go_on(self) -> None:
        if self._next is not None:
            work, self._next = self._next, None
            self._requests.ask(_TOPIC, work, self._show, self._on_failed)

    def _show(self, measured: Measured) -> None:
        self.latest = measured
        self._draw()
        self.changed.emit(measured)
        self._go_on()

    def _on_failed(self, error: LFusionError) -> None:
        self.latest = None
        self.changed.emit(None)
        self._go_on()

    def _draw(self) -> None:
        if not self._stack.alive:  # an answer that came after the window was closed
            return
        shown = self.latest if self.visible else None
        head = None if shown is None else shown.change.after
        draw_measurements(self._stack, head, None if shown is None else shown.angle)
