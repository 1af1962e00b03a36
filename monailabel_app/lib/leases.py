"""Leases: the exclusive right to label an image for a while, so that two people never get the same.

A lease belongs to the signed-in user, and on a server without tokens to the client. It runs on the
time since the machine was started, which nobody sets; after a restart of the machine each lease
begins once more, so that none ends early and none lasts for ever.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from lfusion.protocol import Lease
from monailabel_app.lib.errors import ConflictError, UnknownNameError
from monailabel_app.lib.index import Index

LEASE_SECONDS = 900.0
"""Without renewal: longer than a difficult image takes, shorter than a lunch break."""

_CLOCK = "lease_clock"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

FREE = "NOT EXISTS (SELECT 1 FROM leases WHERE leases.image = {image} AND expires_at > :now)"
"""Condition that nobody holds an image."""

HELD = (
    "EXISTS (SELECT 1 FROM leases WHERE leases.image = {image} AND expires_at > :now "
    "AND owner = :owner)"
)
"""Condition that an owner holds an image."""


def uptime() -> float:
    """Seconds since the machine was started; the same in all processes, and never set back."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def boot_id() -> str:
    """What changes when the machine is started."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "unknown"


class Leases:
    """Leases in the index, where one transaction decides who gets an image.

    Args:
        index: Of the studies.
        now: The clock that leases run on.
        wall: The clock that clients are told of; None for the same.
        boot: What changes when `now` begins again.
    """

    def __init__(
        self,
        index: Index,
        now: Callable[[], float] = uptime,
        wall: Callable[[], float] | None = None,
        boot: str | None = None,
    ) -> None:
        self._index = index
        self.now = now
        self._wall = wall or now
        self._begin(boot_id() if boot is None else boot)

    def _begin(self, boot: str) -> None:
        """Begin all leases of another clock once more."""
        with self._index.write() as db:
            row = db.execute("SELECT value FROM meta WHERE key = ?", (_CLOCK,)).fetchone()
            if row is None or row[0] != boot:
                db.execute("UPDATE leases SET expires_at = ?", (self.now() + LEASE_SECONDS,))
                db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_CLOCK, boot))

    def grant(
        self,
        db: sqlite3.Connection,
        number: int,
        image_id: str,
        client_id: str,
        user: str | None = None,
    ) -> Lease:
        """Give a free image, or one's own, to a client.

        Args:
            db: A writing transaction, in which nobody else holds the image.
            number: Of the image.
            image_id: Of the same.
            client_id: Who gets it.
            user: The signed-in user, whose lease it is; None without tokens.
        """
        expires_at = self.now() + LEASE_SECONDS
        db.execute(
            "INSERT OR REPLACE INTO leases (image, client_id, expires_at, owner) "
            "VALUES (?, ?, ?, ?)",
            (number, client_id, expires_at, owner_of(client_id, user)),
        )
        return Lease(
            image=image_id,
            client_id=client_id,
            expires_at=self._wall() + LEASE_SECONDS,
            seconds_left=LEASE_SECONDS,
        )

    def renew(self, image_id: str, client_id: str, user: str | None = None) -> Lease:
        """Begin the time of a lease once more; one that ran out, too, while nobody else has it.

        Args:
            image_id: Of the image.
            client_id: Who asks.
            user: The signed-in user, or None without tokens.

        Raises:
            UnknownNameError: No image has this id.
            ConflictError: Another one holds it.
        """
        with self._index.write() as db:
            number = self._number(db, image_id, owner_of(client_id, user))
            return self.grant(db, number, image_id, client_id, user)

    def release(self, image_id: str, client_id: str, user: str | None = None) -> None:
        """Give an image back; nothing happens when nobody holds it.

        Args:
            image_id: Of the image.
            client_id: Who asks.
            user: The signed-in user, or None without tokens.

        Raises:
            UnknownNameError: No image has this id.
            ConflictError: Another one holds it.
        """
        with self._index.write() as db:
            number = self._number(db, image_id, owner_of(client_id, user))
            db.execute("DELETE FROM leases WHERE image = ?", (number,))

    def _number(self, db: sqlite3.Connection, image_id: str, owner: str) -> int:
        """The number of an image that nobody else holds."""
        row = db.execute(
            "SELECT number, client_id, owner, expires_at FROM images LEFT JOIN leases "
            "ON image = number WHERE id = ? AND present",
            (image_id,),
        ).fetchone()
        if row is None:
            raise UnknownNameError(f"there is no image {image_id[:80]!r} in the datastore")
        if row["owner"] not in (None, owner) and row["expires_at"] > self.now():
            holder = row["client_id"] if row["owner"].startswith("client ") else row["owner"][5:]
            raise ConflictError(
                f"image {image_id[:80]!r} is being labelled by {holder[:80]!r}; take another one"
            )
        return int(row["number"])


def owner_of(client_id: str, user: str | None) -> str:
    """Whose lease it is: a user's, whatever the client, or a client's."""
    return f"client {client_id}" if user is None else f"user {user}"
