"""Why an image has its place, for people."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass

from lfusion.acquisition import PLANNED, STRATEGIES
from lfusion.protocol import Why

_PLANNED_SENTENCES = {
    "epistemic_spread": (
        "The model lacks knowledge for it, and it looks unlike the labelled images and those "
        "before it in the queue (root of the score times distance, {value:.3g})."
    ),
    "information_gain": (
        "Once the images before it in the queue are labelled, its label tells the model more than "
        "that of any other image ({value:.3g} nats)."
    ),
    "egad": (
        "It is among the third of the pool that the model is least sure of, and resembles the "
        "labelled images little ({value:.3g} on a scale from 1 to 2)."
    ),
    "coreset": (
        "It looks least like the labelled images and those before it in the queue "
        "(distance {value:.3g})."
    ),
    "typiclust": "It is a typical image of a large group of similar ones with few or no labels.",
    "stratified_random": (
        "Drawn at random from its kind of image, {percent:.0f} % of the pool, so that each kind "
        "gets its share of the labels."
    ),
}
_UNPLANNED = " It is not in the batch that is planned so far."


@dataclass(frozen=True)
class Order:
    """What a strategy sorts by.

    Attributes:
        strategy: Its name.
        score_name: The stored score, the highest first; None for a random order.
        planned: Whether the images of a stored plan come before all others.
    """

    strategy: str
    score_name: str | None
    planned: bool = False


_BY_NAME = {
    **{name: Order(name, score) for name, score in STRATEGIES.items()},
    **{name: Order(name, score, planned=True) for name, score in PLANNED.items()},
}
_DEFAULT = "epistemic_spread"  # docs/evidence/active_learning.md

ORDERS = {_DEFAULT: _BY_NAME[_DEFAULT], **_BY_NAME}
"""All strategies by name, the default first."""


def explain(
    db: sqlite3.Connection, order: Order, checkpoint: int | None, image: sqlite3.Row
) -> Why:
    """Say why an image has its place.

    Args:
        db: A transaction.
        order: Of the queue.
        checkpoint: Number of the one whose scores count, or None before its first score.
        image: Row of `images`.
    """
    row = db.execute(
        "SELECT scores FROM results WHERE checkpoint = ? AND sha256 = ?",
        (checkpoint, image["sha256"]),
    ).fetchone()
    parts: dict[str, float] = {} if row is None else json.loads(row["scores"])
    if not order.planned:
        return _by_score(db, order, checkpoint, parts)
    planned = db.execute(
        "SELECT value FROM plans WHERE checkpoint = ? AND strategy = ? AND image = ?",
        (checkpoint, order.strategy, image["number"]),
    ).fetchone()
    if planned is None:
        why = _by_score(db, order, checkpoint, parts)
        return why.model_copy(update={"sentence": why.sentence + _UNPLANNED})
    value = float(planned["value"])
    return Why(
        strategy=order.strategy,
        score_name=order.strategy,
        score=value,
        parts=parts,
        sentence=_PLANNED_SENTENCES[order.strategy].format(value=value, percent=100 * value),
    )


def _by_score(
    db: sqlite3.Connection, order: Order, checkpoint: int | None, parts: dict[str, float]
) -> Why:
    """Why, of an order by one score or at random."""
    value = None if order.score_name is None else parts.get(order.score_name)
    if value is None:
        return Why(strategy=order.strategy, parts=parts, sentence="Drawn at random.")
    total = tally(db, f"ranked {checkpoint} {order.score_name}")
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
            f"Its {str(order.score_name).replace('_', ' ')} of {value:.3g} is higher than that of "
            f"{percentile:.0f} % of the {total} scored images of the pool."
        ),
    )


def tally(db: sqlite3.Connection, name: str) -> int:
    """A number that the index keeps by name, 0 before it was first counted."""
    row = db.execute("SELECT n FROM tallies WHERE name = ?", (name,)).fetchone()
    return 0 if row is None else int(row[0])
