"""Stored scores: by content of the image and checkpoint, and in the order of each score."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

from lfusion.acquisition import PLANNED, STRATEGIES
from lfusion.protocol import StoredScore

RANKED = frozenset(name for name in (*STRATEGIES.values(), *PLANNED.values()) if name is not None)
"""The scores that strategies sort by; the others are stored, but not in order."""

_POOL_IMAGE = "number, id, path, size, mtime_ns"
_UNSCORED = """
    present AND (images.sha256 IS NULL OR NOT EXISTS (
        SELECT 1 FROM results
        WHERE results.checkpoint = :checkpoint AND results.sha256 = images.sha256))
"""


@dataclass(frozen=True)
class PoolImage:
    """An image as scoring needs it.

    Attributes:
        number: In the index.
        id: As clients name it.
        path: Below the studies folder.
        size: Bytes of the file at the last look.
        mtime_ns: Time of its last change, by then.
    """

    number: int
    id: str
    path: str
    size: int
    mtime_ns: int


def checkpoint_number(db: sqlite3.Connection, checkpoint_id: str) -> int:
    """The number of a checkpoint, in a writing transaction; it gets one when it is new."""
    db.execute("INSERT OR IGNORE INTO checkpoints (id) VALUES (?)", (checkpoint_id,))
    number = known_checkpoint(db, checkpoint_id)
    assert number is not None
    return number


def known_checkpoint(db: sqlite3.Connection, checkpoint_id: str) -> int | None:
    """The number of a checkpoint, or None when it never scored anything."""
    row = db.execute("SELECT number FROM checkpoints WHERE id = ?", (checkpoint_id,)).fetchone()
    return None if row is None else int(row[0])


def unscored(
    db: sqlite3.Connection, checkpoint: int, *, open_images: bool, after: int, limit: int
) -> list[PoolImage]:
    """The next images that a checkpoint has not scored.

    Args:
        db: A transaction.
        checkpoint: Its number.
        open_images: Those of the pool, else all others.
        after: Number of an image; those behind it.
        limit: At most so many.
    """
    rows = db.execute(
        f"SELECT {_POOL_IMAGE} FROM images WHERE {_UNSCORED} AND (state = 'open') = :open "
        "AND number > :after ORDER BY number LIMIT :limit",
        {"checkpoint": checkpoint, "open": open_images, "after": after, "limit": limit},
    )
    return [PoolImage(*row) for row in rows]


def spread_unscored(
    db: sqlite3.Connection, checkpoint: int, *, limit: int, offset: int
) -> list[PoolImage]:
    """Open images without a score, in the fixed random order, so from all over the folder.

    Args:
        db: A transaction.
        checkpoint: Its number.
        limit: At most so many.
        offset: So many come before them.
    """
    rows = db.execute(
        f"SELECT {_POOL_IMAGE} FROM images WHERE state = 'open' AND {_UNSCORED} ORDER BY draw "
        "LIMIT :limit OFFSET :offset",
        {"checkpoint": checkpoint, "limit": limit, "offset": offset},
    )
    return [PoolImage(*row) for row in rows]


def count_unscored(db: sqlite3.Connection, checkpoint: int) -> int:
    """How many images a checkpoint has not scored; takes long for many."""
    count = db.execute(
        f"SELECT count(*) FROM images WHERE {_UNSCORED}", {"checkpoint": checkpoint}
    ).fetchone()
    return int(count[0])


def has_result(db: sqlite3.Connection, checkpoint: int, digest: str) -> bool:
    """Whether a checkpoint has scored this content."""
    found = db.execute(
        "SELECT 1 FROM results WHERE checkpoint = ? AND sha256 = ?", (checkpoint, digest)
    ).fetchone()
    return found is not None


def store_contents(db: sqlite3.Connection, contents: Iterable[tuple[PoolImage, str]]) -> None:
    """Note the content of images, and rank them by what is known of it.

    One whose file was seen to be another since is left as it is: without a score.

    Args:
        db: A writing transaction.
        contents: Images with the SHA-256 of their file.
    """
    for image, digest in contents:
        noted = db.execute(
            "UPDATE images SET sha256 = ? WHERE number = ? AND size = ? AND mtime_ns = ?",
            (digest, image.number, image.size, image.mtime_ns),
        )
        if noted.rowcount:
            _rank(db, "images.number = ?", image.number)


def store_score(
    db: sqlite3.Connection,
    checkpoint: int,
    digest: str,
    score: StoredScore,
    embedding: bytes | None = None,
    information: bytes | None = None,
) -> None:
    """Store a score, and rank all images of this content by it.

    Args:
        db: A writing transaction.
        checkpoint: Its number.
        digest: SHA-256 of the image's file.
        score: Its scores, or why it has none.
        embedding: How it looks, float32; without one no batch is planned with the image.
        information: What its label would tell, float32, packed.
    """
    db.execute(
        "INSERT OR REPLACE INTO results "
        "(checkpoint, sha256, scores, unreadable, embedding, information) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            checkpoint,
            digest,
            json.dumps(score.scores),
            score.unreadable,
            embedding,
            information,
        ),
    )
    _rank(db, "images.sha256 = ?", digest)


def pool_generation(db: sqlite3.Connection) -> int:
    """A number that grows when an image is added or changes."""
    row = db.execute("SELECT n FROM tallies WHERE name = 'generation'").fetchone()
    return 0 if row is None else int(row[0])


def note_changed(db: sqlite3.Connection) -> None:
    """Note that an image is not what it was, in a writing transaction."""
    db.execute(
        "INSERT INTO tallies VALUES ('generation', 1) ON CONFLICT (name) DO UPDATE SET n = n + 1"
    )


def is_scored(db: sqlite3.Connection, checkpoint_id: str) -> bool:
    """Whether a checkpoint has scored the whole pool as it is now."""
    row = db.execute("SELECT generation FROM checkpoints WHERE id = ?", (checkpoint_id,)).fetchone()
    return row is not None and row[0] == pool_generation(db)


def is_served(db: sqlite3.Connection, checkpoint_id: str) -> bool:
    """Whether the index shows the scores of this checkpoint to clients."""
    row = db.execute("SELECT value FROM meta WHERE key = 'served'").fetchone()
    return row is not None and row[0] == checkpoint_id


def note_served(db: sqlite3.Connection, checkpoint_id: str) -> None:
    """Show the scores of this checkpoint to clients, and those of no other."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('served', ?)", (checkpoint_id,))


def note_scored(db: sqlite3.Connection, checkpoint: int, generation: int) -> None:
    """Note that a checkpoint has scored the pool of a generation; older results go.

    Those of the checkpoint before stay, for a return to it.
    """
    db.execute("UPDATE checkpoints SET generation = ? WHERE number = ?", (generation, checkpoint))
    db.execute(
        "DELETE FROM checkpoints WHERE number NOT IN "
        "(SELECT number FROM checkpoints WHERE number <> ? ORDER BY number DESC LIMIT 1) "
        "AND number <> ?",
        (checkpoint, checkpoint),
    )


def _rank(db: sqlite3.Connection, which: str, value: str | int) -> None:
    """Put images in their place in the order of each score, under every checkpoint."""
    # By way of the few checkpoints: without them, each image is looked for among all results.
    rows = db.execute(
        "SELECT results.checkpoint, images.number, state, scores "
        "FROM images CROSS JOIN checkpoints CROSS JOIN results "
        "ON results.checkpoint = checkpoints.number AND results.sha256 = images.sha256 "
        f"WHERE {which}",
        (value,),
    ).fetchall()
    for row in rows:
        ranked = [(row["checkpoint"], row["number"])]
        db.executemany("DELETE FROM ranking WHERE checkpoint = ? AND image = ?", ranked)
        db.executemany(
            "INSERT INTO ranking (checkpoint, name, open, value, image) VALUES (?, ?, ?, ?, ?)",
            (
                (row["checkpoint"], name, row["state"] == "open", score, row["number"])
                for name, score in json.loads(row["scores"]).items()
                if name in RANKED
            ),
        )
