"""Batches planned in the background, so that asking for the next image only reads."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lfusion.acquisition import (
    Pick,
    egad,
    greedy_batch,
    k_center_greedy,
    standardised,
    stratified,
    typiclust,
    uncertain_spread,
)
from lfusion.errors import LFusionError
from monailabel_app.lib.index import Index
from monailabel_app.lib.index.plans import (
    PlanningPool,
    planned_from,
    planning_pool,
    pool_state,
    store_plan,
)
from monailabel_app.lib.served import ServedModel

logger = logging.getLogger(__name__)

BATCH = 64
"""Images of a plan: more than are labelled while the next one is made."""

_WAIT_SECONDS = 0.5
"""How long somebody waits for the first plan; a small pool takes less."""

_REST = 4.0
"""Times what a plan took: so long an older one stays in use, for a plan of 20 000 images takes up
to 20 s of a core that those who label need, and each label asks for another."""

_EGAD_LABELLED = 200
"""Labelled images, drawn at random, of which EGAD's mean similarity is taken."""

_Planner: TypeAlias = Callable[[PlanningPool, Sequence[str]], list[Pick]]
"""Chooses a batch among the ids of a pool's candidates."""


def _information_gain(pool: PlanningPool, ids: Sequence[str]) -> list[Pick]:
    return greedy_batch(ids, pool.information, BATCH, pool.known)


def _egad(pool: PlanningPool, ids: Sequence[str]) -> list[Pick]:
    return egad(
        ids, pool.scores["total_mean"], pool.embeddings, BATCH, pool.labelled[:_EGAD_LABELLED]
    )


def _looks(pool: PlanningPool) -> tuple[NDArray[np.float64], int, NDArray[np.float64]]:
    embeddings, labelled = standardised(pool.embeddings, pool.labelled)
    return embeddings, BATCH, labelled


def _epistemic_spread(pool: PlanningPool, ids: Sequence[str]) -> list[Pick]:
    return uncertain_spread(ids, *_looks(pool), pool.scores["epistemic_per_sqrt_area"])


def _coreset(pool: PlanningPool, ids: Sequence[str]) -> list[Pick]:
    return k_center_greedy(ids, *_looks(pool))


def _typiclust(pool: PlanningPool, ids: Sequence[str]) -> list[Pick]:
    return typiclust(ids, *_looks(pool))


def _stratified_random(pool: PlanningPool, ids: Sequence[str]) -> list[Pick]:
    return stratified(ids, *_looks(pool))


PLANNERS: Mapping[str, _Planner] = {
    "epistemic_spread": _epistemic_spread,
    "information_gain": _information_gain,
    "egad": _egad,
    "coreset": _coreset,
    "typiclust": _typiclust,
    "stratified_random": _stratified_random,
}
"""Strategy → how it plans."""


class BatchPlanning:
    """Keeps the plans of all strategies that were asked for up to date.

    Args:
        index: Of the studies.
        served: The model whose scores count.
    """

    def __init__(self, index: Index, served: ServedModel) -> None:
        self._index = index
        self._served = served
        self._lock = threading.Lock()
        self._running: dict[str, threading.Thread] = {}
        self._rested: dict[str, float] = {}

    def ensure(self, strategy: str) -> None:
        """See to it that a strategy has a plan of the pool as it is.

        While one that is older is renewed, and a while before, it stays in use; for the very
        first one the caller waits a moment.

        Args:
            strategy: Its name, one of `PLANNERS`.
        """
        checkpoint_id = self._served.checkpoint_id
        with self._index.read() as db:
            before = planned_from(db, checkpoint_id, strategy)
            if before == pool_state(db, checkpoint_id):
                return
        if before is not None and time.monotonic() < self._rested.get(strategy, 0.0):
            return
        with self._lock:
            thread = self._running.get(strategy)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(
                    target=self._background, args=(strategy,), name=f"plan {strategy}", daemon=True
                )
                self._running[strategy] = thread
                thread.start()
        if before is None:
            thread.join(_WAIT_SECONDS)

    def plan(self, strategy: str) -> None:
        """Plan a batch from what is scored now and store it.

        Raises:
            LFusionError: The served checkpoint cannot be used.
        """
        checkpoint_id = self._served.checkpoint_id
        since = self._served.learned_until()
        with self._index.read() as db:
            state = pool_state(db, checkpoint_id)
            pool = planning_pool(db, checkpoint_id, since)
        if pool is None:
            return
        picks = PLANNERS[strategy](pool, list(pool.numbers))
        with self._index.write() as db:
            store_plan(db, checkpoint_id, strategy, state, pool.numbers, picks)

    def _background(self, strategy: str) -> None:
        """A failure leaves the strategy with its older plan, or with its order without one."""
        began = time.monotonic()
        try:
            self.plan(strategy)
        except (LFusionError, OSError, sqlite3.Error):
            logger.exception("no batch could be planned for %s", strategy)
        took = time.monotonic() - began
        self._rested[strategy] = began + (1 + _REST) * took
