"""What was measured of one image, how unsure it is, and the intervals that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.biometry import AngleOfProgression, HeadBiometry
from lfusion.biometry.head import Interval
from lfusion.uncertainty.intervals import conformal_factor

LEVEL = 0.9
"""Share of images whose true value an interval is to hold."""

Errors = Mapping[str, NDArray[np.float64]]
"""Quantity → |value − truth| / σ on held-out images."""


@dataclass(frozen=True)
class Area:
    """Expected area of one structure.

    Attributes:
        area_px: Σ p over the image, in pixels.
        area_mm2: The same in mm², or None without a pixel size.
        area_px_interval: (low, high) that holds the annotator's area at `interval_level`.
        area_mm2_interval: The same of `area_mm2`.
        interval_level: Share of images whose area lies inside; None without intervals.
    """

    area_px: float
    area_mm2: float | None = None
    area_px_interval: Interval | None = None
    area_mm2_interval: Interval | None = None
    interval_level: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The area in plain JSON types; an interval is a list."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class Measurement:
    """All that was measured of one image.

    A quantity is named `hc`, `bpd`, `ofd`, `aop` or `area NAME`; lengths are in mm, in pixels when
    there is no pixel size, angles in degrees and areas in pixels.

    Attributes:
        head: Of the fetal head; None when the model has no such label.
        angle: Angle of progression; None when the model lacks one of its two labels.
        areas: Label name → area.
        deviations: Quantity → σ, before calibration; none for a mask.
    """

    head: HeadBiometry | None = None
    angle: AngleOfProgression | None = None
    areas: Mapping[str, Area] = field(default_factory=dict)
    deviations: Mapping[str, float] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """Quantity → value, of those that could be measured."""
        found: dict[str, float | None] = {
            f"area {name}": area.area_px for name, area in self.areas.items()
        }
        if self.head is not None:
            in_mm = self.head.hc_mm is not None
            found["hc"] = self.head.hc_mm if in_mm else self.head.hc_px
            found |= {"bpd": self.head.bpd_mm, "ofd": self.head.ofd_mm}
        if self.angle is not None:
            found["aop"] = self.angle.aop_deg
        return {name: value for name, value in found.items() if value is not None}

    def with_intervals(self, errors: Errors, level: float = LEVEL) -> Measurement:
        """Return the same with value ± factor·σ wherever both are known.

        Args:
            errors: of held-out images (`standardised_errors`), stored with the weights. A quantity
                without, or with too few for the level, gets no interval: one that nobody checked
                would be too narrow.
            level: share of images to cover.
        """
        intervals = {}
        for name, value in self.values.items():
            factor = conformal_factor(errors[name], level) if name in errors else None
            if factor is not None and name in self.deviations:
                margin = factor * self.deviations[name]
                # angles too: none is negative, as the head's centre is on the positive side
                intervals[name] = (max(value - margin, 0.0), value + margin)
        return replace(
            self,
            head=self.head and _head_with(self.head, intervals, level),
            angle=self.angle and _angle_with(self.angle, intervals, level),
            areas={
                name: _area_with(area, intervals.get(f"area {name}"), level)
                for name, area in self.areas.items()
            },
        )


def standardised_errors(measured: Measurement, truth: Measurement) -> dict[str, float]:
    """Return |value − truth| / σ of each quantity that both know, for `with_intervals`.

    Args:
        measured: by the model.
        truth: by the annotator, of the same image with the same pixel size.
    """
    known = truth.values
    return {
        name: abs(value - known[name]) / measured.deviations[name]
        for name, value in measured.values.items()
        if name in known and measured.deviations.get(name, 0.0) > 0
    }


def _head_with(head: HeadBiometry, intervals: Mapping[str, Interval], level: float) -> HeadBiometry:
    if "hc" not in intervals:
        return head
    if head.hc_mm is None:
        return replace(head, hc_px_interval=intervals["hc"], interval_level=level)
    return replace(
        head,
        hc_mm_interval=intervals["hc"],
        bpd_mm_interval=intervals.get("bpd"),
        ofd_mm_interval=intervals.get("ofd"),
        interval_level=level,
    )


def _angle_with(
    angle: AngleOfProgression, intervals: Mapping[str, Interval], level: float
) -> AngleOfProgression:
    if "aop" not in intervals:
        return angle
    return replace(angle, aop_deg_interval=intervals["aop"], interval_level=level)


def _area_with(area: Area, interval: Interval | None, level: float) -> Area:
    if interval is None:
        return area
    in_mm = None
    if area.area_mm2 is not None and area.area_px > 0:
        scale = area.area_mm2 / area.area_px
        in_mm = (interval[0] * scale, interval[1] * scale)
    return replace(area, area_px_interval=interval, area_mm2_interval=in_mm, interval_level=level)
