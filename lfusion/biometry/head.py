"""The fetal head from one segmentation: circumference, BPD and OFD.

The head is measured as sonographers do it: one ellipse along the outer border of the skull.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import NDArray

from lfusion.biometry.ellipse import Ellipse
from lfusion.biometry.outline import Outline, checked_pixel_size, trace_outline
from lfusion.biometry.sensitivity import Sensitivity, sensitivity
from lfusion.types import PixelSize

MAX_RESIDUAL = 0.05
"""Largest root mean square distance of the contour from the ellipse, in radii."""
HEAD_MEASUREMENTS = ("hc", "bpd", "ofd")
"""Rows of `head_sensitivity`."""

Interval = tuple[float, float]
"""(low, high)."""


@dataclass(frozen=True)
class HeadBiometry:
    """What could be measured of one head, and why not when it could not.

    Attributes:
        hc_mm: Head circumference along the outer border of the skull.
        bpd_mm: Biparietal diameter, outer to outer: the ellipse's short axis.
        ofd_mm: Occipitofrontal diameter, outer to outer: the long axis.
        hc_px: Circumference in pixels; known without a pixel size, too.
        ellipse: The fitted ellipse in native pixels, to draw it.
        refusal: Why there is no `hc_mm`, in words for the sonographer; None
            when everything was measured.
        hc_mm_interval: (low, high) that holds the sonographer's value at `interval_level`.
        bpd_mm_interval: The same of `bpd_mm`.
        ofd_mm_interval: The same of `ofd_mm`.
        hc_px_interval: The same of `hc_px`; only when there is no pixel size.
        interval_level: Share of images whose value lies inside, such as 0.9; None when there
            are no intervals: a mask has none, nor has a model that was not calibrated for them.
    """

    hc_mm: float | None = None
    bpd_mm: float | None = None
    ofd_mm: float | None = None
    hc_px: float | None = None
    ellipse: Ellipse | None = None
    refusal: str | None = None
    hc_mm_interval: Interval | None = None
    bpd_mm_interval: Interval | None = None
    ofd_mm_interval: Interval | None = None
    hc_px_interval: Interval | None = None
    interval_level: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The measurement in plain JSON types; the ellipse is an object, an interval a list."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }


def measure_head(
    foreground: NDArray[Any], pixel_size_mm: PixelSize | None = None, note: str | None = None
) -> HeadBiometry:
    """Measure the largest head region of one image.

    Args:
        foreground: [height, width] in native pixels: the probability of head
            (its contour is found between the pixels), a bool mask, or an
            integer mask with one class (non-zero is head).
        pixel_size_mm: (row, column) size of a pixel; the two may differ.
        note: Reason why there is no pixel size, where one is known.

    Returns:
        The measurement. A head that cannot be measured is a value with a
        `refusal`, never an exception.

    Raises:
        NonFiniteError: If the probabilities hold NaN or infinity.
        ValueError: If the array is no such map or the pixel size is not positive.

    Example:
        >>> import numpy as np
        >>> rows, columns = np.mgrid[:100, :120]
        >>> disc = np.hypot(rows - 50, columns - 60) <= 40
        >>> round(measure_head(disc, (0.5, 0.5)).bpd_mm)  # 80 px of 0.5 mm
        40
    """
    checked_pixel_size(pixel_size_mm)
    return head_of(trace_outline(foreground, "head", MAX_RESIDUAL), pixel_size_mm, note)


def head_of(
    outline: Outline | str, pixel_size_mm: PixelSize | None, note: str | None = None
) -> HeadBiometry:
    """Return the biometry of a traced head in pixels and, with a pixel size, in mm.

    Args:
        outline: in pixels, or why there is none.
        pixel_size_mm: (row, column) size of a pixel.
        note: Reason why the pixel size is unknown, where a file gives one.
    """
    if isinstance(outline, str):
        return HeadBiometry(refusal=outline)
    ellipse = outline.ellipse
    hc_px = ellipse.circumference
    if pixel_size_mm is None:
        refusal = f"{note or 'no pixel size'}: the head is measured in pixels only"
        return HeadBiometry(hc_px=hc_px, ellipse=ellipse, refusal=refusal)
    hc_mm, bpd_mm, ofd_mm = _lengths(outline.scaled(pixel_size_mm).ellipse)
    return HeadBiometry(hc_mm, bpd_mm, ofd_mm, hc_px, ellipse)


def head_sensitivity(outline: Outline, pixel_size_mm: PixelSize) -> Sensitivity:
    """Return what HC, BPD and OFD in mm owe to each point of the head's outline in pixels."""
    return sensitivity(outline, pixel_size_mm, _lengths)


def _lengths(ellipse: Ellipse) -> Sequence[float]:
    """HC, BPD and OFD, in the order of `HEAD_MEASUREMENTS`."""
    return ellipse.circumference, 2 * ellipse.semi_minor, 2 * ellipse.semi_major
