"""Masks and maps on disk: exact, in place, all or nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import tifffile
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import as_ultrasound_image, read_image, read_mask, write_map, write_mask

sitk: Any = SimpleITK
_VOLUMES = ["m.nii.gz", "m.nii", "m.mha", "m.nrrd"]
MASK = np.array([[0, 1, 2], [255, 4, 5]], dtype=np.uint8)
MAP = np.array([[0, 0.1, 1e-9], [-3, 0.6931472, 7]], dtype=np.float32)


def _rotated(path: Path, dimension: int) -> Path:
    """A [2, 3] image turned by 30 degrees in its plane, off the origin."""
    cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
    shape = (1,) * (dimension - 2) + (2, 3)
    image = sitk.GetImageFromArray(np.zeros(shape, np.uint8))
    image.SetSpacing((0.125, 0.2, 4.0)[:dimension])
    image.SetOrigin((10.5, -20.25, 3.0)[:dimension])
    turn = {2: (cos, -sin, sin, cos), 3: (cos, -sin, 0, sin, cos, 0, 0, 0, 1)}
    image.SetDirection(turn[dimension])
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("name", ["m.png", "m.PNG", "m.tif", "m.tiff", *_VOLUMES])
def test_mask_survives(tmp_path: Path, name: str) -> None:
    write_mask(tmp_path / name, MASK)
    np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", _VOLUMES)
def test_map_survives_in_volumes(tmp_path: Path, name: str) -> None:
    write_map(tmp_path / name, MAP)
    image = sitk.ReadImage(str(tmp_path / name))
    assert image.GetPixelIDTypeAsString() == "32-bit float"
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), MAP)


def test_map_survives_in_tiff_for_other_readers(tmp_path: Path) -> None:
    write_map(tmp_path / "m.tif", MAP)
    values = tifffile.imread(tmp_path / "m.tif")
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, MAP)


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize("name", _VOLUMES)
def test_geometry_of_a_rotated_nifti_survives(tmp_path: Path, name: str, dimension: int) -> None:
    source = _rotated(tmp_path / "source.nii.gz", dimension)
    write_mask(tmp_path / name, MASK, read_image(source))
    expected, written = sitk.ReadImage(str(source)), sitk.ReadImage(str(tmp_path / name))
    assert written.GetSize() == expected.GetSize()
    assert written.GetSpacing() == pytest.approx(expected.GetSpacing(), rel=1e-7)
    assert written.GetOrigin() == pytest.approx(expected.GetOrigin(), rel=1e-7)
    assert written.GetDirection() == pytest.approx(expected.GetDirection(), abs=1e-7)
    assert abs(written.GetDirection()[1]) == pytest.approx(0.5)
    np.testing.assert_array_equal(read_mask(tmp_path / name), MASK)


def test_mask_of_a_picture_opens_on_the_pixel_grid(tmp_path: Path) -> None:
    write_mask(tmp_path / "image.png", MASK)
    image = as_ultrasound_image(tmp_path / "image.png", 0.1)
    write_mask(tmp_path / "m.nii.gz", MASK, image)
    written = sitk.ReadImage(str(tmp_path / "m.nii.gz"))
    assert written.GetSpacing() == (1, 1)
    assert written.GetOrigin() == (0, 0)
    assert written.GetDirection() == (1, 0, 0, 1)


@pytest.mark.parametrize("name", ["m.jpg", "m.bmp", "m.dcm", "m"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="lossless format"):
        write_mask(tmp_path / name, MASK)
    with pytest.raises(ImageError, match="lossless format"):
        write_map(tmp_path / name, MAP)
    assert not list(tmp_path.iterdir())


def test_map_as_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\.tif.*got \.png"):
        write_map(tmp_path / "m.png", MAP)


def test_size_must_be_that_of_the_image(tmp_path: Path) -> None:
    image = as_ultrasound_image(np.zeros((3, 3)))
    with pytest.raises(ImageError, match=r"\[2, 3\].*\[3, 3\]"):
        write_mask(tmp_path / "m.png", MASK, image)


@pytest.mark.parametrize("values", [np.array([[300]]), np.array([[0.5]]), np.zeros((1, 1, 3))])
def test_values_that_are_no_mask(tmp_path: Path, values: NDArray[Any]) -> None:
    with pytest.raises(ImageError, match="expected"):
        write_mask(tmp_path / "m.png", values)


def test_map_with_channels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"shape \[1, 2, 3\]"):
        write_map(tmp_path / "m.tif", MAP.reshape(1, 2, 3)[:, :, :])


@pytest.mark.parametrize("name", ["m.png", "m.nii.gz"])
def test_missing_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="check that the folder exists"):
        write_mask(tmp_path / "nowhere" / name, MASK)


@pytest.mark.parametrize("name", ["m.png", "m.nii.gz"])
def test_failed_write_leaves_the_folder_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()  # a file cannot replace a folder: the last step fails
    with pytest.raises(ImageError, match="cannot write"):
        write_mask(tmp_path / name, MASK)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_older_file_is_replaced(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", np.zeros((9, 9), dtype=np.uint8))
    write_mask(tmp_path / "m.png", MASK)
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), MASK)
