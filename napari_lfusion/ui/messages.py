"""One visible message for each failure, until it is read."""

from __future__ import annotations

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QFrame, QToolButton, QWidget

from napari_lfusion.ui.style import label, restyle, row

NEWS_MS = 6000
"""Good news leaves by itself; a failure stays until it is closed or replaced."""


class MessageBar(QFrame):
    """Shows the latest message.

    Args:
        parent: The widget it belongs to.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = label()
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        close = QToolButton()
        close.setText("✕")
        close.setToolTip("Close the message (Esc)")
        close.setShortcut("Esc")
        close.clicked.connect(self.hide)
        layout = row(self._text, close, stretch=True)
        layout.setStretch(1, 0)
        layout.setContentsMargins(8, 6, 6, 6)
        self.setLayout(layout)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.hide)
        self.hide()

    @property
    def text(self) -> str:
        """What is shown; empty when nothing is."""
        return "" if self.isHidden() else self._text.text()

    def show_failure(self, text: str) -> None:
        """Show what went wrong.

        Args:
            text: For people.
        """
        self._timer.stop()
        self._show(text, "message")

    def show_news(self, text: str) -> None:
        """Show that something went well, unless a failure is still to be read.

        Args:
            text: For people.
        """
        if not self.isHidden() and self.property("role") == "message":
            return
        self._show(text, "news")
        self._timer.start(NEWS_MS)

    def _show(self, text: str, role: str) -> None:
        self._text.setText(text[:1].upper() + text[1:])
        self.setProperty("role", role)
        restyle(self)
        self.show()
