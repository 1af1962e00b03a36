"""Label files that cannot be used, with the reason, until they are repaired or removed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in ns."""


def put_refusal(
    db: sqlite3.Connection, tag: str, file: str, image: int, stamp: Stamp, reason: str
) -> bool:
    """Note that a label file cannot be used.

    Args:
        db: A writing transaction.
        tag: Of the label that it would be.
        file: Below the studies folder, with slashes.
        image: Number of the image.
        stamp: Of the file.
        reason: Why, and what to do.

    Returns:
        Whether that is new.
    """
    row = (image, *stamp, reason)
    known = db.execute(
        "SELECT image, size, mtime_ns, reason FROM refusals WHERE tag = ? AND file = ?", (tag, file)
    ).fetchone()
    if known is not None and tuple(known) == row:
        return False
    db.execute("INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?, ?)", (tag, file, *row))
    return True


def drop_refusal(db: sqlite3.Connection, tag: str, file: str) -> None:
    """Forget a label file that can be used by now, or is gone."""
    db.execute("DELETE FROM refusals WHERE tag = ? AND file = ?", (tag, file))


def is_refused(db: sqlite3.Connection, tag: str, file: str) -> bool:
    """Whether a label file could not be used when it was last looked at."""
    query = "SELECT 1 FROM refusals WHERE tag = ? AND file = ?"
    return db.execute(query, (tag, file)).fetchone() is not None


def refused_files(db: sqlite3.Connection, tag: str, image: int | None = None) -> list[str]:
    """Paths of the refused files of one tag, of all images or of one."""
    rows = db.execute(
        "SELECT file FROM refusals WHERE tag = ? AND (? IS NULL OR image = ?)", (tag, image, image)
    ).fetchall()
    return [file for (file,) in rows]


def label_problems(db: sqlite3.Connection, images: Iterable[int]) -> dict[int, str]:
    """The refused label files of images, each with its path and the reason.

    Args:
        db: A transaction.
        images: Numbers of images.

    Returns:
        Text by number of the image, of those that have a refused file. A file whose name a label
        has that was saved since is left out.
    """
    wanted = set(images)
    rows = db.execute(
        "SELECT refusals.image, refusals.file, reason FROM refusals "
        "LEFT JOIN labels ON labels.image = refusals.image AND labels.tag = refusals.tag "
        "AND 'labels/' || labels.tag || '/' || labels.file = refusals.file "
        "WHERE labels.image IS NULL ORDER BY refusals.file"
    ).fetchall()
    found: dict[int, str] = {}
    for image, file, reason in rows:
        if image in wanted:
            before = f"{found[image]}; " if image in found else ""
            found[image] = f"{before}{file}: {reason}"
    return found
