"""Images, masks and datasets: between files and arrays with a pixel size; free of torch."""

from __future__ import annotations

from lfusion.image.dataset import Case, Dataset
from lfusion.image.image import CalibratedRegion, Calibration, Geometry, UltrasoundImage
from lfusion.image.read import (
    as_ultrasound_image,
    read_frames,
    read_image,
    read_mask,
    read_mask_frames,
)
from lfusion.image.sector import sector_mask
from lfusion.image.write import write_map, write_mask

__all__ = [
    "CalibratedRegion",
    "Calibration",
    "Case",
    "Dataset",
    "Geometry",
    "UltrasoundImage",
    "as_ultrasound_image",
    "read_frames",
    "read_image",
    "read_mask",
    "read_mask_frames",
    "sector_mask",
    "write_map",
    "write_mask",
]
