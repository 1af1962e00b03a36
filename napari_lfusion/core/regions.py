"""Where to look: connected regions of high uncertainty, ranked by how much doubt they hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfusion.types import BoolMap, FloatMap, LabelMap

MIN_AREA_PX = 9
"""Smaller specks are not worth a jump; they stay under the brush gate."""
LONGEST_REGION = 0.25
"""Share of the image's longer side that one place to look at may span."""
_QUANTILES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
_NEIGHBOURS = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True)
class Region:
    """One connected region above the threshold.

    Attributes:
        number: Its rank, from 1; also its value in `Regions.numbers`.
        score: Summed uncertainty of its pixels, nats.
        area_px: Its pixels.
        box: First row, first column, last row, last column, the last ones excluded.
        centroid: (row, column), weighted by uncertainty.
    """

    number: int
    score: float
    area_px: int
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Regions:
    """All regions of one map at one threshold.

    Attributes:
        threshold: Nats; pixels at or above it count.
        above: [height, width], the brush gate: all pixels at or above the threshold.
        numbers: [height, width], number of the region of each pixel, 0 outside.
        items: The highest score first.
    """

    threshold: float
    above: BoolMap
    numbers: NDArray[np.int32]
    items: tuple[Region, ...]

    def mask(self, number: int) -> BoolMap:
        """[height, width], the pixels of one region."""
        pixels: BoolMap = self.numbers == number
        return pixels

    def at(self, row: int, column: int) -> Region | None:
        """The region of a pixel, or None."""
        height, width = self.numbers.shape
        inside = 0 <= row < height and 0 <= column < width
        number = int(self.numbers[row, column]) if inside else 0
        return self.items[number - 1] if number else None


def find_regions(values: FloatMap, threshold: float, min_area_px: int = MIN_AREA_PX) -> Regions:
    """Cut a map at a threshold and rank what is left; a few ms at 512², so cheap to repeat.

    Args:
        values: [height, width] uncertainty, nats, finite.
        threshold: Nats; pixels at or above it count.
        min_area_px: Smaller regions are left out; diagonal neighbours are connected.

    Returns:
        The regions, ranked by summed score; equal ones by their first pixel.

    Example:
        >>> values = np.zeros((4, 8), np.float32)
        >>> values[1:3, 0:3], values[1:3, 5:7] = 0.1, 0.5
        >>> [round(region.score, 3) for region in find_regions(values, 0.1, 1).items]
        [2.0, 0.6]
    """
    above: BoolMap = values >= np.float32(threshold)
    found: Any = ndimage.label(above, structure=_NEIGHBOURS)
    pixels = np.flatnonzero(above)  # few, so that all that follows is cheap
    numbers, count = found[0].ravel()[pixels], int(found[1])
    areas = np.bincount(numbers, minlength=count + 1)
    scores = np.bincount(numbers, weights=values.ravel()[pixels], minlength=count + 1)
    kept = 1 + np.flatnonzero(areas[1:] >= min_area_px)
    order = kept[np.argsort(-scores[kept], kind="stable")]
    ranks = np.zeros(count + 1, np.int32)
    ranks[order] = np.arange(1, len(order) + 1)
    ranked = np.zeros(values.shape, np.int32)
    ranked.ravel()[pixels] = ranks[numbers]
    boxes: list[Any] = ndimage.find_objects(ranked)
    items = tuple(
        _region(values, ranked, rank, float(scores[old]), int(areas[old]), box)
        for rank, (old, box) in enumerate(zip(order.tolist(), boxes, strict=True), start=1)
    )
    return Regions(float(threshold), above, ranked, items)


def suggested_threshold(values: FloatMap) -> float:
    """Where to begin: the lowest threshold that leaves places to go to rather than outlines.

    Doubt lies along borders, so that a low threshold finds one ring around the whole structure.
    Of some quantiles of the map's pixels above a hundredth of its maximum, the first is taken at
    which no region is longer than a quarter of the image.

    Args:
        values: [height, width] uncertainty, nats, finite.

    Returns:
        Nats; infinity for a map without any doubt, which leaves nothing above it.
    """
    doubtful = values[values > values.max() / 100]
    if doubtful.size == 0:
        return math.inf
    longest = max(values.shape) * LONGEST_REGION
    levels = np.quantile(doubtful, _QUANTILES).tolist()
    for level in levels:
        boxes = [region.box for region in find_regions(values, level).items]
        if all(max(box[2] - box[0], box[3] - box[1]) <= longest for box in boxes):
            return float(level)
    return float(levels[-1])


def _region(
    values: FloatMap,
    numbers: NDArray[np.int32],
    number: int,
    score: float,
    area: int,
    box: tuple[slice, slice],
) -> Region:
    rows, columns = box
    weights = np.where(numbers[box] == number, values[box].astype(np.float64), 0.0)
    total = weights.sum()
    if total > 0:
        row = float(weights.sum(axis=1) @ np.arange(rows.start, rows.stop) / total)
        column = float(weights.sum(axis=0) @ np.arange(columns.start, columns.stop) / total)
    else:
        row, column = (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2
    return Region(
        number,
        score,
        area,
        (rows.start, columns.start, rows.stop, columns.stop),
        (row, column),
    )


@dataclass(frozen=True, eq=False)
class Review:
    """Which pixels the annotator has decided on; it outlives a change of the threshold.

    Attributes:
        decided: [height, width], True where a region was accepted or reverted.
    """

    decided: BoolMap

    @classmethod
    def begin(cls, shape: tuple[int, int]) -> Review:
        """Nothing decided yet."""
        return cls(np.zeros(shape, dtype=np.bool_))

    def decide(self, regions: Regions, number: int) -> Review:
        """The same with one region decided: accepted as it is, or reverted."""
        return replace(self, decided=self.decided | regions.mask(number))

    def reopen(self, regions: Regions, number: int) -> Review:
        """The same with one region open again, as after an undo."""
        return replace(self, decided=self.decided & ~regions.mask(number))

    def is_decided(self, regions: Regions, number: int) -> bool:
        """Whether more than half of a region's pixels were decided on."""
        area = regions.items[number - 1].area_px
        return 2 * int(np.count_nonzero(self.decided & regions.mask(number))) > area

    def open_regions(self, regions: Regions) -> tuple[Region, ...]:
        """The regions that wait for a decision, the highest score first."""
        decided = np.bincount(
            regions.numbers.ravel(), weights=self.decided.ravel(), minlength=len(regions.items) + 1
        )
        return tuple(item for item in regions.items if 2 * decided[item.number] <= item.area_px)

    def following(self, regions: Regions, number: int | None) -> Region | None:
        """The next open region after one in rank, around to the first; None when all are done."""
        waiting = self.open_regions(regions)
        later = (item for item in waiting if number is not None and item.number > number)
        return next(later, waiting[0] if waiting else None)


def reversion(
    mask: LabelMap, proposal: LabelMap, where: BoolMap
) -> tuple[tuple[NDArray[np.intp], NDArray[np.intp]], NDArray[np.uint8]]:
    """What has to be written into a mask so that it is the proposal again within a region.

    Args:
        mask: [height, width] on screen.
        proposal: [height, width] by the model.
        where: [height, width], the region.

    Returns:
        (rows, columns) of the pixels that differ, and their class numbers: the arguments of one
        `data_setitem`, one undo step. Empty when nothing differs.
    """
    rows, columns = np.nonzero(where & (mask != proposal))
    return (rows, columns), proposal[rows, columns]
