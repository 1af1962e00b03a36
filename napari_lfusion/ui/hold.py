"""A key that counts while it is held, whichever panel has the focus."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
)

_TEXT = (QLineEdit, QTextEdit, QPlainTextEdit, QAbstractSpinBox)


class HeldKey(QObject):
    """Watches one key; Qt's shortcuts know nothing of releases.

    Args:
        key: A letter.
        tell: Is told whether the key is down.
        parent: With it this ends.
    """

    def __init__(self, key: str, tell: Callable[[bool], None], parent: QObject) -> None:
        super().__init__(parent)
        self._key = QKeySequence(key)[0].key()
        self._tell = tell
        self._down = False
        application = QApplication.instance()
        assert application is not None, "a widget needs an application"
        application.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """See every key of the application, and let go when the window does."""
        kind = event.type()
        if kind in (QEvent.Type.ApplicationDeactivate, QEvent.Type.WindowDeactivate):
            self._set(False)
        elif kind == QEvent.Type.KeyPress and self._is_ours(event):
            if isinstance(QApplication.focusWidget(), _TEXT):
                return False
            self._set(True)
            return True
        elif kind == QEvent.Type.KeyRelease and self._is_ours(event):
            self._set(False)
        return False

    def _is_ours(self, event: QEvent) -> bool:
        assert isinstance(event, QKeyEvent), "keys come as key events"
        return not event.isAutoRepeat() and event.key() == self._key and not event.modifiers()

    def _set(self, down: bool) -> None:
        if down != self._down:
            self._down = down
            self._tell(down)
