"""What is known of the open case: why it came, how large the head is, what to do."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.controller.measuring import Measured
from napari_lfusion.controller.sentences import (
    angle_line,
    change_line,
    head_line,
    interval_line,
    places_line,
    two_signals,
    unusual_line,
    why_line,
)
from napari_lfusion.ui.style import column, framed, label


class FactsPanel(QWidget):
    """Dice-free facts.

    Args:
        annotator: Whose case.
    """

    def __init__(self, annotator: Annotator) -> None:
        super().__init__()
        self._annotator = annotator
        self._title = label("", "title")
        self._why = label("", "quiet")
        self._head = label("", "figure")
        self._interval = label("", "quiet")
        self._angle = label("", "figure")
        self._change = label("", "quiet")
        self._unusual = label()
        self._places = label("", "quiet")
        self._places.setToolTip(
            "unfamiliar: unlike normal images; unlearned: more labels would settle it; "
            "ambiguous: the image leaves it open"
        )
        self._advice = label()
        layout = column(
            self._title,
            self._why,
            self._head,
            self._interval,
            self._angle,
            self._change,
            framed(self._advice, "advice"),
            self._unusual,
            self._places,
            parent=self,
        )
        layout.setSpacing(3)
        annotator.case.opened.connect(self._on_opened)
        annotator.case.measurement.changed.connect(self._on_measured)

    def _on_opened(self) -> None:
        case = self._annotator.case.case
        assert case is not None, "it has just been opened"
        result = case.proposal.result
        self._title.setText(case.offer.image_id)
        self._why.setText(f"Why this one: {why_line(case.offer.why)}")
        self._advice.setText(two_signals(result))
        self._set(self._unusual, unusual_line(result))
        self._set(self._places, places_line(result))
        self._set(self._interval, interval_line(result.biometry if result else None))

    def _on_measured(self, measured: Measured | None) -> None:
        self._head.setText("measuring …" if measured is None else head_line(measured.change.after))
        self._set(self._angle, "" if measured is None else angle_line(measured.angle))
        self._set(self._change, "" if measured is None else change_line(measured.change))

    @staticmethod
    def _set(widget: QWidget, text: str) -> None:
        widget.setText(text)
        widget.setVisible(bool(text))
