"""The queue and its pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from lfusion.protocol import Queue
from napari_lfusion.controller.link import Link
from napari_lfusion.controller.session import SessionController
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.errors import BackendError

LIMIT = 40
"""Items that are shown."""
THUMBNAIL_PX = 72
_BATCH = 8
"""Thumbnails fetched between two answers, so that the list fills from the top."""


class QueueController:
    """What comes next, and why.

    Args:
        link: The connection.
        session: Whose strategy orders it.
    """

    changed = Signal(object)
    """`Queue`, or None while it is not known."""
    ordered = Signal(str)
    """The strategy that was chosen."""
    pictured = Signal(str, object)
    """Image id and thumbnail."""

    def __init__(self, link: Link, session: SessionController) -> None:
        self.latest: Queue | None = None
        self.thumbnails: dict[str, NDArray[np.uint8]] = {}
        """By image id; they outlive the order."""
        self._link = link
        self._session = session
        self._unpictured: set[str] = set()

    def refresh(self) -> None:
        """Ask for the queue."""
        info = self._link.info
        if info is None or info.capabilities is None:  # a plain server has none
            return
        strategy = self._session.strategy
        self._link.ask("queue", lambda backend: backend.queue(strategy, LIMIT), self._show)

    def choose(self, strategy: str) -> None:
        """Order the queue in another way.

        Args:
            strategy: One of `BackendInfo.strategies`.
        """
        self._session.strategy = strategy
        self.ordered.emit(strategy)
        self.refresh()

    def choose_next(self) -> None:
        """Order the queue in the next of the ways that there are, after the last the first."""
        info = self._link.info
        if info is not None and info.strategies:
            ring = info.strategies
            self.choose(ring[(ring.index(self._session.strategy) + 1) % len(ring)])

    def clear(self) -> None:
        """Nothing is connected."""
        self.latest = None
        self.thumbnails.clear()
        self._unpictured.clear()
        self.changed.emit(None)

    def _show(self, queue: Queue) -> None:
        self.latest = queue
        self.changed.emit(queue)
        self._fetch_pictures()

    def _fetch_pictures(self) -> None:
        assert self.latest is not None, "there is a queue to picture"
        known = self.thumbnails.keys() | self._unpictured
        missing = [item.id for item in self.latest.items if item.id not in known][:_BATCH]
        if missing:
            backend = self._link.backend
            assert backend is not None, "the queue came from it"
            self._link.requests.ask(
                "thumbnails", lambda: _pictures(backend, missing), self._keep, lambda _: None
            )

    def _keep(self, pictures: dict[str, NDArray[np.uint8] | None]) -> None:
        for image_id, picture in pictures.items():
            if picture is None:
                self._unpictured.add(image_id)
            else:
                self.thumbnails[image_id] = picture
                self.pictured.emit(image_id, picture)
        self._fetch_pictures()


def _pictures(backend: Backend, image_ids: list[str]) -> dict[str, NDArray[np.uint8] | None]:
    """Thumbnails; an image without one is shown without."""
    pictures: dict[str, NDArray[np.uint8] | None] = {}
    for image_id in image_ids:
        try:
            pictures[image_id] = backend.thumbnail(image_id, THUMBNAIL_PX)
        except BackendError:
            pictures[image_id] = None
    return pictures
