"""DICOM cine loops: which frame is read, and where its mask opens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import read_frames, read_image, write_mask
from lfusion.image.read import read_frame_count, read_size

Grey8 = NDArray[np.uint8]
WriteCine = Callable[..., Path]
_sitk: Any = SimpleITK


@pytest.fixture
def write_cine(write_dicom: Callable[..., Path]) -> WriteCine:
    """Writes frames [frames, height, width] or, for RGB, [frames, height, width, 3]."""

    def write(frames: Grey8, **attributes: Any) -> Path:
        loop = {"NumberOfFrames": len(frames), "PixelData": frames.tobytes()}
        return write_dicom(frames[0], **loop, **attributes)

    return write


@pytest.fixture
def frames() -> Grey8:
    """[5, 4, 6]: every pixel of every frame has its own value."""
    return np.arange(120, dtype=np.uint8).reshape(5, 4, 6)


def test_the_middle_frame_is_read_unless_one_is_named(write_cine: WriteCine, frames: Grey8) -> None:
    path = write_cine(frames)
    np.testing.assert_allclose(read_image(path).pixels, frames[2] / 255, atol=1e-7)
    np.testing.assert_allclose(read_image(path, 4).pixels, frames[4] / 255, atol=1e-7)
    assert (read_frame_count(path), read_size(path)) == (5, (4, 6))


@pytest.mark.parametrize("number", [-1, 5])
def test_a_frame_that_does_not_exist(write_cine: WriteCine, frames: Grey8, number: int) -> None:
    with pytest.raises(ImageError, match=rf"frame {number} does not exist; .* 0 to 4"):
        read_image(write_cine(frames), number)


def test_a_still_has_one_frame(tmp_path: Path) -> None:
    write_mask(tmp_path / "still.png", np.ones((4, 6), np.uint8))
    assert len(read_frames(tmp_path / "still.png")) == 1
    with pytest.raises(ImageError, match="frame 1 does not exist"):
        read_image(tmp_path / "still.png", 1)


def test_all_frames_in_order_with_their_calibration(
    write_cine: WriteCine, frames: Grey8, region: Callable[..., Any]
) -> None:
    path = write_cine(frames, SequenceOfUltrasoundRegions=[region((4, 6), (0.02, 0.01))])
    images = read_frames(path)
    np.testing.assert_allclose([image.pixels for image in images], frames / 255, atol=1e-7)
    assert {image.pixel_size_mm for image in images} == {(0.2, 0.1)}
    np.testing.assert_array_equal(images[3].pixels, read_image(path, 3).pixels)


def test_colour_becomes_luminance_in_every_frame(write_cine: WriteCine) -> None:
    rgb = np.zeros((3, 4, 6, 3), dtype=np.uint8)
    rgb[1, ..., 1] = 255
    pixels = np.stack([image.pixels for image in read_frames(write_cine(rgb))])
    np.testing.assert_allclose(pixels[:, 0, 0], [0, 0.587, 0], atol=1e-6)


def test_the_mask_of_a_frame_opens_at_its_slice(
    write_cine: WriteCine, frames: Grey8, tmp_path: Path
) -> None:
    volume = _sitk.ReadImage(write_cine(frames))
    write_mask(
        tmp_path / "mask.nrrd", np.eye(4, 6, dtype=np.uint8), read_image(tmp_path / "frame.dcm", 3)
    )
    mask = _sitk.ReadImage(tmp_path / "mask.nrrd")
    assert mask.GetSize() == (6, 4, 1)
    point = mask.TransformIndexToPhysicalPoint((2, 1, 0))
    assert volume.TransformPhysicalPointToIndex(point) == (2, 1, 3)


def test_masks_of_all_frames_cover_the_volume(
    write_cine: WriteCine, frames: Grey8, tmp_path: Path
) -> None:
    images = read_frames(write_cine(frames))
    masks = (frames % 3).astype(np.uint8)
    write_mask(tmp_path / "masks.nrrd", masks, images[0])
    volume, loop = _sitk.ReadImage(tmp_path / "masks.nrrd"), _sitk.ReadImage(tmp_path / "frame.dcm")
    np.testing.assert_array_equal(_sitk.GetArrayFromImage(volume), masks)
    assert volume.GetOrigin() == loop.GetOrigin()
    assert (volume.GetSpacing(), volume.GetDirection()) == (loop.GetSpacing(), loop.GetDirection())


def test_a_picture_holds_no_stack(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"expected a lossless format .*got \.png"):
        write_mask(tmp_path / "stack.png", np.zeros((2, 4, 6), np.uint8))
