"""The order of the pool, and who gets its first image: reads of what was stored, no scoring."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

from lfusion.protocol import Lease, Queue, QueueItem, Why
from monailabel_app.lib.index import Index
from monailabel_app.lib.index.results import RANKED, known_checkpoint
from monailabel_app.lib.leases import FREE, HELD, Leases, owner_of
from monailabel_app.lib.why import Order, explain, tally

_PLANNED = (  # a file that was exchanged since has no result, or another one
    "SELECT image FROM plans JOIN images ON number = image "
    "JOIN results ON results.checkpoint = plans.checkpoint AND results.sha256 = images.sha256 "
    "WHERE plans.checkpoint = :checkpoint AND strategy = :strategy AND state = 'open' "
    "AND unreadable IS NULL AND {lease} ORDER BY place LIMIT 1"
)
_BY_SCORE = (
    "SELECT image FROM ranking WHERE checkpoint = :checkpoint AND name = :name "
    "AND open = 1 AND {lease} ORDER BY value DESC, image LIMIT 1"
)
_AT_RANDOM = (
    "SELECT number AS image FROM images WHERE state = 'open' AND draw >= :start "
    "AND {lease} AND NOT EXISTS (SELECT 1 FROM results WHERE results.checkpoint = :checkpoint "
    "AND results.sha256 = images.sha256 AND unreadable IS NOT NULL) ORDER BY draw LIMIT 1"
)
_ASIDE = ("labelled", "skipped", "flagged")
_MAX_PLANNED = 1000
"""More than a plan holds."""

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
        self,
        order: Order,
        checkpoint_id: str,
        client_id: str | None,
        start: float = 0.0,
        user: str | None = None,
    ) -> Offer | None:
        """Take the first image that nobody holds; when there is none, one that the client holds.

        Args:
            order: By which.
            checkpoint_id: Whose scores count.
            client_id: Who gets a lease; None for a client that does not say who it is.
            start: Where a random order begins, in [0, 1).
            user: The signed-in user, whose lease it is; None without tokens.

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
                "strategy": order.strategy,
                "now": now,
                "owner": None if client_id is None else owner_of(client_id, user),
            }
            row = _first(db, order, given, start)
            if row is None:
                return None
            image = db.execute("SELECT * FROM images WHERE number = ?", (row["image"],)).fetchone()
            lease = None
            if client_id is not None:
                lease = self._leases.grant(db, image["number"], image["id"], client_id, user)
            return Offer(
                id=image["id"],
                why=explain(db, order, checkpoint, image),
                lease=lease,
                base_version=image["version"],
                pool=tally(db, "state open"),
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
                "strategy": order.strategy,
                "now": self._leases.now(),
                "limit": limit,
                "planned": _MAX_PLANNED if order.planned else 0,
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
    """Number of the image to offer."""
    at_random = order.score_name is None
    queries = [(_AT_RANDOM, begin) for begin in (start, 0.0)] if at_random else [(_BY_SCORE, 0.0)]
    if order.planned:
        queries.insert(0, (_PLANNED, 0.0))
    columns = {_PLANNED: "images.number", _AT_RANDOM: "images.number", _BY_SCORE: "ranking.image"}
    for lease in (FREE, HELD):
        for query, begin in queries:
            condition = lease.format(image=columns[query])
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
            "{unplanned} ORDER BY draw LIMIT :limit"
        )
    else:
        scored = (
            "JOIN (SELECT image AS ranked, value FROM ranking WHERE checkpoint = :checkpoint "
            "AND name = :name AND open = 1 ORDER BY value DESC, image LIMIT :limit + :planned) "
            "ON ranked = images.number WHERE TRUE {unplanned} "
            "ORDER BY value DESC, images.number LIMIT :limit"
        )
    if order.planned:
        plan = "FROM plans WHERE checkpoint = :checkpoint AND strategy = :strategy"
        unplanned = f"images.number NOT IN (SELECT image {plan})"
        parts = [
            f"JOIN (SELECT image AS planned, place {plan}) ON planned = images.number "
            "WHERE state = 'open' AND results.sha256 IS NOT NULL AND unreadable IS NULL "
            "ORDER BY place LIMIT :limit",
            scored.format(unplanned=f"AND {unplanned}"),
        ]
    else:
        parts = [scored.format(unplanned="")]
    if counts.get("unscored") or counts.get("unreadable") or counts.get("leased"):
        parts.append(
            "WHERE state = 'open' AND (results.sha256 IS NULL OR unreadable IS NOT NULL) "
            "ORDER BY draw LIMIT :limit"
        )
    parts += [f"WHERE state = '{state}' ORDER BY draw LIMIT :limit" for state in _ASIDE]
    return parts


def _counts(db: sqlite3.Connection, given: dict[str, Any]) -> dict[str, int]:
    """Number of images by state as shown, without counting the pool."""
    counts = {state: tally(db, f"state {state}") for state in ("open", *_ASIDE)}
    scored = tally(db, f"ranked {given['checkpoint']} {_ANY_SCORE}")
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
    return QueueItem(
        id=row["id"],
        state=row["shown"],
        owner=row["client_id"] if row["shown"] == "leased" else None,
        why=explain(db, order, checkpoint, row) if scored else None,
        note=row["note"] or row["unreadable"],
        version=row["version"],
    )
