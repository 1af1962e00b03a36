"""Sends what the outbox holds, and tries again until the server has it."""

from __future__ import annotations

import time
from collections.abc import Callable

from psygnal import Signal

from lfusion.errors import LFusionError
from napari_lfusion.controller.link import Link
from napari_lfusion.core.outbox import Delivery, retry_delay

_TOPIC = "outbox"


class Postman:
    """Retries deliveries when their time has come.

    Args:
        link: The connection.
        clock: Seconds, monotonic.
    """

    changed = Signal(int)
    """Number of corrections that the server does not have yet."""
    back = Signal()
    """The server has everything that waited."""

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting = 0
        self._link = link
        self._clock = clock
        self._attempts = 0
        self._next_at: float | None = None

    @property
    def away(self) -> bool:
        """Whether the last attempt failed: asking for more would only fail again."""
        return self._attempts > 0

    def count(self) -> None:
        """Look what waits, such as after connecting; it is sent at the next tick."""
        workspace = self._link.workspace
        waiting = workspace.outbox.waiting() if workspace is not None else ()
        self._set_waiting(len(waiting))
        sendable = any(item.refusal is None for item in waiting)
        if sendable and self._next_at is None:
            self._next_at = self._clock()
        elif not sendable:
            self._next_at = None

    def tick(self) -> None:
        """Send when it is time; called every second or so."""
        workspace = self._link.workspace
        due = self._next_at is not None and self._clock() >= self._next_at
        if not due or workspace is None or _TOPIC in self._link.requests.topics:
            return
        self._link.ask(_TOPIC, workspace.outbox.flush, self.delivered, self._on_failed)

    def delivered(self, deliveries: list[Delivery]) -> None:
        """What became of an attempt; also told by whoever submits.

        Args:
            deliveries: In the order they were tried.
        """
        errors = [delivery.error for delivery in deliveries if delivery.kept]
        self._next_at = None
        if errors and errors[-1] is not None:
            self._attempts += 1
            self._next_at = self._clock() + retry_delay(self._attempts, errors[-1])
        else:
            self._attempts = 0
        before = self.waiting
        self.count()
        sent = [delivery for delivery in deliveries if delivery.saved is not None]
        if sent and before and not self.waiting:
            self._link.told.emit("the server is back; everything is sent")
            self.back.emit()

    def _on_failed(self, error: LFusionError) -> None:
        self._attempts += 1
        self._next_at = self._clock() + 2.0 ** min(self._attempts, 6)

    def _set_waiting(self, number: int) -> None:
        self.waiting = number
        self.changed.emit(number)
