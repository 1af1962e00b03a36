"""Image files and dataset folders made to measure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage, generate_uid

from lfusion.image import write_mask

WriteDicom = Callable[..., Path]
MakeRoot = Callable[..., Path]


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


@pytest.fixture
def make_root(tmp_path: Path) -> MakeRoot:
    """Makes a dataset of [4, 6] images; masks hold the class number given by name."""

    def make(
        images: tuple[str, ...] = ("b.png", "a.png"),
        masks: dict[str, int] | None = None,
        meta: str | None = None,
        labels: str | None = None,
    ) -> Path:
        for folder in ("images", "masks") if masks else ("images",):
            (tmp_path / folder).mkdir(exist_ok=True)
        for name in images:
            _save(tmp_path / "images" / name, 128)
        for name, number in (masks or {}).items():
            _save(tmp_path / "masks" / name, number)
        for name, text in (("meta.csv", meta), ("labels.json", labels)):
            if text is not None:
                (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def _save(path: Path, value: int) -> None:
    values = np.full((4, 6), value, dtype=np.uint8)
    if path.suffix.lower() in (".png", ".jpg"):
        Image.fromarray(values).save(path)
    elif path.suffix == ".gif":
        path.write_bytes(b"GIF89a")
    else:
        write_mask(path, values)
