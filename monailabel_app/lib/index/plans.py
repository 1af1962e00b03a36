"""Batches that a strategy planned, and what it plans them from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.acquisition import Pick
from monailabel_app.lib.index.results import RANKED, known_checkpoint, pool_generation

MAX_CANDIDATES = 20_000
"""Open images that a batch is chosen from; of a larger pool the first of its fixed random order."""

MAX_LABELLED = 1000
"""Labelled images that a candidate is compared with; of more a fixed random part."""

PLANNED_BY = ("total_mean", "epistemic_per_sqrt_area")
"""Stored scores that a batch is planned from."""

_MAX_BYTES = 128 * 2**20
_STORED = "results.checkpoint = :checkpoint AND results.embedding IS NOT NULL"


@dataclass(frozen=True, eq=False)
class PlanningPool:
    """The open and the labelled images, as planning needs them.

    Attributes:
        numbers: id → number in the index, of the candidates.
        scores: name → stored score, those of `PLANNED_BY`, [candidates].
        embeddings: of the candidates.
        information: of the candidates, packed.
        labelled: embeddings of the labelled images.
        known: information, packed and summed, over images labelled since the checkpoint was made.
    """

    numbers: dict[str, int]
    scores: dict[str, NDArray[np.float64]]
    embeddings: NDArray[np.float32]
    information: NDArray[np.float32]
    labelled: NDArray[np.float32]
    known: NDArray[np.float64]


def pool_state(db: sqlite3.Connection, checkpoint_id: str) -> str:
    """What changes when a plan may have to: labels, the open images, and scores being made."""
    row = db.execute("SELECT * FROM checkpoints WHERE id = ?", (checkpoint_id,)).fetchone()
    generation = pool_generation(db)
    names = ["labelling", "state open"]
    if row is not None and row["generation"] != generation:
        names.append(f"ranked {row['number']} {min(RANKED)}")
    counts = [
        db.execute("SELECT coalesce(max(n), 0) FROM tallies WHERE name = ?", (name,)).fetchone()[0]
        for name in names
    ]
    return json.dumps([generation, *counts])


def planned_from(db: sqlite3.Connection, checkpoint_id: str, strategy: str) -> str | None:
    """The `pool_state` that a strategy's plan was made from, or None without a plan."""
    row = db.execute(
        "SELECT pool FROM plan_states JOIN checkpoints ON number = checkpoint "
        "WHERE id = ? AND strategy = ?",
        (checkpoint_id, strategy),
    ).fetchone()
    return None if row is None else str(row["pool"])


def planning_pool(db: sqlite3.Connection, checkpoint_id: str, since: float) -> PlanningPool | None:
    """Read what a batch is planned from.

    Args:
        db: A transaction.
        checkpoint_id: Whose scores count.
        since: The checkpoint has learned from labels up to this time, seconds since 1970.

    Returns:
        None when the checkpoint has scored no open image.
    """
    given = {"checkpoint": known_checkpoint(db, checkpoint_id), "since": since}
    row = db.execute(
        f"SELECT length(embedding) + length(information) FROM results WHERE {_STORED} LIMIT 1",
        given,
    ).fetchone()
    if row is None:
        return None
    most = min(MAX_CANDIDATES, _MAX_BYTES // row[0])
    candidates = _stored(db, "state = 'open'", {**given, "most": most})
    if not candidates:
        return None
    labelled = _stored(db, "state = 'labelled'", {**given, "most": MAX_LABELLED})
    information = _rows(candidates, "information")
    known = np.zeros(information.shape[1])
    for (triangle,) in db.execute(
        "SELECT information FROM images JOIN results USING (sha256) "
        f"WHERE state = 'labelled' AND {_STORED} AND :since < (SELECT min(time) FROM versions "
        "WHERE versions.image = images.number AND tag = 'final')",
        given,
    ):
        known += np.frombuffer(triangle, np.float32)
    embeddings = _rows(candidates, "embedding")
    scores = [json.loads(row["scores"]) for row in candidates]
    return PlanningPool(
        numbers={row["id"]: row["number"] for row in candidates},
        scores={name: np.array([s[name] for s in scores], np.float64) for name in PLANNED_BY},
        embeddings=embeddings,
        information=information,
        labelled=_rows(labelled, "embedding").reshape(-1, embeddings.shape[1]),
        known=known,
    )


def store_plan(
    db: sqlite3.Connection,
    checkpoint_id: str,
    strategy: str,
    state: str,
    numbers: dict[str, int],
    picks: Sequence[Pick],
) -> None:
    """Replace the plan of a strategy; images that are gone meanwhile are left out.

    Args:
        db: A writing transaction.
        checkpoint_id: Whose scores it was made from.
        strategy: Its name.
        state: The `pool_state` it was made from.
        numbers: id → number in the index.
        picks: In the order of the plan.
    """
    checkpoint = known_checkpoint(db, checkpoint_id)
    if checkpoint is None:  # its results were removed while this plan was made
        return
    db.execute("DELETE FROM plans WHERE checkpoint = ? AND strategy = ?", (checkpoint, strategy))
    db.executemany(
        "INSERT INTO plans (checkpoint, strategy, place, image, value) "
        "SELECT ?, ?, ?, number, ? FROM images WHERE number = ?",
        (
            (checkpoint, strategy, place, pick.value, numbers[pick.id])
            for place, pick in enumerate(picks)
        ),
    )
    db.execute("INSERT OR REPLACE INTO plan_states VALUES (?, ?, ?)", (checkpoint, strategy, state))


def _stored(db: sqlite3.Connection, which: str, given: dict[str, Any]) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT id, number, scores, embedding, information FROM images "
        f"JOIN results USING (sha256) WHERE {which} AND {_STORED} ORDER BY draw LIMIT :most",
        given,
    ).fetchall()


def _rows(stored: Sequence[sqlite3.Row], column: str) -> NDArray[np.float32]:
    joined = b"".join(row[column] for row in stored)
    return np.frombuffer(joined, np.float32).reshape(len(stored), -1 if stored else 0)
