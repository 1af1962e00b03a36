"""How a scripted annotator sees and moves: pure functions of masks, for `scripted_annotator.py`.

A person sees an outline to within a tolerance, deals with the largest visible error first, clicks
amid it or leads a round brush along the inside of the outline that he sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label

from lfusion.types import BoolMap
from napari_lfusion.core.regions import find_regions

TREMOR_LENGTH_PX = 20.0
"""Smoothness of the difference between the outline that is there and the one that is seen."""


@dataclass(frozen=True, eq=False)
class Fault:
    """A connected region of one kind of error.

    Attributes:
        where: [height, width].
        missing: Whether it should be foreground and is not.
        middle: (row, column) of its deepest pixel.
    """

    where: BoolMap
    missing: bool
    middle: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Stroke:
    """One stroke of a round brush.

    Attributes:
        covered: [height, width], what the brush went over.
        length_px: Way of its centre.
    """

    covered: BoolMap
    length_px: int


def perceived(reference: BoolMap, tolerance_px: float, seed: int) -> BoolMap:
    """The reference as a person sees it: its outline shifted here and there.

    Args:
        reference: [height, width].
        tolerance_px: Standard deviation of the shift.
        seed: Of the shift.
    """
    if tolerance_px == 0 or reference.all() or not reference.any():
        return reference
    signed = distance_transform_edt(reference) - distance_transform_edt(~reference)
    noise = np.random.default_rng(seed).standard_normal(reference.shape)
    shift = gaussian_filter(noise, TREMOR_LENGTH_PX, mode="wrap")
    seen: BoolMap = signed + tolerance_px * shift / shift.std() > 0
    return seen


def faults(mask: BoolMap, seen: BoolMap, tolerance_px: float) -> list[Fault]:
    """The visible errors of a mask, the largest first.

    Args:
        mask: [height, width] on screen.
        seen: [height, width] as it should be.
        tolerance_px: An error that is nowhere deeper is not noticed.
    """
    found = []
    for missing in (True, False):
        wrong = (seen & ~mask) if missing else (mask & ~seen)
        regions = find_regions(wrong.astype(np.float32), 0.5)
        for region in regions.items:
            top, left, bottom, right = region.box
            inner = np.pad(regions.numbers[top:bottom, left:right] == region.number, 1)
            depth = distance_transform_edt(inner)
            if depth.max() > tolerance_px:
                row, column = np.unravel_index(depth.argmax(), depth.shape)
                middle = (top + int(row) - 1, left + int(column) - 1)
                found.append((region.area_px, Fault(regions.mask(region.number), missing, middle)))
    return [fault for _, fault in sorted(found, key=lambda pair: -pair[0])]


def scribble(fault: Fault, step_px: float) -> list[tuple[int, int]]:
    """Points along the middle of a fault, as a scribble is sent: the deepest and others as deep.

    Args:
        fault: To scribble over.
        step_px: Distance between the points, at least.
    """
    depth = distance_transform_edt(np.pad(fault.where, 1))[1:-1, 1:-1]
    rows, columns = np.nonzero(depth > depth.max() / 2)
    order = np.argsort(-depth[rows, columns], kind="stable")
    points = np.stack([rows[order], columns[order]], axis=1)
    chosen: list[tuple[int, int]] = []
    while len(points):
        row, column = points[0].tolist()
        chosen.append((row, column))
        points = points[np.hypot(*(points - points[0]).T) >= step_px]
    return chosen


def stroke(fault: Fault, seen: BoolMap, radius_px: float) -> Stroke:
    """The stroke of a round brush that corrects most of a fault without harm.

    The brush stays inside of what is to have its class, in touch with the outline or, where a
    fault is deeper than the brush is wide, one or more brush widths from it. A fault that the
    brush does not get into is filled pixel by pixel.

    Args:
        fault: To correct.
        seen: [height, width] as it should be.
        radius_px: Of the brush.
    """
    rows, columns = _box(fault.where, round(2 * radius_px) + 2)
    wrong = fault.where[rows, columns]
    side = seen if fault.missing else ~seen
    depth = distance_transform_edt(side)[rows, columns]
    reach = distance_transform_edt(~wrong) <= radius_px
    # pixel by pixel, should the brush get nowhere
    best, most, length = wrong, 0, int(np.count_nonzero(wrong))
    for level in np.arange(radius_px, depth[wrong].max() + radius_px + 1, 2 * radius_px):
        track = reach & (depth > level) & (depth <= level + 1)
        for path in _connected(track):
            near = distance_transform_edt(~path) <= radius_px
            corrected = int(np.count_nonzero(near & wrong))
            if corrected > most:
                best, most, length = near, corrected, int(np.count_nonzero(path))
    covered = np.zeros_like(seen)
    covered[rows, columns] = best
    return Stroke(covered, length)


def enough(
    mask: BoolMap,
    reference: BoolMap,
    pixels: tuple[NDArray[np.intp], NDArray[np.intp]],
    target: float,
) -> int:
    """How many of some pixels have to be inverted, in their order, for a Dice.

    Args:
        mask: [height, width] before.
        reference: [height, width].
        pixels: Rows and columns, each pixel once.
        target: Dice.

    Returns:
        All of them where the Dice is not reached.

    Example:
        >>> reference = np.array([[True, True, True, True]])
        >>> enough(~reference, reference, (np.zeros(4, int), np.arange(4)), 0.6)
        2
    """
    sign = np.where(mask[pixels], -1, 1)
    overlap = np.count_nonzero(mask & reference) + np.cumsum(sign * reference[pixels])
    sizes = np.count_nonzero(mask) + np.cumsum(sign) + np.count_nonzero(reference)
    reached = np.flatnonzero(2 * overlap >= target * sizes)
    return int(reached[0]) + 1 if len(reached) else len(sign)


def _connected(track: BoolMap) -> list[BoolMap]:
    """The largest three connected parts of a track; the others are crumbs."""
    numbers, count = label(track, np.ones((3, 3)))
    areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
    return [numbers == 1 + part for part in np.argsort(-areas)[:3]]


def _box(where: BoolMap, margin: int) -> tuple[slice, slice]:
    """Rows and columns of a region with a margin."""
    slices = []
    for axis in (1, 0):
        there = np.flatnonzero(where.any(axis=axis))
        slices.append(slice(max(int(there[0]) - margin, 0), int(there[-1]) + 1 + margin))
    return slices[0], slices[1]
