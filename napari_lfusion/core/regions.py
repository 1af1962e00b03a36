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
    pixels = _Pixels.above(above)
    scores = np.bincount(pixels.numbers, values[pixels.rows, pixels.columns], pixels.count + 1)
    kept = 1 + np.flatnonzero(pixels.areas[1:] >= min_area_px)
    order = kept[np.argsort(-scores[kept], kind="stable")]
    ranks = np.zeros(pixels.count + 1, np.int32)
    ranks[order] = np.arange(1, len(order) + 1)
    ranked = np.zeros(values.shape, np.int32)
    ranked[pixels.rows, pixels.columns] = ranks[pixels.numbers]
    boxes, centroids = pixels.boxes[order].tolist(), pixels.centroids(values)[order].tolist()
    items = tuple(
        Region(rank, float(scores[old]), int(pixels.areas[old]), tuple(box), tuple(centroid))
        for rank, (old, box, centroid) in enumerate(
            zip(order, boxes, centroids, strict=True), start=1
        )
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
    short = (level for level in levels if _longest(values >= np.float32(level)) <= longest)
    return float(next(short, levels[-1]))


def _longest(above: BoolMap) -> int:
    """Longer side of the longest region that is none too small, in pixels."""
    pixels = _Pixels.above(above)
    boxes = pixels.boxes[pixels.areas >= MIN_AREA_PX]
    return int((boxes[:, 2:] - boxes[:, :2]).max(initial=0))


@dataclass(frozen=True, eq=False)
class _Pixels:
    """The pixels of all regions, as arrays: objects for thousands of specks would cost more.

    Attributes:
        rows: [pixels].
        columns: [pixels].
        numbers: [pixels], number of the pixel's region, from 1.
        count: Number of regions.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    numbers: NDArray[np.int32]
    count: int

    @classmethod
    def above(cls, above: BoolMap) -> _Pixels:
        """Of the connected regions of a mask."""
        found: Any = ndimage.label(above, structure=_NEIGHBOURS)
        rows, columns = np.nonzero(above)
        return cls(rows, columns, found[0][rows, columns], int(found[1]))

    @property
    def areas(self) -> NDArray[np.intp]:
        """[count + 1], the first is of no region and 0."""
        return np.bincount(self.numbers, minlength=self.count + 1)

    @property
    def boxes(self) -> NDArray[np.intp]:
        """[count + 1, 4], as `Region.box`; the first is of no region."""
        boxes = np.tile(np.array([np.iinfo(np.intp).max] * 2 + [0] * 2), (self.count + 1, 1))
        for side, places in enumerate((self.rows, self.columns)):
            np.minimum.at(boxes[:, side], self.numbers, places)
            np.maximum.at(boxes[:, side + 2], self.numbers, places + 1)
        return boxes

    def centroids(self, values: FloatMap) -> NDArray[np.float64]:
        """[count + 1, 2], weighted by the values; a region of zeros counts evenly."""
        weights = values[self.rows, self.columns].astype(np.float64)
        empty = np.bincount(self.numbers, weights, self.count + 1) == 0
        weights[empty[self.numbers]] = 1.0
        total = np.bincount(self.numbers, weights, self.count + 1)
        places = (self.rows, self.columns)
        sums = [np.bincount(self.numbers, weights * place, self.count + 1) for place in places]
        total = np.maximum(total, np.finfo(np.float64).tiny)
        centroids: NDArray[np.float64] = np.stack(sums, axis=1) / total[:, None]
        return centroids


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
