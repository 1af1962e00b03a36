"""What all parts of the session share: the backend, the state, and one way to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from psygnal import Signal

from lfusion.errors import LFusionError
from napari_lfusion.controller.requests import Requests
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.case import BackendInfo
from napari_lfusion.core.errors import UnauthenticatedError
from napari_lfusion.core.session import Connecting, Disconnected, State
from napari_lfusion.core.workspace import Workspace

_T = TypeVar("_T")


class Link:
    """The connection, for those who ask something over it.

    Args:
        requests: Where it is asked.
    """

    state_changed = Signal(object)
    failed = Signal(str)
    """One message for one failure."""
    told = Signal(str)
    """Good news worth a line."""
    refused = Signal()
    """The token is no longer good."""

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self.backend: Backend | None = None
        self.workspace: Workspace | None = None
        self._state: State = Disconnected()

    @property
    def state(self) -> State:
        """Where the session is."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        self.state_changed.emit(state)

    @property
    def info(self) -> BackendInfo | None:
        """What is offered, once connected."""
        if isinstance(self._state, Disconnected | Connecting):
            return None
        return self._state.info

    def ask(
        self,
        topic: str,
        work: Callable[[Backend], _T],
        done: Callable[[_T], None],
        failed: Callable[[LFusionError], None] | None = None,
    ) -> None:
        """Ask the backend in the background; nothing happens without a connection.

        Args:
            topic: What it is about; a newer question replaces an older one.
            work: Asks.
            done: Gets the answer.
            failed: Puts things back; the message is shown in any case.
        """
        backend = self.backend
        if backend is None:
            return

        def on_failed(error: LFusionError) -> None:
            if failed is not None:
                failed(error)
            self.fail(error)

        self.requests.ask(topic, lambda: work(backend), done, on_failed)

    def fail(self, error: LFusionError) -> None:
        """Show a failure, once.

        Args:
            error: What happened; its message is for people.
        """
        self.failed.emit(str(error))
        if isinstance(error, UnauthenticatedError):
            self.refused.emit()
