"""The queue with pictures and reasons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QListWidget, QListWidgetItem, QWidget

from lfusion.protocol import Queue, QueueItem
from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.controller.queue import THUMBNAIL_PX
from napari_lfusion.controller.sentences import why_line
from napari_lfusion.ui.actions import Actions
from napari_lfusion.ui.style import column, label, row

_STATES = {
    "open": "",
    "leased": "taken",
    "labelled": "labelled",
    "skipped": "skipped",
    "flagged": "flagged",
    "unscored": "not scored yet",
    "unreadable": "cannot be read",
}


class QueuePanel(QWidget):
    """What comes next, and why.

    Args:
        annotator: Whose queue.
        actions: For the buttons.
    """

    def __init__(self, annotator: Annotator, actions: Actions) -> None:
        super().__init__()
        self._annotator = annotator
        self._strategies = QComboBox()
        self._strategies.setToolTip("The order of the queue (Shift+N: the next one)")
        self._strategies.activated.connect(self._choose)
        self._counts = label("", "quiet")
        self.list = QListWidget()
        self.list.setIconSize(QSize(THUMBNAIL_PX, THUMBNAIL_PX))
        self.list.setWordWrap(True)
        self.list.setUniformItemSizes(False)
        self.list.setSpacing(2)
        self.list.setToolTip("Double-click or press Enter to take an image by name")
        self.list.itemActivated.connect(self._take)
        buttons = row(actions.button("refresh"), actions.button("disconnect"))
        top = row(self._strategies, stretch=True)
        column(top, self._counts, self.list, buttons, parent=self)
        annotator.queue.changed.connect(self._show)
        annotator.queue.ordered.connect(lambda name: self._strategies.setCurrentText(name))
        annotator.queue.pictured.connect(self._picture)
        annotator.session.connected.connect(self._on_connected)

    def _on_connected(self) -> None:
        info = self._annotator.link.info
        assert info is not None, "it is connected"
        self._strategies.clear()
        self._strategies.addItems(info.strategies)
        self._strategies.setCurrentText(self._annotator.session.strategy)

    def _choose(self, index: int) -> None:
        self._annotator.queue.choose(self._strategies.itemText(index))

    def _take(self, item: QListWidgetItem) -> None:
        self._annotator.take(item.data(Qt.ItemDataRole.UserRole))

    def _show(self, queue: Queue | None) -> None:
        self.list.clear()
        if queue is None:
            self._counts.setText("")
            return
        self._counts.setText(_counts(queue))
        backend = self._annotator.link.backend
        me = "" if backend is None else backend.client_id
        for item in queue.items:
            self.list.addItem(_row(item, me))
        for image_id, picture in self._annotator.queue.thumbnails.items():
            self._picture(image_id, picture)

    def _picture(self, image_id: str, picture: NDArray[np.uint8]) -> None:
        for index in range(self.list.count()):
            item = self.list.item(index)
            if item.data(Qt.ItemDataRole.UserRole) == image_id:
                item.setIcon(QIcon(_pixmap(picture)))


def _counts(queue: Queue) -> str:
    names = [f"{number} {state}" for state, number in queue.counts.items() if number]
    return " · ".join(names) if names else "the pool is empty"


def _row(item: QueueItem, me: str) -> QListWidgetItem:
    state = _STATES[item.state]
    if item.state == "leased":
        state = "open here" if item.owner == me else f"taken by {item.owner}"
    note = " · ".join(part for part in (state, item.note) if part)
    why = why_line(item.why) if item.why else ""
    text = "\n".join(part for part in (item.id, note, why) if part)
    made = QListWidgetItem(QIcon(_pixmap(np.zeros((54, 72), np.uint8))), text)
    made.setData(Qt.ItemDataRole.UserRole, item.id)
    parts = [] if item.why is None else [f"{k}: {v:.4g}" for k, v in item.why.parts.items()]
    problem = f"label not used: {item.label_problem}" if item.label_problem else ""
    made.setToolTip("\n".join(part for part in ("\n".join(parts) or text, problem) if part))
    if item.state not in ("open", "unscored"):
        made.setForeground(QColor("#8a8f98"))
    return made


def _pixmap(picture: NDArray[np.uint8]) -> QPixmap:
    """A grey picture in the middle of a square, so that all rows begin in one line."""
    height, width = picture.shape
    square = np.zeros((THUMBNAIL_PX, THUMBNAIL_PX), np.uint8)
    height, width = min(height, THUMBNAIL_PX), min(width, THUMBNAIL_PX)
    top, left = (THUMBNAIL_PX - height) // 2, (THUMBNAIL_PX - width) // 2
    square[top : top + height, left : left + width] = picture[:height, :width]
    kind = QImage.Format.Format_Grayscale8
    return QPixmap.fromImage(QImage(square.tobytes(), *square.shape, THUMBNAIL_PX, kind).copy())
