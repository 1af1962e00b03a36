"""Who may label which image, so that two people never get the same one."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from lfusion.protocol import Lease
from monailabel_app.lib.errors import ConflictError, UnknownNameError
from monailabel_app.lib.index import Index

LEASE_SECONDS = 900.0
"""Without renewal: longer than a difficult image takes, shorter than a lunch break."""

FREE = "NOT EXISTS (SELECT 1 FROM leases WHERE leases.image = {image} AND expires_at > :now)"
"""Condition that nobody holds an image."""

HELD = (
    "EXISTS (SELECT 1 FROM leases WHERE leases.image = {image} AND expires_at > :now "
    "AND client_id = :client)"
)
"""Condition that a client holds an image."""


class Leases:
    """Leases in the index, where one transaction decides who gets an image.

    Args:
        index: Of the studies.
        now: The clock.
    """

    def __init__(self, index: Index, now: Callable[[], float] = time.time) -> None:
        self._index = index
        self.now = now

    def grant(self, db: sqlite3.Connection, number: int, image_id: str, client_id: str) -> Lease:
        """Give a free image, or one's own, to a client.

        Args:
            db: A writing transaction, in which nobody else holds the image.
            number: Of the image.
            image_id: Of the same.
            client_id: Who gets it.
        """
        expires_at = self.now() + LEASE_SECONDS
        db.execute(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (number, client_id, expires_at)
        )
        return Lease(
            image=image_id,
            client_id=client_id,
            expires_at=expires_at,
            seconds_left=LEASE_SECONDS,
        )

    def renew(self, image_id: str, client_id: str) -> Lease:
        """Begin the time of a lease anew; one that ran out, too, while nobody else has it.

        Raises:
            UnknownNameError: No image has this id.
            ConflictError: Another client holds it.
        """
        with self._index.write() as db:
            number = self._number(db, image_id, client_id)
            return self.grant(db, number, image_id, client_id)

    def release(self, image_id: str, client_id: str) -> None:
        """Give an image back; nothing happens when nobody holds it.

        Raises:
            UnknownNameError: No image has this id.
            ConflictError: Another client holds it.
        """
        with self._index.write() as db:
            number = self._number(db, image_id, client_id)
            db.execute("DELETE FROM leases WHERE image = ?", (number,))

    def _number(self, db: sqlite3.Connection, image_id: str, client_id: str) -> int:
        """The number of an image that no other client holds."""
        row = db.execute(
            "SELECT number, client_id, expires_at FROM images LEFT JOIN leases ON image = number "
            "WHERE id = ? AND present",
            (image_id,),
        ).fetchone()
        if row is None:
            raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
        if row["client_id"] not in (None, client_id) and row["expires_at"] > self.now():
            raise ConflictError(
                f"image {image_id[:80]!r} is being labelled by {row['client_id'][:80]!r}; take "
                "another one"
            )
        return int(row["number"])
