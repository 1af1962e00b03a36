"""Retraining: the curve, how long it takes, which model is served."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QProgressBar, QSpinBox, QWidget

from lfusion.protocol import ScoringStatus, TrainingPoint, TrainingStatus
from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.ui.actions import Actions
from napari_lfusion.ui.style import column, label, row

LOSS_COLOR, DICE_COLOR = "#E69F00", "#56B4E9"


class TrainingPanel(QWidget):
    """Starts, shows and stops trainings.

    Args:
        annotator: Whose server.
        actions: For the buttons.
    """

    def __init__(self, annotator: Annotator, actions: Actions) -> None:
        super().__init__()
        self._annotator = annotator
        self._actions = actions
        self._model = label("", "quiet")
        self._what = label()
        self._progress = QProgressBar()
        self.curve = Curve()
        self.every = QSpinBox()
        self.every.setRange(0, 1000)
        self.every.setSpecialValueText("by hand only")
        self.every.setPrefix("after ")
        self.every.setSuffix(" submissions")
        self.every.setToolTip("Retrain by itself after so many submissions; 0 for by hand only")
        self.every.valueChanged.connect(self._set_every)
        layout = column(
            label("Model", "title"),
            self._model,
            row(actions.button("train", primary=True), actions.button("stop"), stretch=True),
            row(label("Retrain"), self.every, stretch=True),
            self._what,
            self._progress,
            self.curve,
            parent=self,
        )
        layout.addStretch(1)
        annotator.training.changed.connect(self._show)
        annotator.training.scoring_changed.connect(self._show_scoring)
        annotator.link.state_changed.connect(self._on_state)
        self._show(annotator.training.latest)

    def _set_every(self, number: int) -> None:
        self._annotator.training.every = number

    def _on_state(self, _: object) -> None:
        info = self._annotator.link.info
        if info is None or info.capabilities is None:
            self._model.setText("no model version is told")
        else:
            self._model.setText(f"model {info.capabilities.checkpoint_id[:12]}")
        self.every.setEnabled(info is not None and info.trainable)

    def _show(self, status: TrainingStatus) -> None:
        self._what.setText(_sentence(status))
        running = status.status == "running"
        self._progress.setVisible(running)
        self._progress.setRange(0, max(status.steps, 1) if status.steps else 0)
        self._progress.setValue(status.step)
        self.curve.show_points(status.history)
        self._actions.refresh()

    def _show_scoring(self, status: ScoringStatus) -> None:
        if status.status == "running":
            self._what.setText(f"ranking anew: {status.done} of {status.total} images")
        elif status.status == "done":
            self._what.setText(f"the queue is ranked by model {(status.checkpoint_id or '')[:12]}")


class Curve(QWidget):
    """Loss and validation Dice over the steps."""

    def __init__(self) -> None:
        super().__init__()
        self._points: list[TrainingPoint] = []
        self.setMinimumHeight(150)
        self.setAccessibleName("Training curve")

    def show_points(self, points: list[TrainingPoint]) -> None:
        """Show another curve.

        Args:
            points: In order of the steps.
        """
        self._points = points
        self.setToolTip(
            "" if not points else f"{len(points)} points, the last at step {points[-1].step}"
        )
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint both curves, each on a scale of its own."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(6, 22, self.width() - 12, self.height() - 30)
        painter.setPen(QColor("#6a6f78"))
        painter.drawRect(area)
        if not self._points:
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "no training yet")
        loss = [(p.step, p.loss) for p in self._points if p.loss is not None]
        dice = [(p.step, p.dice) for p in self._points if p.dice is not None]
        self._line(painter, area, loss, LOSS_COLOR, "loss", Qt.AlignmentFlag.AlignLeft)
        self._line(painter, area, dice, DICE_COLOR, "Dice", Qt.AlignmentFlag.AlignRight)
        painter.end()

    def _line(
        self,
        painter: QPainter,
        area: QRectF,
        values: list[tuple[int, float]],
        color: str,
        name: str,
        side: Qt.AlignmentFlag,
    ) -> None:
        if not values:
            return
        last = max(1, self._points[-1].step)
        low, high = min(value for _, value in values), max(value for _, value in values)
        span = (high - low) or 1.0
        line = QPolygonF(
            [
                QPointF(
                    area.left() + area.width() * step / last,
                    area.bottom() - 4 - (area.height() - 8) * (value - low) / span,
                )
                for step, value in values
            ]
        )
        painter.setPen(QPen(QColor(color), 2))
        painter.drawPolyline(line)
        if len(values) == 1:
            painter.drawEllipse(line[0], 3, 3)
        painter.drawText(
            QRectF(area.left(), 2, area.width(), 18), side, f"{name} {values[-1][1]:.4g}"
        )


def _sentence(status: TrainingStatus) -> str:
    """What the training does, in words."""
    match status.status:
        case "running":
            left = "" if status.seconds_left is None else f", {_duration(status.seconds_left)} left"
            steps = f" {status.step} of {status.steps}" if status.steps else ""
            return f"{status.stage or 'starting'}{steps}{left}, from {len(status.images)} labels"
        case "done":
            dice = "" if status.dice is None else f", Dice {status.dice:.3f}"
            return f"trained in {_duration(status.seconds)}{dice}"
        case "failed":
            return f"failed: {status.error}; the served model is as it was"
        case "stopped" | "interrupted":
            return f"{status.status}; the served model is as it was"
        case _:
            return "no training since the server started"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
