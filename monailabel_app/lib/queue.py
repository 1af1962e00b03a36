"""The order of the pool, and who gets its first image: reads of what was stored, no scoring."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Any

from lfusion.protocol import Lease, Queue, QueueItem, Why
from monailabel_app.lib.index import Index
from monailabel_app.lib.index.results import RANKED, known_checkpoint
from monailabel_app.lib.leases import FREE, HELD, Leases

_BY_SCORE = (
    "SELECT image, value FROM ranking WHERE checkpoint = :checkpoint AND name = :name "
    "AND open = 1 AND {lease} ORDER BY value DESC, image LIMIT 1"
)
_AT_RANDOM = (
    "SELECT number AS image, draw AS value FROM images WHERE state = 'open' AND draw >= :start "
    "AND {lease} AND NOT EXISTS (SELECT 1 FROM results WHERE results.checkpoint = :checkpoint "
    "AND results.sha256 = images.sha256 AND unreadable IS NOT NULL) ORDER BY draw LIMIT 1"
)
_ASIDE = ("labelled", "skipped", "flagged")
_ANY_SCORE = min(RANKED)
"""What has one of the scores that are ranked has all of them."""

_STATES = """
    SELECT CASE WHEN state <> 'open' THEN state
        WHEN expires_at > :now THEN 'leased'
        WHEN results.sha256 IS NULL THEN 'unscored'
        WHEN unreadable IS NOT NULL THEN 'unreadable' ELSE 'open' END AS shown,
    images.*, client_id, expires_at, scores, unreadable
    FROM images LEFT JOIN leases ON leases.image = images.number
    LEFT JOIN results ON results.checkpoint = :checkpoint AND results.sha256 = images.sha256
"""


@dataclass(frozen=True)
class Order:
    """What a strategy sorts by.

    Attributes:
        strategy: Its name.
        score_name: The stored score, the highest first; None for a random order.
    """

    strategy: str
    score_name: str | None


@dataclass(frozen=True)
class Offer:
    """An image to label next.

    Attributes:
        id: Of the image.
        why: Why this one.
        lease: That it is the client's, or None for a client without a name.
        base_version: Version of its final label.
        pool: How many images are open.
    """

    id: str
    why: Why
    lease: Lease | None
    base_version: int
    pool: int


class LabellingQueue:
    """The pool in order.

    Args:
        index: Of the studies.
        leases: Who holds what.
    """

    def __init__(self, index: Index, leases: Leases) -> None:
        self._index = index
        self._leases = leases

    def offer(
        self, order: Order, checkpoint_id: str, client_id: str | None, start: float = 0.0
    ) -> Offer | None:
        """Take the first image that nobody holds; when there is none, one that the client holds.

        Args:
            order: By which.
            checkpoint_id: Whose scores count.
            client_id: Who gets a lease; None for a client that does not say who it is.
            start: Where a random order begins, in [0, 1).

        Returns:
            None when no image can be offered now.
        """
        with self._index.write() as db:
            now = self._leases.now()
            db.execute("DELETE FROM leases WHERE expires_at <= ?", (now,))
            checkpoint = known_checkpoint(db, checkpoint_id)
            given = {
                "checkpoint": checkpoint,
                "name": order.score_name,
                "now": now,
                "client": client_id,
            }
            row = _first(db, order, given, start)
            if row is None:
                return None
            image = db.execute("SELECT * FROM images WHERE number = ?", (row["image"],)).fetchone()
            lease = None
            if client_id is not None:
                lease = self._leases.grant(db, image["number"], image["id"], client_id)
            return Offer(
                id=image["id"],
                why=_why(db, order, checkpoint, image, row["value"]),
                lease=lease,
                base_version=image["version"],
                pool=_tally(db, "state open"),
            )

    def listing(self, order: Order, checkpoint_id: str, limit: int) -> Queue:
        """The pool in order, images that are not open last.

        Args:
            order: By which.
            checkpoint_id: Whose scores count.
            limit: Most images.
        """
        with self._index.read() as db:
            checkpoint = known_checkpoint(db, checkpoint_id)
            given = {
                "checkpoint": checkpoint,
                "name": order.score_name,
                "now": self._leases.now(),
                "limit": limit,
            }
            counts = _counts(db, given)
            rows: list[sqlite3.Row] = []
            for part in _parts(order, counts):
                rest = {**given, "limit": limit - len(rows)}
                rows += db.execute(f"{_STATES} {part}", rest).fetchall() if rest["limit"] else []
            items = [_item(db, order, checkpoint, row) for row in rows]
        return Queue(
            strategy=order.strategy,
            checkpoint_id=checkpoint_id,
            items=items,
            counts=counts,
        )


def _first(
    db: sqlite3.Connection, order: Order, given: dict[str, Any], start: float
) -> sqlite3.Row | None:
    """Number and value of the image to offer."""
    at_random = order.score_name is None
    query = _AT_RANDOM if at_random else _BY_SCORE
    for lease in (FREE, HELD):
        condition = lease.format(image="images.number" if at_random else "ranking.image")
        for begin in (start, 0.0) if at_random else (0.0,):
            row: sqlite3.Row | None = db.execute(
                query.format(lease=condition), {**given, "start": begin}
            ).fetchone()
            if row is not None:
                return row
    return None


def _parts(order: Order, counts: dict[str, int]) -> list[str]:
    """What follows `_STATES` for each part of a listing, each in the order of an index."""
    if order.score_name is None:
        scored = (
            "WHERE state = 'open' AND results.sha256 IS NOT NULL AND unreadable IS NULL "
            "ORDER BY draw LIMIT :limit"
        )
    else:
        scored = (
            "JOIN (SELECT image AS ranked, value FROM ranking WHERE checkpoint = :checkpoint "
            "AND name = :name AND open = 1 ORDER BY value DESC, image LIMIT :limit) "
            "ON ranked = images.number ORDER BY value DESC, images.number"
        )
    parts = [scored]
    if counts.get("unscored") or counts.get("unreadable") or counts.get("leased"):
        parts.append(
            "WHERE state = 'open' AND (results.sha256 IS NULL OR unreadable IS NOT NULL) "
            "ORDER BY draw LIMIT :limit"
        )
    parts += [f"WHERE state = '{state}' ORDER BY draw LIMIT :limit" for state in _ASIDE]
    return parts


def _counts(db: sqlite3.Connection, given: dict[str, Any]) -> dict[str, int]:
    """Number of images by state as shown, without counting the pool."""
    counts = {state: _tally(db, f"state {state}") for state in ("open", *_ASIDE)}
    scored = _tally(db, f"ranked {given['checkpoint']} {_ANY_SCORE}")
    counts["unreadable"] = db.execute(
        "SELECT count(*) FROM results INDEXED BY results_unreadable "
        "CROSS JOIN images ON images.sha256 = results.sha256 "
        "WHERE results.checkpoint = :checkpoint AND unreadable IS NOT NULL AND state = 'open'",
        given,
    ).fetchone()[0]
    counts["unscored"] = counts["open"] - scored - counts["unreadable"]
    counts["open"] = scored
    leased = db.execute(
        "SELECT CASE WHEN results.sha256 IS NULL THEN 'unscored' "
        "WHEN unreadable IS NOT NULL THEN 'unreadable' ELSE 'open' END "
        "FROM leases JOIN images ON images.number = leases.image "
        "LEFT JOIN results ON results.checkpoint = :checkpoint "
        "AND results.sha256 = images.sha256 WHERE state = 'open' AND expires_at > :now",
        given,
    ).fetchall()
    counts["leased"] = len(leased)
    for (state,) in leased:
        counts[state] -= 1
    return {state: n for state, n in counts.items() if n}


def _item(
    db: sqlite3.Connection, order: Order, checkpoint: int | None, row: sqlite3.Row
) -> QueueItem:
    """One line of the listing."""
    scored = row["scores"] is not None and row["unreadable"] is None
    value = json.loads(row["scores"]).get(order.score_name) if scored else None
    return QueueItem(
        id=row["id"],
        state=row["shown"],
        owner=row["client_id"] if row["shown"] == "leased" else None,
        why=_why(db, order, checkpoint, row, value) if scored else None,
        note=row["note"] or row["unreadable"],
        version=row["version"],
    )


def _why(
    db: sqlite3.Connection,
    order: Order,
    checkpoint: int | None,
    image: sqlite3.Row,
    value: float | None,
) -> Why:
    """Why an image has its place."""
    row = db.execute(
        "SELECT scores FROM results WHERE checkpoint = ? AND sha256 = ?",
        (checkpoint, image["sha256"]),
    ).fetchone()
    parts: dict[str, float] = {} if row is None else json.loads(row["scores"])
    if order.score_name is None or value is None:
        return Why(strategy=order.strategy, parts=parts, sentence="Drawn at random.")
    total = _tally(db, f"ranked {checkpoint} {order.score_name}")
    above = db.execute(
        "SELECT count(*) FROM ranking WHERE checkpoint = ? AND name = ? AND open = 1 "
        "AND value >= ?",
        (checkpoint, order.score_name, value),
    ).fetchone()[0]
    percentile = 100.0 * max(total - above, 0) / max(total, 1)
    return Why(
        strategy=order.strategy,
        score_name=order.score_name,
        score=value,
        percentile=percentile,
        parts=parts,
        sentence=(
            f"Its {order.score_name.replace('_', ' ')} of {value:.3g} is higher than that of "
            f"{percentile:.0f} % of the {total} scored images of the pool."
        ),
    )


def _tally(db: sqlite3.Connection, name: str) -> int:
    row = db.execute("SELECT n FROM tallies WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])
