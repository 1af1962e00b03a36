"""NIfTI, MetaImage and NRRD: one plane, its spacing, its damage."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import Geometry, read_image, read_mask, read_mask_frames
from lfusion.image.volumes import write_volume

sitk: Any = SimpleITK
_FORMATS = ["a.nii", "a.nii.gz", "a.NII.GZ", "a.mha", "a.mhd", "a.nrrd"]


def _save(path: Path, values: NDArray[Any], *, colour: bool = False) -> Path:
    image = sitk.GetImageFromArray(values, isVector=colour)
    image.SetSpacing([0.1, 0.2, 3.0][: image.GetDimension()])
    lower = path.with_name(path.name.lower().replace(".mhd", ".mha"))  # header and pixels
    sitk.WriteImage(image, str(lower))
    return lower.rename(path)


@pytest.mark.parametrize("name", _FORMATS)
@pytest.mark.parametrize("slices", [(), (1,)])
def test_rows_are_y_and_spacing_is_row_column(
    tmp_path: Path, ramp: NDArray[np.uint8], name: str, slices: tuple[int, ...]
) -> None:
    path = _save(tmp_path / name, ramp.reshape(slices + ramp.shape))
    image = read_image(path)
    np.testing.assert_allclose(image.pixels, ramp / 255, atol=1e-7)
    assert image.pixel_size_mm == pytest.approx((0.2, 0.1))
    assert image.geometry.physical
    np.testing.assert_array_equal(read_mask(path), ramp)


@pytest.mark.parametrize("name", _FORMATS)
def test_the_slices_of_a_mask_are_the_frames_of_a_cine(
    tmp_path: Path, ramp: NDArray[np.uint8], name: str
) -> None:
    frames = np.stack([ramp, ramp.max() - ramp])
    path = _save(tmp_path / name, frames)
    np.testing.assert_array_equal(read_mask_frames(path), frames)
    with pytest.raises(ImageError, match="one slice"):
        read_mask(path)
    np.testing.assert_array_equal(read_mask_frames(_save(tmp_path / f"b{name}", ramp)), [ramp])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 13107, 65535]], np.uint16), [[0, 0.2, 1]]),
        (np.array([[-100, 0, 100]], np.int16), [[0, 0.5, 1]]),
        (np.array([[0, 0.25, 0.5]], np.float32), [[0, 0.25, 0.5]]),
        (np.array([[0, 50.5, 202]], np.float64), [[0, 0.25, 1]]),
        (np.array([[0, 51, 204]], np.float64), [[0, 0.2, 0.8]]),
        (np.array([[51, 51, 51]], np.int32), [[0.2, 0.2, 0.2]]),
        (np.array([[-7, -7, -7]], np.int32), [[0, 0, 0]]),
    ],
)
def test_scaling_by_type(tmp_path: Path, values: NDArray[Any], expected: list[list[float]]) -> None:
    path = _save(tmp_path / "a.nrrd", values)
    np.testing.assert_allclose(read_image(path).pixels, expected, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 4])
def test_colour_becomes_luminance(tmp_path: Path, channels: int) -> None:
    values = np.zeros((4, 6, channels), np.uint8)
    values[..., 0] = values[..., 3:] = 255
    path = _save(tmp_path / "a.mha", values, colour=True)
    np.testing.assert_allclose(read_image(path).pixels, 0.299, atol=1e-6)
    with pytest.raises(ImageError, match=rf"mask.*one channel, the file has {channels}"):
        read_mask(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd"])
def test_volume_is_refused_with_its_size(tmp_path: Path, name: str) -> None:
    path = _save(tmp_path / name, np.zeros((5, 4, 6), np.uint8))
    for read in (read_image, read_mask):
        with pytest.raises(ImageError, match="one slice, got 5"):
            read(path)


def test_nan_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nrrd", np.array([[0, np.nan]], np.float32))
    with pytest.raises(ImageError, match="NaN") as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("values", [[[0.5, 1.0]], [[np.nan, 1.0]]])
def test_mask_with_fractions_is_refused(tmp_path: Path, values: list[list[float]]) -> None:
    path = _save(tmp_path / "a.nrrd", np.array(values, np.float32))
    with pytest.raises(ImageError, match="fractions or NaN"):
        read_mask(path)


def test_mask_as_whole_floats_or_wide_integers(tmp_path: Path) -> None:
    for kind in (np.float32, np.int16, np.int64):
        path = _save(tmp_path / "a.nrrd", np.array([[0, 3]], kind))
        assert read_mask(path).tolist() == [[0, 3]]
    with pytest.raises(ImageError, match="got -1 to 0"):
        read_mask(_save(tmp_path / "a.nrrd", np.array([[0, -1]], np.int16)))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_truncated_file(tmp_path: Path, name: str, keep: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = _save(tmp_path / name, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ImageError, match=r"damaged or another file|cut off"):
        read_image(path)


def test_whole_gzip_around_a_cut_nifti(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.nii.gz", np.zeros((64, 64), np.uint8))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-10]))
    with pytest.raises(ImageError, match="promises 4096 bytes of pixel data, the file holds 4086"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
def test_text_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("this is no image\n" * 40)
    with pytest.raises(ImageError, match=r"but its content is no (NIfTI|MetaImage|NRRD) file"):
        read_image(tmp_path / name)


def test_writing_leaves_the_warning_display_as_it_was(
    tmp_path: Path, ramp: NDArray[np.uint8]
) -> None:
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    try:
        for shown in (True, False):
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
            write_volume(tmp_path / "a.nrrd", ramp, Geometry.grid())
            assert sitk.ProcessObject.GetGlobalWarningDisplay() == shown
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def test_transparent_pixels_are_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "a.mha", np.zeros((4, 6, 4), np.uint8), colour=True)
    with pytest.raises(ImageError, match="transparent"):
        read_image(path)


@pytest.mark.parametrize(("kind", "channels"), [(np.float32, 3), (np.int16, 3), (np.uint8, 2)])
def test_vectors_are_no_colours(tmp_path: Path, kind: type, channels: int) -> None:
    path = _save(tmp_path / "a.nrrd", np.zeros((4, 6, channels), kind), colour=True)
    with pytest.raises(ImageError, match="vector, not a colour"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd"])
def test_too_many_channels_are_refused_before_they_are_decoded(tmp_path: Path, name: str) -> None:
    path = _save(tmp_path / name, np.zeros((40, 30, 60), np.uint8), colour=True)
    with pytest.raises(ImageError, match="60 channels"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii", "a.mha", "a.nrrd"])
def test_points_in_time_of_one_plane_are_frames(
    tmp_path: Path, ramp: NDArray[np.uint8], name: str
) -> None:
    frames = np.stack([ramp, ramp.max() - ramp])
    image = sitk.JoinSeries([sitk.JoinSeries([sitk.GetImageFromArray(one)]) for one in frames])
    assert image.GetSize() == (6, 4, 1, 2)
    sitk.WriteImage(image, str(tmp_path / name))
    np.testing.assert_array_equal(read_mask_frames(tmp_path / name), frames)
