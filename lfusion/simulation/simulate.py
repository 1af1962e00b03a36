"""Active learning played through on a data set whose labels are all known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lfusion.acquisition import random_score
from lfusion.checkpoint import Checkpoint
from lfusion.errors import DatasetError
from lfusion.simulation.candidates import Candidates
from lfusion.simulation.learner import Learner, Performance, measure
from lfusion.simulation.pool import HeldOutImage, PoolImage
from lfusion.simulation.records import Cell, Record, RecordFile
from lfusion.simulation.strategies import STRATEGIES

FIRST = "random"
"""Strategy that the first labels are recorded under; all others share them."""

OnRecord = Callable[[Record], None]


@dataclass(frozen=True)
class Plan:
    """What to play through.

    Attributes:
        strategies: names from `STRATEGIES`.
        seeds: paired over the strategies.
        start: labels at the beginning.
        query: labels that a round adds.
        rounds: trainings per strategy, the first one included.
    """

    strategies: Sequence[str]
    seeds: Sequence[int]
    start: int = 5
    query: int = 5
    rounds: int = 5

    def check(self, pool: int) -> None:
        """Refuse what cannot be played.

        Raises:
            DatasetError: an unknown strategy, or more labels than images.
        """
        unknown = [name for name in self.strategies if name not in STRATEGIES]
        if unknown:
            raise DatasetError(
                f"expected strategies among {', '.join(STRATEGIES)}, got {', '.join(unknown)}"
            )
        most = self.start + self.query * (self.rounds - 1)
        if most > pool:
            raise DatasetError(
                f"expected at least the {most} images to label until the last round, got {pool}; "
                "fewer rounds or smaller queries"
            )


@dataclass(frozen=True, eq=False)
class Simulation:
    """A data set, a learner and a file for the results.

    Attributes:
        pool: images to label.
        held_out: images to measure on.
        learner: makes the learner of a seed, so that first weights are shared within a seed.
        file: for the records.
    """

    pool: Sequence[PoolImage]
    held_out: Sequence[HeldOutImage]
    learner: Callable[[int], Learner]
    file: RecordFile
    _samples: Mapping[str, PoolImage] = field(init=False)

    def __post_init__(self) -> None:
        """Index the pool."""
        object.__setattr__(self, "_samples", {image.id: image for image in self.pool})

    def run(self, plan: Plan, on_record: OnRecord) -> None:
        """Play what is not in the file yet, seed by seed, so that all seeds are complete pairs.

        Args:
            plan: what to play.
            on_record: called after each round, also of one that was there.

        Raises:
            DatasetError: the plan cannot be played on this pool.
        """
        plan.check(len(self.pool))
        for seed in plan.seeds:
            learner = self.learner(seed)
            trainings = _Trainings(self._samples, learner, seed, plan.start)
            for strategy in plan.strategies:
                self._play(plan, strategy, trainings, on_record)

    def repeat(self, record: Record, training_seed: int, file: RecordFile) -> Record:
        """Train once more on the labels of a round, and keep what came of it elsewhere.

        How much such trainings differ is the noise that a comparison has to exceed.

        Args:
            record: of the round.
            training_seed: in place of the round's own; it draws batches, augmentation, dropout.
            file: for the result, whose cell has this seed.
        """
        samples = [self._samples[image_id].sample for image_id in record.chosen]
        began = time.perf_counter()
        checkpoint = self.learner(record.cell.seed).learn(samples, training_seed)
        seconds = time.perf_counter() - began
        cell = replace(record.cell, seed=training_seed)
        found = measure(checkpoint, self.held_out)
        repeated = _record(cell, record.chosen, found, seconds, None)
        file.append(repeated)
        return repeated

    def _play(self, plan: Plan, strategy: str, trainings: _Trainings, on_record: OnRecord) -> None:
        done, seed = self.file.read(), trainings.seed
        chosen = first_labels(self.pool, plan.start, seed)
        for number in range(plan.rounds):
            cell = Cell(plan.start, plan.query, seed, strategy if number else FIRST, number)
            if cell in done:
                chosen = done[cell].chosen
                on_record(done[cell])
                continue
            seconds: float | None = None
            if number:
                before = trainings.model(chosen)
                began = time.perf_counter()
                candidates = Candidates(self.pool, chosen, before, 1000 * seed + number)
                chosen = (*chosen, *STRATEGIES[strategy](candidates, plan.query))
                seconds = time.perf_counter() - began
            began = time.perf_counter()
            checkpoint = trainings.model(chosen)
            training = time.perf_counter() - began
            record = _record(cell, chosen, measure(checkpoint, self.held_out), training, seconds)
            self.file.append(record)
            on_record(record)


class _Trainings:
    """Trainings of one seed; the model of the first labels and the last one are remembered."""

    def __init__(
        self, samples: Mapping[str, PoolImage], learner: Learner, seed: int, start: int
    ) -> None:
        self.seed = seed
        self._samples, self._learner, self._start = samples, learner, start
        self._first: Checkpoint | None = None
        self._last: tuple[tuple[str, ...], Checkpoint] | None = None

    def model(self, chosen: tuple[str, ...]) -> Checkpoint:
        """Return the model of these labels."""
        if len(chosen) == self._start and self._first is not None:
            return self._first
        if self._last is not None and self._last[0] == chosen:
            return self._last[1]
        samples = [self._samples[image_id].sample for image_id in chosen]
        checkpoint = self._learner.learn(samples, self.seed)
        if len(chosen) == self._start:
            self._first = checkpoint
        self._last = (chosen, checkpoint)
        return checkpoint


def first_labels(pool: Sequence[PoolImage], count: int, seed: int) -> tuple[str, ...]:
    """Draw the first labels, at most one of each examination while there are enough of them."""
    order = sorted(pool, key=lambda image: random_score(image.id, seed))
    firsts: dict[str, str] = {}
    for image in order:
        firsts.setdefault(image.group or image.id, image.id)
    spread = list(firsts.values())
    rest = [image.id for image in order if image.id not in set(spread)]
    return tuple((spread + rest)[:count])


def _record(
    cell: Cell,
    chosen: Sequence[str],
    found: Performance,
    training_s: float,
    choosing_s: float | None,
) -> Record:
    errors = np.abs(found.hc_error_mm)
    return Record(
        cell=cell,
        chosen=tuple(chosen),
        dice=float(np.mean(found.dice)),
        dice_p05=float(np.quantile(found.dice, 0.05)),
        hc_mae_mm=float(errors.mean()) if len(errors) else None,
        hc_refused=found.refused,
        training_s=training_s,
        choosing_s=choosing_s,
    )
