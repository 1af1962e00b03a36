"""Sends what the outbox holds, and tries again until the server has it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from psygnal import Signal

from lfusion.errors import LFusionError
from napari_lfusion.controller.link import Link
from napari_lfusion.core.case import Correction
from napari_lfusion.core.errors import WorkspaceError
from napari_lfusion.core.outbox import Delivery, Outbox, Waiting, retry_delay

_TOPIC = "outbox"


class Postman:
    """Retries deliveries when their time has come.

    Args:
        link: The connection.
        clock: Seconds, monotonic.
    """

    changed = Signal(int)
    """Number of corrections that wait to be sent."""
    back = Signal()
    """The server has everything that waited."""

    def __init__(self, link: Link, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting = 0
        self.refused: tuple[Waiting, ...] = ()
        """Those that the server will not take as they are, until the annotator decides."""
        self._link = link
        self._clock = clock
        self._attempts = 0
        self._next_at: float | None = None

    @property
    def away(self) -> bool:
        """Whether the last attempt failed: asking for more would only fail again."""
        return self._attempts > 0

    def begin(self) -> None:
        """Connected: see what waits, and tell what was refused some other day."""
        self._attempts = 0
        self.count()
        self._tell_refused([(item.correction, item.refusal or "") for item in self.refused])

    def count(self) -> None:
        """Look what waits; it is sent at the next tick."""
        workspace = self._link.workspace
        kept = workspace.outbox.waiting() if workspace is not None else ()
        self.refused = tuple(item for item in kept if item.refusal is not None)
        self.waiting = len(kept) - len(self.refused)
        if self.waiting and self._next_at is None:
            self._next_at = self._clock()
        elif not self.waiting:
            self._next_at = None
        self.changed.emit(self.waiting)

    def retry(self, item: Waiting) -> None:
        """Send a refused correction again, at the next tick.

        Args:
            item: Of `refused`.
        """
        self._decide(lambda outbox: outbox.retry(item.correction.idempotency_key))

    def give_up(self, item: Waiting) -> None:
        """Do not send a refused correction; its mask is kept as a file.

        Args:
            item: Of `refused`.
        """

        def keep(outbox: Outbox) -> None:
            kept = outbox.give_up(item.correction.idempotency_key)
            self._link.told.emit(f"the mask of {item.correction.image_id} is kept in {kept}")

        self._decide(keep)

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
        refused = [one for one in deliveries if one.error is not None and not one.kept]
        self._tell_refused([(one.correction, str(one.error)) for one in refused])
        sent = [delivery for delivery in deliveries if delivery.saved is not None]
        if sent and before and not self.waiting:
            if not self.refused:
                self._link.told.emit("the server is back; everything is sent")
            self.back.emit()

    def _on_failed(self, error: LFusionError) -> None:
        self._attempts += 1
        self._next_at = self._clock() + 2.0 ** min(self._attempts, 6)

    def _decide(self, decide: Callable[[Outbox], None]) -> None:
        workspace = self._link.workspace
        if workspace is None:
            return
        try:
            decide(workspace.outbox)
        except WorkspaceError as error:
            self._link.fail(error)
        self.count()

    def _tell_refused(self, refused: Sequence[tuple[Correction, str]]) -> None:
        if refused:
            reasons = "; ".join(f"{one.image_id}: {reason}" for one, reason in refused)
            self._link.failed.emit(f"refused by the server, and kept here: {reasons}")
