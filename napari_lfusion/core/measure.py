"""Measurements of the mask on screen, fast enough to follow each stroke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from lfusion.biometry import HeadBiometry, measure_head
from lfusion.types import LabelMap, PixelSize

HEAD_LABEL = "fetal head"
"""The structure whose circumference is measured."""


@dataclass(frozen=True)
class Change:
    """A mask beside the proposal that it came from.

    Attributes:
        changed_px: Pixels of another class.
        changed_mm2: Their area, None without a pixel size.
        before: Head of the proposal, None when the labels have no head.
        after: Head of the mask.
    """

    changed_px: int
    changed_mm2: float | None
    before: HeadBiometry | None
    after: HeadBiometry | None

    @property
    def delta_hc_mm(self) -> float | None:
        """HC after minus before; None when either could not be measured in mm."""
        if self.before is None or self.after is None:
            return None
        if self.before.hc_mm is None or self.after.hc_mm is None:
            return None
        return self.after.hc_mm - self.before.hc_mm


def measure(
    mask: LabelMap,
    labels: Mapping[str, int],
    pixel_size_mm: PixelSize | None,
    note: str | None = None,
) -> HeadBiometry | None:
    """Measure the head of a mask.

    Args:
        mask: [height, width] class numbers.
        labels: Class number by name.
        pixel_size_mm: (row, column), None when unknown.
        note: Reason why it is unknown, where one is known.

    Returns:
        The head, with a `refusal` where it cannot be measured; None when no class is a head.
    """
    head = labels.get(HEAD_LABEL)
    return None if head is None else measure_head(mask == head, pixel_size_mm, note)


def compare(
    before: HeadBiometry | None,
    proposal: LabelMap,
    mask: LabelMap,
    labels: Mapping[str, int],
    pixel_size_mm: PixelSize | None,
    note: str | None = None,
) -> Change:
    """What the corrections changed so far.

    Args:
        before: The proposal's own measurement, made once.
        proposal: [height, width] class numbers.
        mask: [height, width] class numbers on screen.
        labels: Class number by name.
        pixel_size_mm: (row, column), None when unknown.
        note: Reason why it is unknown, where one is known.

    Returns:
        The change.
    """
    changed = int(np.count_nonzero(mask != proposal))
    area = None if pixel_size_mm is None else changed * pixel_size_mm[0] * pixel_size_mm[1]
    return Change(changed, area, before, measure(mask, labels, pixel_size_mm, note))
