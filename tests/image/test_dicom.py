"""DICOM ultrasound frames: grey values, colour, calibration."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from lfusion.errors import ImageError
from lfusion.image import read_image

Grey8 = NDArray[np.uint8]
WriteDicom = Callable[..., Path]
MakeRegion = Callable[..., Dataset]


def test_monochrome2(write_dicom: WriteDicom, ramp: Grey8) -> None:
    image = read_image(write_dicom(ramp))
    np.testing.assert_allclose(image.pixels, ramp / 255, atol=1e-7)
    assert image.pixel_size_mm is None
    assert not image.geometry.physical


def test_monochrome1_is_inverted(write_dicom: WriteDicom, ramp: Grey8) -> None:
    image = read_image(write_dicom(ramp, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(image.pixels, 1 - ramp / 255, atol=1e-6)


def test_twelve_bits_stored_in_sixteen(write_dicom: WriteDicom) -> None:
    values = np.array([[0, 819], [1638, 4095]], dtype=np.uint16)
    image = read_image(write_dicom(values, BitsStored=12, HighBit=11))
    np.testing.assert_allclose(image.pixels, [[0, 0.2], [0.4, 1]], atol=1e-6)


def test_rescaled_values_are_stretched(write_dicom: WriteDicom) -> None:
    values = np.array([[0, 50], [100, 200]], dtype=np.uint8)
    image = read_image(write_dicom(values, RescaleSlope="2", RescaleIntercept="-100"))
    np.testing.assert_allclose(image.pixels, [[0, 0.25], [0.5, 1]], atol=1e-6)


def test_colour_becomes_luminance(write_dicom: WriteDicom) -> None:
    rgb = np.zeros((4, 6, 3), dtype=np.uint8)
    rgb[..., 0] = 255
    np.testing.assert_allclose(read_image(write_dicom(rgb)).pixels, 0.299, atol=1e-6)


def test_ybr_gives_its_luminance(write_dicom: WriteDicom) -> None:
    ybr = np.full((4, 6, 3), 128, dtype=np.uint8)
    ybr[..., 0] = 51
    image = read_image(write_dicom(ybr, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(image.pixels, 0.2, atol=0.01)


def test_jpeg_compressed_colour(write_dicom: WriteDicom, tmp_path: Path) -> None:
    rgb = np.zeros((16, 32, 3), dtype=np.uint8)
    rgb[..., 0] = 255
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=95)
    path = write_dicom(rgb, PhotometricInterpretation="YBR_FULL_422")
    _encapsulate(path, buffer.getvalue())
    np.testing.assert_allclose(read_image(path).pixels, 0.299, atol=0.02)


def _encapsulate(path: Path, jpeg: bytes) -> None:
    import pydicom

    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    file.PixelData = encapsulate([jpeg])
    file["PixelData"].is_undefined_length = True
    file.save_as(path)


def test_calibration_of_the_tissue_region_in_cm(
    write_dicom: WriteDicom, ramp: Grey8, region: MakeRegion
) -> None:
    regions = [
        region((4, 6), (-0.02, 0.01)),
        region((9, 9), (0.3, 0.3), RegionDataType=3),
        region((9, 9), (0.3, 0.3), RegionSpatialFormat=2),
        region((9, 9), (0.3, 0.3), PhysicalUnitsXDirection=4),
    ]
    path = write_dicom(ramp, SequenceOfUltrasoundRegions=regions, PixelSpacing=[7, 7])
    image = read_image(path)
    assert image.pixel_size_mm == pytest.approx((0.2, 0.1))
    # Where ITK, and so 3D Slicer, shows the image: a mask in another place would not cover it.
    shown: Any = SimpleITK.ReadImage(path)
    assert image.geometry.spacing == shown.GetSpacing() == (7, 7, 1)
    assert not image.geometry.physical


def test_pixel_spacing_where_no_region_is_calibrated(
    write_dicom: WriteDicom, ramp: Grey8, region: MakeRegion
) -> None:
    regions = [region((4, 6), (0.02, 0.01), PhysicalUnitsYDirection=0)]
    path = write_dicom(ramp, SequenceOfUltrasoundRegions=regions, PixelSpacing=[0.3, 0.4])
    assert read_image(path).pixel_size_mm == (0.3, 0.4)


def test_zero_pixel_spacing_counts_as_absent(write_dicom: WriteDicom, ramp: Grey8) -> None:
    assert read_image(write_dicom(ramp, PixelSpacing=[0, 0])).pixel_size_mm is None


def test_one_frame_of_a_multi_frame_file_is_read(write_dicom: WriteDicom, ramp: Grey8) -> None:
    image = read_image(write_dicom(ramp, NumberOfFrames=1))
    np.testing.assert_allclose(image.pixels, ramp / 255, atol=1e-7)


@pytest.mark.parametrize("keep", [0.3, 0.98])
def test_truncated_dicom(write_dicom: WriteDicom, keep: float) -> None:
    path = write_dicom(np.full((64, 64), 9, dtype=np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ImageError, match=str(path)):
        read_image(path)


def test_text_named_dcm(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("no DICOM " * 99)
    with pytest.raises(ImageError, match="no DICOM file"):
        read_image(tmp_path / "a.dcm")


def test_dicom_without_pixels(write_dicom: WriteDicom, ramp: Grey8) -> None:
    with pytest.raises(ImageError, match="without pixels"):
        read_image(write_dicom(ramp, Rows=0, Columns=0))


def test_number_with_too_many_digits_raises_no_warning(
    write_dicom: WriteDicom, ramp: Grey8
) -> None:
    path = write_dicom(ramp, PixelSpacing=["0.12345678901234", "0.2"])
    content = path.read_bytes()
    start = content.index(b"0.12345678901234") - 2
    longer = b"0.12345678901234567\\0.2 "
    length = len(longer).to_bytes(2, "little")
    path.write_bytes(content[:start] + length + longer + content[start + 22 :])
    assert read_image(path).pixel_size_mm == pytest.approx((0.12345678901234567, 0.2))
