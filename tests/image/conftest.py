"""DICOM files as scanners write them, made to measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

WriteDicom = Callable[..., Path]


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    """Writes an uncompressed ultrasound file; keywords are DICOM attributes to add."""

    def write(pixels: NDArray[Any], **attributes: Any) -> Path:
        meta = FileMetaDataset()
        meta.FileMetaInformationVersion = b"\0\1"
        meta.MediaStorageSOPClassUID = UltrasoundImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.ImplementationClassUID = generate_uid()
        path = tmp_path / "frame.dcm"
        file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        if int(pydicom.__version__.split(".")[0]) < 3:
            file.is_little_endian, file.is_implicit_VR = True, False
        bits = 8 * pixels.dtype.itemsize
        defaults = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "Modality": "US",
            "Rows": pixels.shape[0],
            "Columns": pixels.shape[1],
            "SamplesPerPixel": 1 if pixels.ndim == 2 else 3,
            "PhotometricInterpretation": "MONOCHROME2" if pixels.ndim == 2 else "RGB",
            "BitsAllocated": bits,
            "BitsStored": bits,
            "HighBit": bits - 1,
            "PixelRepresentation": 0,
            "PixelData": pixels.tobytes(),
        }
        if pixels.ndim == 3:
            defaults["PlanarConfiguration"] = 0
        for name, value in (defaults | attributes).items():
            setattr(file, name, value)
        file["PixelData"].VR = "OW" if bits == 16 else "OB"
        file.save_as(path)
        return path

    return write


@pytest.fixture
def ramp() -> NDArray[np.uint8]:
    """[4, 6]: every pixel has its own value."""
    return np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)


@pytest.fixture
def region() -> Callable[..., Dataset]:
    """Makes one ultrasound region: 2-D tissue in cm unless a keyword says otherwise."""

    def make(size: tuple[int, int], delta_cm: tuple[float, float], **attributes: Any) -> Dataset:
        made = Dataset()
        defaults = {
            "RegionSpatialFormat": 1,
            "RegionDataType": 1,
            "RegionLocationMinX0": 0,
            "RegionLocationMinY0": 0,
            "RegionLocationMaxX1": size[1],
            "RegionLocationMaxY1": size[0],
            "PhysicalUnitsXDirection": 3,
            "PhysicalUnitsYDirection": 3,
            "PhysicalDeltaX": delta_cm[1],
            "PhysicalDeltaY": delta_cm[0],
        }
        for name, value in (defaults | attributes).items():
            setattr(made, name, value)
        return made

    return make
