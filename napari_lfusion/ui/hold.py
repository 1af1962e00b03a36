"""A key that counts while it is held, whichever panel has the focus."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QApplication, QShortcut, QWidget

_LEFT = (QEvent.Type.ApplicationDeactivate, QEvent.Type.WindowDeactivate)


class HeldKey(QObject):
    """A shortcut that is told of its release, of which Qt's own know nothing.

    All events are watched for the release, but only while the key is down: a filter in Python over
    every event of the application slows down everything.

    Args:
        key: A letter.
        tell: Is told whether the key is down.
        parent: With it this ends.
    """

    def __init__(self, key: str, tell: Callable[[bool], None], parent: QWidget) -> None:
        super().__init__(parent)
        self._key = QKeySequence(key)[0].key()
        self._tell = tell
        self._down = False
        shortcut = QShortcut(QKeySequence(key), parent)
        shortcut.setContext(Qt.ShortcutContext.ApplicationShortcut)
        shortcut.setAutoRepeat(False)
        shortcut.activated.connect(lambda: self._set(True))

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """See the key go up, or the window go away under it."""
        if event.type() in _LEFT or (
            isinstance(event, QKeyEvent)
            and event.type() == QEvent.Type.KeyRelease
            and event.key() == self._key
            and not event.isAutoRepeat()
        ):
            self._set(False)
        return False

    def _set(self, down: bool) -> None:
        if down == self._down:
            return
        self._down = down
        application = QApplication.instance()
        assert application is not None, "a widget needs an application"
        if down:
            application.installEventFilter(self)
        else:
            application.removeEventFilter(self)
        self._tell(down)
