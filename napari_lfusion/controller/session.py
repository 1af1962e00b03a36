"""From the connection to the submitted case, without ever waiting on the caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from psygnal import Signal

from lfusion.errors import LFusionError
from napari_lfusion.controller.link import Link
from napari_lfusion.core import session as steps
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.case import BackendInfo, Offer, OpenCase
from napari_lfusion.core.errors import ConflictError
from napari_lfusion.core.journal import Recovery, Unfinished
from napari_lfusion.core.leases import HeldLease
from napari_lfusion.core.loading import Prefetched, fetch, likely_next, open_case, resumed
from napari_lfusion.core.session import Editing
from napari_lfusion.core.workspace import Workspace

AHEAD = 8
"""Items of the queue that are looked at to find the one to fetch ahead."""
_CASE = "case"
_AHEAD = "prefetch"
_LEASE = "lease"
_Connection = tuple[Backend, BackendInfo, Workspace, Recovery]


class SessionController:
    """Connects, takes cases, holds their leases.

    Args:
        link: The connection.
        root: Folder of the workspaces; None for the system's place.
        clock: Seconds, monotonic.
    """

    connected = Signal()
    disconnected = Signal()
    recoverable = Signal(object)
    """`Recovery` with cases that were open when the program ended."""
    loaded = Signal(object, object)
    """`OpenCase`, and the `Unfinished` that it goes on from or None."""
    lost = Signal(str)
    """The lease is somebody else's now; the reason."""

    def __init__(
        self, link: Link, root: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._link = link
        self._root = root
        self._clock = clock
        self._ahead: Prefetched | None = None
        self._unfinished: dict[str, Unfinished] = {}
        self._lease: HeldLease | None = None
        self.strategy = ""
        """Order of the queue."""

    def connect(self, make: Callable[[], Backend]) -> None:
        """Connect in the background.

        Args:
            make: Makes the backend; runs on another thread.
        """
        self._link.state = steps.connecting(self._link.state)
        self._link.requests.ask(
            "connection", lambda: _connect(make, self._root), self._on_connected, self._on_refused
        )

    def disconnect(self, reason: str | None = None) -> None:
        """End the connection; an open case stays in the journal.

        Args:
            reason: Why, when it was not the user's wish.
        """
        link = self._link
        link.requests.drop()
        backend, workspace = link.backend, link.workspace
        link.backend = link.workspace = None
        self._ahead = self._lease = None
        self._unfinished = {}
        if workspace is not None:
            workspace.close()
        if backend is not None:
            link.requests.ask("farewell", backend.close, lambda _: None, lambda _: None)
        link.state = steps.disconnected(link.state, reason)
        self.disconnected.emit()

    def next_case(self) -> None:
        """Take the top of the queue."""
        self._take(lambda backend: backend.next_case(self.strategy))

    def take(self, image_id: str) -> None:
        """Take one image by name.

        Args:
            image_id: Of the queue, or of a case of the journal.
        """
        self._take(lambda backend: backend.take(image_id))

    def forget(self, image_id: str) -> None:
        """Begin anew with an image, whatever the journal held of it.

        Args:
            image_id: Which.
        """
        self._unfinished.pop(image_id, None)

    def tick(self) -> None:
        """Renew the lease when it is time; called every second or so."""
        state, now = self._link.state, self._clock()
        if not isinstance(state, Editing) or self._lease is None or now < self._lease.renew_at:
            return
        if _LEASE in self._link.requests.topics:
            return
        image_id, backend = state.case.offer.image_id, self._link.backend
        assert backend is not None, "a case is open only while connected"
        self._link.requests.ask(
            _LEASE,
            lambda: backend.renew(image_id),
            lambda lease: self._hold(HeldLease.received(lease, now)),
            self._on_not_renewed,
        )

    def ended(self, image_id: str) -> None:
        """The case is closed: its lease is nobody's business any more.

        Args:
            image_id: Of the case.
        """
        self.forget(image_id)
        self._lease = None
        self._link.requests.drop(_LEASE)

    def _take(self, ask: Callable[[Backend], Offer | None]) -> None:
        self._link.state = steps.leasing(self._link.state)
        asked_at = self._clock()

        def offered(offer: Offer | None) -> None:
            self._link.state = steps.offered(self._link.state, offer)
            if offer is not None:
                self._lease = HeldLease.received(offer.lease, asked_at) if offer.lease else None
                self._load(offer)

        self._link.ask(_CASE, ask, offered, self._on_failed)

    def _load(self, offer: Offer) -> None:
        ahead, self._ahead = self._ahead, None
        info = self._link.info
        served = info.capabilities.checkpoint_id if info and info.capabilities else None

        def opened(case: OpenCase) -> None:
            # whichever way the image came: its first stroke would replace what the journal holds
            unfinished = self._unfinished.get(offer.image_id)
            case = resumed(case, unfinished)
            self._link.state = steps.loaded(self._link.state, case)
            self.loaded.emit(case, unfinished)
            self._fetch_ahead(offer.image_id)

        self._link.ask(
            _CASE,
            lambda backend: open_case(backend, offer, ahead, served),
            opened,
            lambda error: self._give_up(offer, error),
        )

    def _give_up(self, offer: Offer, error: LFusionError) -> None:
        """An image that cannot be opened is nobody's, so that the next case can come."""
        self._on_failed(error)
        backend = self._link.backend
        if backend is not None:
            release = backend.release
            self._link.requests.ask(
                "release", lambda: release(offer.image_id), lambda _: None, lambda _: None
            )

    def _fetch_ahead(self, current: str) -> None:
        backend, strategy = self._link.backend, self.strategy
        assert backend is not None, "a case was opened over it"

        def work() -> Prefetched | None:
            queue = backend.queue(strategy, AHEAD)
            image_id = likely_next(queue, backend.client_id, current)
            return None if image_id is None else fetch(backend, image_id)

        # what could not be fetched ahead is fetched, and complained about, when it is opened
        self._link.requests.ask(_AHEAD, work, self._keep, lambda _: None)

    def _keep(self, ahead: Prefetched | None) -> None:
        self._ahead = ahead

    def _hold(self, lease: HeldLease) -> None:
        self._lease = lease

    def _on_not_renewed(self, error: LFusionError) -> None:
        if isinstance(error, ConflictError):
            self._lease = None
            self.lost.emit(str(error))
        elif self._lease is not None:
            self._lease = HeldLease(self._lease.retry_at(self._clock()), self._lease.ends_at)

    def _on_connected(self, connection: _Connection) -> None:
        link = self._link
        link.backend, info, link.workspace, recovery = connection
        self._unfinished = {case.entry.image_id: case for case in recovery.cases}
        if self.strategy not in info.strategies:
            self.strategy = next(iter(info.strategies), "")
        link.state = steps.connected(link.state, info)
        self.connected.emit()
        for sentence in (*recovery.damaged, *link.workspace.outbox.damaged()):
            link.failed.emit(sentence)
        if recovery.cases:
            self.recoverable.emit(recovery)

    def _on_refused(self, error: LFusionError) -> None:
        self._on_failed(error)
        self._link.fail(error)

    def _on_failed(self, error: LFusionError) -> None:
        self._link.state = steps.failed(self._link.state, str(error))


def _connect(make: Callable[[], Backend], root: Path | None) -> _Connection:
    """Everything that a new connection needs; leaves nothing open when it fails."""
    backend = make()
    try:
        info = backend.info()
        workspace = Workspace(info.name, backend.client_id, root)
    except LFusionError:
        backend.close()
        raise
    return backend, info, workspace, workspace.journal.recover()
