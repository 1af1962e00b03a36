"""Which map is shown, from which value on it counts, and the regions that it makes."""

from __future__ import annotations

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QSlider, QToolButton, QWidget

from napari_lfusion.colormaps import alpha_ramp
from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.layers import Role
from napari_lfusion.ui.actions import Actions
from napari_lfusion.ui.style import column, label, row

_STEPS = 100
_CHOICES: tuple[tuple[Role | None, str, str], ...] = (
    (Role.EPISTEMIC, "Epistemic", "What the model does not know yet: corrections teach it"),
    (Role.ALEATORIC, "Aleatoric", "What the image itself leaves open"),
    (Role.TOTAL, "Total", "Both together"),
    (None, "None", "The image alone"),
)


class MapPanel(QWidget):
    """Map selector, threshold, gate and region review.

    Args:
        annotator: Whose case.
        actions: For the buttons.
    """

    def __init__(self, annotator: Annotator, actions: Actions) -> None:
        super().__init__()
        self._annotator = annotator
        self._buttons = self._choices()
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(2, _STEPS - 2)
        self._slider.setToolTip("From here on a pixel counts as unsure (Shift+Up, Shift+Down)")
        self._slider.valueChanged.connect(self._on_slider)
        self._scale = ScaleBar()
        self._gate = QCheckBox("Paint only where unsure  G (hold)")
        self._gate.setToolTip("The brush changes only pixels above the threshold")
        self._gate.toggled.connect(annotator.case.view.set_gate)
        self._count = label("", "quiet")
        column(
            label("Uncertainty", "heading"),
            row(*self._buttons.values(), stretch=True),
            self._scale,
            self._slider,
            self._count,
            row(*(actions.button(n) for n in ("next_region", "accept", "revert")), stretch=True),
            self._gate,
            parent=self,
        )
        annotator.case.view.changed.connect(self.refresh)
        annotator.case.review.changed.connect(self.refresh)
        annotator.case.review.selected.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show what is chosen."""
        view = self._annotator.case.view
        for role, button in self._buttons.items():
            button.setEnabled(role is None or role in view.maps)
            button.setChecked(role is view.shown)
        self._slider.blockSignals(True)
        self._slider.setValue(round(view.threshold * _STEPS))
        self._slider.blockSignals(False)
        self._gate.blockSignals(True)
        self._gate.setChecked(view.gated)
        self._gate.blockSignals(False)
        for widget in (self._slider, self._gate):
            widget.setEnabled(bool(view.maps))
        self._scale.show_scale(view.limits, view.threshold)
        self._count.setText(self._regions())

    def _regions(self) -> str:
        review, view = self._annotator.case.review, self._annotator.case.view
        if not view.maps:
            return "no maps from this server"
        threshold = view.threshold_nats
        share = "" if threshold is None else f"from {threshold:.3g} nats on: "
        total = len(review.regions.items)
        if not total:
            return f"{share}nothing"
        here = "" if review.current is None else f"region {review.current.number} · "
        return f"{share}{here}{review.waiting} of {total} regions wait"

    def _choices(self) -> dict[Role | None, QToolButton]:
        group = QButtonGroup(self)
        buttons = {}
        for role, text, tip in _CHOICES:
            button = QToolButton()
            button.setText(text)
            button.setToolTip(f"{tip} (H: the next one)")
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, role=role: self._show(role))
            group.addButton(button)
            buttons[role] = button
        return buttons

    def _show(self, role: Role | None) -> None:
        self._annotator.case.view.show_map(role)

    def _on_slider(self, value: int) -> None:
        self._annotator.case.view.set_threshold(value / _STEPS)


class ScaleBar(QWidget):
    """The colour scale with its ends in nats and the threshold."""

    def __init__(self) -> None:
        super().__init__()
        self._ends: tuple[float, str] | None = None
        self._threshold = 0.0
        self.setFixedHeight(34)
        self.setAccessibleName("Colour scale of the map")

    def show_scale(self, ends: tuple[float, str] | None, threshold: float) -> None:
        """Show another scale.

        Args:
            ends: Its upper end in nats and where that comes from; None without a map.
            threshold: Share of it.
        """
        self._ends, self._threshold = ends, threshold
        text = "" if ends is None else f"0 to {ends[0]:.3g} nats ({ends[1]})"
        self.setToolTip(f"Colour scale: {text}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the gradient over mid grey, as it lies over the image."""
        if self._ends is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bar = QRectF(1, 1, self.width() - 2, 12)
        painter.fillRect(bar, QColor("#555555"))
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for index, color in enumerate(alpha_ramp(self._threshold).colors[::16]):
            gradient.setColorAt(index / 16, QColor.fromRgbF(*(float(part) for part in color)))
        painter.fillRect(bar, gradient)
        x = bar.left() + self._threshold * bar.width()
        painter.setPen(QPen(QColor("white"), 2))
        painter.drawLine(int(x), 0, int(x), 15)
        painter.setPen(self.palette().text().color())
        upper, source = self._ends
        below = QRectF(0, 15, self.width(), 18)
        left, right = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        painter.drawText(below, left, "0")
        painter.drawText(below, right, f"{upper:.3g} nats · {source}")
        painter.end()
