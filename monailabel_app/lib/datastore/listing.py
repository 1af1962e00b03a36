"""What clients read of images and labels, in the form of MONAI Label's own index."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path, PurePosixPath
from typing import Any

from lfusion.image.formats import suffix_of
from lfusion.protocol import INFO_KEY, StoredScore
from monailabel_app.lib.datastore.folder import StudiesFolder
from monailabel_app.lib.datastore.ledger import FINAL

_STORED = """
    LEFT JOIN checkpoints ON checkpoints.id = (SELECT value FROM meta WHERE key = 'served')
    LEFT JOIN results ON results.checkpoint = checkpoints.number
        AND results.sha256 = images.sha256
"""
"""The scores of an image by the checkpoint that is served."""

_IMAGE = "images.number, images.id, images.path, images.info"
_SCORE = "checkpoints.id AS checkpoint_id, results.scores, results.unreadable"


def image_row(db: sqlite3.Connection, image_id: str) -> sqlite3.Row | None:
    """The row of `images` of an image that is there."""
    row: sqlite3.Row | None = db.execute(
        "SELECT * FROM images WHERE id = ? AND present", (image_id,)
    ).fetchone()
    return row


def image_info(db: sqlite3.Connection, folder: StudiesFolder, row: sqlite3.Row) -> dict[str, Any]:
    """What clients stored with an image, with its file name, path and score."""
    scored = db.execute(
        f"SELECT {_IMAGE}, {_SCORE} FROM images {_STORED} WHERE images.number = ?",
        (row["number"],),
    ).fetchone()
    return {**_info(scored), "path": str(folder.image(row["path"]))}


def label_info(db: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """What clients stored with a label, with its file name and time."""
    version = db.execute(
        "SELECT time FROM versions WHERE image = ? AND tag = ? AND version = ?",
        (row["image"], row["tag"], row["version"]),
    ).fetchone()
    time = row["mtime_ns"] / 1e9 if version is None else version["time"]
    return {"ts": int(time), "name": row["file"], **json.loads(row["info"])}


def labelled_pairs(db: sqlite3.Connection, folder: StudiesFolder) -> list[dict[str, Any]]:
    """Image and final label of each labelled image."""
    rows = db.execute(
        "SELECT path, file FROM images JOIN labels ON image = number "
        "WHERE tag = ? AND present ORDER BY path",
        (FINAL,),
    )
    return [
        {"image": str(folder.image(path)), "label": str(folder.label(FINAL, file))}
        for path, file in rows
    ]


def all_objects(db: sqlite3.Connection, folder: StudiesFolder) -> dict[str, Any]:
    """All images by id, each with its labels by tag."""
    objects: dict[str, Any] = {}
    rows = db.execute(
        f"SELECT {_IMAGE}, {_SCORE} FROM images {_STORED} WHERE images.present ORDER BY images.path"
    )
    for row in rows:
        image = {"ext": _suffix(row["path"]), "info": _info(row)}
        objects[row["id"]] = {"image": image, "labels": {}}
    labels = db.execute(
        "SELECT id, labels.tag, file, labels.info, coalesce(time, labels.mtime_ns / 1e9) AS time "
        "FROM labels JOIN images ON labels.image = images.number LEFT JOIN versions ON "
        "versions.image = labels.image AND versions.tag = labels.tag "
        "AND versions.version = labels.version WHERE images.present"
    )
    for row in labels:
        info = {"ts": int(row["time"]), "name": row["file"], **json.loads(row["info"])}
        label = {"ext": _suffix(row["file"]), "info": info}
        objects[row["id"]]["labels"][row["tag"]] = label
    return objects


def tallies(db: sqlite3.Connection) -> dict[str, Any]:
    """Number of images, of labelled ones, and of labels by tag, without counting."""
    counts = {name: n for name, n in db.execute("SELECT name, n FROM tallies")}
    states = ("open", "labelled", "skipped", "flagged")
    return {
        "total": sum(counts.get(f"state {state}", 0) for state in states),
        "completed": counts.get("state labelled", 0),
        "label_tags": {
            name.removeprefix("label "): n
            for name, n in counts.items()
            if name.startswith("label ") and n
        },
    }


def _info(row: sqlite3.Row) -> dict[str, Any]:
    """What clients stored with an image, with its file name and score."""
    info: dict[str, Any] = {"name": PurePosixPath(row["path"]).name, **json.loads(row["info"])}
    if row["scores"] is not None:
        score = StoredScore(
            checkpoint_id=row["checkpoint_id"],
            scores=json.loads(row["scores"]),
            unreadable=row["unreadable"],
        )
        info[INFO_KEY] = score.model_dump()
    return info


def _suffix(name: str) -> str:
    """The suffix as it is written, `.nii.gz` as one."""
    return name[len(name) - len(suffix_of(Path(name))) :]
