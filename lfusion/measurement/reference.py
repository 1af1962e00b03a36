"""What a sonographer measured, as `meta.csv` tells it."""

from __future__ import annotations

import math

from lfusion.errors import DatasetError
from lfusion.image import Case

HC_COLUMN = "hc_mm"
"""Column of meta.csv with the sonographer's head circumference."""


def reference_hc(case: Case) -> float | None:
    """Return the sonographer's HC in mm; None when the data set gives none for this image.

    Raises:
        DatasetError: it is no positive number.
    """
    text = case.meta.get(HC_COLUMN, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise DatasetError(
            f"image {case.id}: expected a positive {HC_COLUMN} in meta.csv, got {text!r}; "
            "leave the cell empty where it is not known"
        )
    return value
