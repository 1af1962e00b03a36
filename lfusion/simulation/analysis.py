"""Records → curves, areas under them, and who beats whom, paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lfusion.evaluation import Estimate, estimate, resample_weights
from lfusion.evaluation.bootstrap import Statistic, expanded_level
from lfusion.simulation.records import Cell, Record
from lfusion.simulation.simulate import FIRST

REPLICATES = 20_000
"""Resamples of an interval: those of few seeds reach far into the tails."""


@dataclass(frozen=True, eq=False)
class Curves:
    """One figure of all strategies over all seeds that every strategy has finished.

    Attributes:
        strategies: names.
        seeds: of the columns.
        blocks: of the columns; seeds of one data set have one number.
        labels: number of labels of each round.
        values: [strategies, seeds, rounds].
    """

    strategies: tuple[str, ...]
    seeds: tuple[int, ...]
    blocks: tuple[int, ...]
    labels: tuple[int, ...]
    values: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        records: Mapping[Cell, Record],
        start: int,
        query: int,
        figure: str = "dice",
        *,
        strategies: Sequence[str] | None = None,
        rounds: int | None = None,
    ) -> Curves:
        """Collect a figure of the simulations with these budgets.

        Args:
            records: from a `RecordFile`.
            start: labels at the beginning.
            query: labels per round.
            figure: attribute of `Record`.
            strategies: names; by default those that have finished a seed.
            rounds: trainings of each seed; by default the most that there are.

        Raises:
            ValueError: there is no seed that all strategies have finished.
        """
        own = [c for c in records if (c.start, c.query) == (start, query)]
        numbers = range(rounds or max((c.round for c in own), default=0) + 1)

        def cells(name: str, seed: int) -> list[Cell]:
            return [Cell(start, query, seed, name if r else FIRST, r) for r in numbers]

        played = tuple(strategies or dict.fromkeys(c.strategy for c in own if c.round))
        finished = {
            name: {c.seed for c in own if all(cell in records for cell in cells(name, c.seed))}
            for name in played
        }
        names = played if strategies else tuple(name for name in played if finished[name])
        seeds = tuple(
            sorted(set.intersection(*(finished[name] for name in names))) if names else ()
        )
        if not seeds:
            counts = ", ".join(f"{name} {len(found)}" for name, found in finished.items())
            raise ValueError(
                f"expected a seed of which all strategies have finished {len(numbers)} rounds from "
                f"{start} labels by {query}, got finished seeds: {counts or 'none'}"
            )
        values = np.array(
            [
                [[getattr(records[cell], figure) for cell in cells(name, seed)] for seed in seeds]
                for name in names
            ],
            np.float64,
        )
        labels = tuple(start + query * r for r in numbers)
        return cls(names, seeds, (0,) * len(seeds), labels, values)

    @classmethod
    def joined(cls, parts: Sequence[Curves]) -> Curves:
        """Put simulations on several data sets side by side, each seed of each a column.

        Args:
            parts: at least one, all with the same numbers of labels.

        Returns:
            The strategies that all have. Heights differ between data sets; differences within a
            seed, such as `against` and `wins`, can be compared.

        Raises:
            ValueError: the numbers of labels differ.
        """
        labels = {part.labels for part in parts}
        if len(labels) != 1:
            raise ValueError(f"expected the same numbers of labels, got {sorted(labels)}")
        names = tuple(n for n in parts[0].strategies if all(n in p.strategies for p in parts))
        values = [part.values[[part.strategies.index(name) for name in names]] for part in parts]
        seeds = tuple(seed for part in parts for seed in part.seeds)
        blocks = tuple(number for number, part in enumerate(parts) for _ in part.seeds)
        return cls(names, seeds, blocks, labels.pop(), np.concatenate(values, axis=1))

    def area(self) -> NDArray[np.float64]:
        """Return the normalised area under each curve, AUBC [strategies, seeds].

        The mean height over the label budget, by the trapezoidal rule.

        Source:
            X. Zhan et al., A comparative survey of deep active learning, 2022, arXiv 2203.13450.
        """
        labels = np.asarray(self.labels, np.float64)
        if len(labels) == 1:
            return self.values[..., 0]
        widths = np.diff(labels)
        heights = (self.values[..., 1:] + self.values[..., :-1]) / 2
        areas: NDArray[np.float64] = (heights * widths).sum(-1) / widths.sum()
        return areas

    def against(self, baseline: str) -> dict[str, Estimate]:
        """Return the mean difference of each strategy's area to a baseline's, paired by seed.

        Args:
            baseline: name of a strategy.

        Returns:
            Strategy → difference with its bootstrap interval over the seeds, those of each data
            set drawn for themselves; no interval for a single seed.
        """
        areas = self.area()
        gains = areas - areas[self.strategies.index(baseline)]
        sizes = [self.blocks.count(block) for block in dict.fromkeys(self.blocks)]
        names = {name: row for row, name in enumerate(self.strategies) if name != baseline}
        if min(sizes) == 1:
            return {n: Estimate(float(gains[row].mean()), None, None) for n, row in names.items()}
        parts = [
            resample_weights([None] * size, REPLICATES, number) for number, size in enumerate(sizes)
        ]
        weights, level = np.concatenate(parts, axis=1), expanded_level(sizes)
        return {n: estimate(_weighted(gains[row]), weights, level) for n, row in names.items()}

    def wins(self) -> NDArray[np.intp]:
        """Return how often the row beats the column, over seeds and rounds after the first."""
        later = self.values[:, :, 1:].reshape(len(self.strategies), -1)
        found: NDArray[np.intp] = (later[:, None] > later[None]).sum(-1)
        return found

    def labels_to_reach(self, height: float) -> NDArray[np.float64]:
        """Return how many labels the mean curve needs to a height; inf if it never gets there.

        Between two rounds the curve is a straight line.
        """
        return np.array([_first_reach(self.labels, row, height) for row in self.values.mean(1)])


def training_noise(repeats: Iterable[Sequence[float]]) -> float:
    """Return the standard deviation of a figure between trainings on the same labels.

    Args:
        repeats: for each set of labels, the figure of trainings that differ in their seed.
    """
    variances = [np.var(values, ddof=1) for values in repeats if len(values) > 1]
    return float(np.sqrt(np.mean(variances)))


def _weighted(values: NDArray[np.float64]) -> Statistic:
    def mean(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(weights @ values / weights.sum(-1))

    return mean


def _first_reach(labels: Sequence[int], heights: NDArray[np.float64], wanted: float) -> float:
    if heights[0] >= wanted:
        return float(labels[0])
    for left, right, low, high in zip(labels, labels[1:], heights, heights[1:], strict=False):
        if high >= wanted:
            share = (wanted - low) / (high - low)
            return float(left + share * (right - left))
    return float("inf")
