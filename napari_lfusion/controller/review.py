"""Walking through the uncertain regions of the open case."""

from __future__ import annotations

import numpy as np
from psygnal import Signal

from lfusion.types import FloatMap
from napari_lfusion.core.regions import Region, Regions, Review, find_regions

_EMPTY = np.zeros((1, 1), np.float32)


class RegionReview:
    """Which regions there are at the threshold, which one is looked at, which are decided."""

    changed = Signal()
    """Other regions, or one more decided."""
    selected = Signal(object)
    """The region that is looked at now, or None."""

    def __init__(self) -> None:
        self._values = _EMPTY
        self.regions: Regions = find_regions(_EMPTY, 1.0)
        """At the threshold, the highest score first."""
        self.review = Review.begin((1, 1))
        """What was decided."""
        self.current: Region | None = None
        """The region that is looked at."""

    def begin(self, shape: tuple[int, ...]) -> None:
        """A new case: nothing decided, no regions yet.

        Args:
            shape: Of the image.
        """
        self.review = Review.begin((shape[0], shape[1]))
        self.show(np.zeros(shape, np.float32), 1.0)

    def show(self, values: FloatMap, threshold: float) -> None:
        """Cut a map at a threshold; what was decided stays decided.

        Args:
            values: [height, width], nats.
            threshold: Nats.
        """
        self._values = values
        self.regions = find_regions(values, threshold)
        self._select(None)
        self.changed.emit()

    @property
    def waiting(self) -> int:
        """Regions that wait for a decision."""
        return len(self.review.open_regions(self.regions))

    def next_open(self) -> Region | None:
        """Go to the next region that waits for a decision.

        Returns:
            The region, or None when all are decided.
        """
        number = None if self.current is None else self.current.number
        return self._select(self.review.following(self.regions, number))

    def move(self, step: int) -> Region | None:
        """Go up or down in rank, decided or not; it ends at both ends.

        Args:
            step: 1 for the next lower score, -1 for the next higher.

        Returns:
            The region, or None when there is none.
        """
        items = self.regions.items
        if not items:
            return self._select(None)
        index = 0 if self.current is None else self.current.number - 1 + step
        return self._select(items[min(max(index, 0), len(items) - 1)])

    def decide(self) -> Region | None:
        """The region that is looked at needs no more attention.

        Returns:
            The region, or None when none was looked at.
        """
        if self.current is not None:
            self.review = self.review.decide(self.regions, self.current.number)
            self.changed.emit()
        return self.current

    def _select(self, region: Region | None) -> Region | None:
        self.current = region
        self.selected.emit(region)
        return region
