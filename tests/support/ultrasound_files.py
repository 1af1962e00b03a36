"""Real DICOM ultrasound files made of any pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)


def calibrated(size: tuple[int, int], pixel_size_mm: tuple[float, float]) -> Dataset:
    """One region of 2-D tissue over the whole picture, in cm as scanners write it."""
    region = Dataset()
    region.RegionSpatialFormat = region.RegionDataType = 1
    region.RegionFlags = 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = size[1] - 1, size[0] - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = pixel_size_mm[1] / 10, pixel_size_mm[0] / 10
    return region


def write_ultrasound(
    path: Path,
    frames: NDArray[np.uint8],
    pixel_size_mm: tuple[float, float],
    **attributes: Any,
) -> Path:
    """Write [frames, height, width] or, for RGB, [frames, height, width, 3]; a still has one."""
    cine = len(frames) > 1
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = (
        UltrasoundMultiFrameImageStorage if cine else UltrasoundImageStorage
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = generate_uid()
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.is_little_endian, file.is_implicit_VR = True, False
    size = (frames.shape[1], frames.shape[2])
    colour = frames.ndim == 4
    values: dict[str, Any] = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "PatientID": "PHANTOM",
        "PatientName": "Phantom",
        "Modality": "US",
        "Rows": size[0],
        "Columns": size[1],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "SequenceOfUltrasoundRegions": [calibrated(size, pixel_size_mm)],
        "PixelData": frames.tobytes(),
    }
    if colour:
        values["PlanarConfiguration"] = 0
    if cine:
        values |= {"NumberOfFrames": len(frames), "FrameTime": "33"}
        values["FrameIncrementPointer"] = 0x00181063
    for name, value in (values | attributes).items():
        setattr(file, name, value)
    file["PixelData"].VR = "OB"
    file.save_as(path)
    return path
