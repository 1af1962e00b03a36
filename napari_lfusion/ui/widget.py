"""The dock widget."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtGui import QPixmap
from qtpy.QtWidgets import QScrollArea, QStackedWidget, QTabWidget, QVBoxLayout, QWidget

from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.journal import Recovery
from napari_lfusion.core.session import Connecting, Disconnected, Editing, Idle, State
from napari_lfusion.demo import DemoBackend
from napari_lfusion.ui.actions import Actions
from napari_lfusion.ui.catalogue import all_actions
from napari_lfusion.ui.connection import ConnectionPanel
from napari_lfusion.ui.correct_panel import CorrectPanel
from napari_lfusion.ui.dialogs import Dialogs, HelpDialog
from napari_lfusion.ui.facts_panel import FactsPanel
from napari_lfusion.ui.hold import HeldKey
from napari_lfusion.ui.map_panel import MapPanel
from napari_lfusion.ui.messages import MessageBar
from napari_lfusion.ui.queue_panel import QueuePanel
from napari_lfusion.ui.settings import Settings
from napari_lfusion.ui.style import STYLE, column, label, row
from napari_lfusion.ui.training_panel import TrainingPanel
from napari_lfusion.workers import ThreadRunner

if TYPE_CHECKING:
    import napari

TICK_MS = 1000
MIN_WIDTH_PX = 380


class AnnotatorWidget(QWidget):
    """From "the model is unsure" to "corrected".

    Args:
        napari_viewer: The one it is docked in; napari finds the argument by this name.
        root: Folder of journals and outboxes; None for the system's place.
    """

    def __init__(self, napari_viewer: napari.Viewer, root: Path | None = None) -> None:
        super().__init__()
        self.setMinimumWidth(MIN_WIDTH_PX)
        self.setStyleSheet(STYLE)
        settings = Settings.load()
        self.annotator = Annotator(napari_viewer, ThreadRunner(self), root)
        self.annotator.advance = settings.advance
        if settings.threshold > 0:
            self.annotator.case.view.set_threshold(settings.threshold)
        self._dialogs = Dialogs(self, self.annotator)
        self.commands = Actions(self, all_actions(self.annotator, self._dialogs))
        self._dialogs.specs = self.commands.specs
        self.messages = MessageBar()
        self._status = label("", "quiet")
        self.connection = ConnectionPanel(settings.url, settings.user or getpass.getuser())
        self._build()
        self.training.every.setValue(settings.train_every)
        self._connect()
        self._gate_key = HeldKey("G", self.annotator.case.view.set_gate, self)
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.annotator.tick)
        self._timer.start(TICK_MS)
        self.destroyed.connect(partial(_end, self.annotator))

    def connect_to(self, make: Callable[[], Backend]) -> None:
        """Connect in the background.

        Args:
            make: Makes the backend; runs on another thread.
        """
        self.messages.hide()
        self.annotator.connect(make)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802 (Qt's name)
        """See that the dock was closed: napari takes the widget out of it, and keeps it."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            # whoever moves the widget to another parent has done so by then
            QTimer.singleShot(0, self._leave_when_closed)

    def help_picture(self) -> QPixmap:
        """The page of keys as a picture, for the documentation.

        Returns:
            What `?` shows.
        """
        return HelpDialog(self, self.commands.specs).grab()

    def _build(self) -> None:
        self.queue = QueuePanel(self.annotator, self.commands)
        self.training = TrainingPanel(self.annotator, self.commands)
        self.facts = FactsPanel(self.annotator)
        self.maps = MapPanel(self.annotator, self.commands)
        self.correct = CorrectPanel(self.annotator, self.commands)
        self._case_page = QStackedWidget()
        nothing = QWidget()
        self._nothing = label("Press N, or Next below: the most instructive image comes first.")
        column(self._nothing, parent=nothing).addStretch(1)
        self._case_page.addWidget(nothing)
        self._case_page.addWidget(_scrolled(self.facts, self.maps, self.correct))
        self.tabs = QTabWidget()
        self.tabs.addTab(self._case_page, "Case")
        self.tabs.addTab(self.queue, "Queue")
        self.tabs.addTab(self.training, "Model")
        button = self.commands.button
        session = QWidget()
        finish = row(button("submit", primary=True), button("next"), stretch=True)
        aside = row(*(button(name) for name in ("skip", "flag", "before", "help")), stretch=True)
        column(self.tabs, finish, aside, parent=session).setContentsMargins(0, 0, 0, 0)
        self._pages = QStackedWidget()
        self._pages.addWidget(self.connection)
        self._pages.addWidget(session)
        self._refused = button("refused")
        self._refused.hide()
        layout = QVBoxLayout(self)
        layout.addWidget(self._status)
        layout.addWidget(self._refused)
        layout.addWidget(self.messages)
        layout.addWidget(self._pages, 1)

    def _connect(self) -> None:
        annotator = self.annotator
        self.connection.server_wanted.connect(self._connect_server)
        self.connection.demo_wanted.connect(lambda user: self.connect_to(DemoBackend))
        annotator.link.state_changed.connect(self._on_state)
        annotator.link.failed.connect(self.messages.show_failure)
        annotator.link.told.connect(self.messages.show_news)
        annotator.postman.changed.connect(lambda _: self._on_outbox())
        annotator.status_changed.connect(lambda line: self._status.setText(line))
        annotator.case.opened.connect(lambda: self._case_page.setCurrentIndex(1))
        annotator.case.closed.connect(lambda: self._case_page.setCurrentIndex(0))
        annotator.session.connected.connect(self._on_connected)
        annotator.session.recoverable.connect(self._recover_soon)
        annotator.case.review.selected.connect(lambda _: self.commands.refresh())
        annotator.case.view.changed.connect(self.commands.refresh)
        self._on_state(annotator.link.state)

    def _connect_server(self, url: str, user: str, token: str) -> None:
        Settings.remember(url, user)
        self.connect_to(lambda: _over_http(url, user, token))

    def _on_state(self, state: State) -> None:
        self._status.setText(self.annotator.status)
        self.connection.set_busy(isinstance(state, Connecting))
        outside = isinstance(state, Disconnected | Connecting)
        self._pages.setCurrentIndex(0 if outside else 1)
        if isinstance(state, Idle):
            self._nothing.setText(
                "The pool is empty: everything is labelled."
                if state.pool_empty
                else "Press N, or Next below: the most instructive image comes first."
            )
        elif not isinstance(state, Editing):
            self._nothing.setText("One moment …")
        self.commands.refresh()

    def _on_outbox(self) -> None:
        self._refused.setVisible(bool(self.annotator.postman.refused))
        self.commands.refresh()

    def _on_connected(self) -> None:
        info = self.annotator.link.info
        if info is not None and info.missing:
            sentences = (text[:1].upper() + text[1:].rstrip(".") for text in info.missing)
            self.messages.show_news(". ".join(sentences) + ".")

    def _leave_when_closed(self) -> None:
        if self.parent() is None and self._timer.isActive():
            self._timer.stop()
            self.annotator.leave()
            self.deleteLater()

    def _recover_soon(self, recovery: Recovery) -> None:
        # a dialog blocks, and whoever told us must be able to finish first
        QTimer.singleShot(0, lambda: self._dialogs.recover(recovery))


def _over_http(url: str, user: str, token: str) -> Backend:
    """On another thread, and imported there: an HTTP client takes a fifth of a second to load."""
    from napari_lfusion.core.http import Account, HttpBackend

    return HttpBackend(Account.parse(url, user, token))


def _scrolled(*panels: QWidget) -> QScrollArea:
    inner = QWidget()
    layout = column(*panels, parent=inner)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addStretch(1)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QScrollArea.Shape.NoFrame)
    area.setWidget(inner)
    return area


def _end(annotator: Annotator) -> None:
    """The dock is gone: what was painted is on disk, and another window may have the place."""
    if not isinstance(annotator.link.state, Disconnected):
        annotator.shut_down()
