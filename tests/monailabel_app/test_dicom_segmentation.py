"""Masks as DICOM SEG, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from lfusion.errors import ImageError
from lfusion.image import Geometry
from monailabel_app.lib.dicomweb.segmentation import (
    read_segmentation,
    referenced_frame,
    referenced_instance,
    write_segmentation,
)
from monailabel_app.lib.errors import LabelError

if TYPE_CHECKING:
    from tests.support.ultrasound_files import write_ultrasound
else:  # tests/ is no package when it runs
    from ultrasound_files import write_ultrasound

LABELS = {"pubic symphysis": 1, "fetal head": 3}


def header(folder: Path, frames: int = 1) -> Dataset:
    pixels = np.zeros((frames, 20, 30), np.uint8)
    path = write_ultrasound(folder / "image.dcm", pixels, (0.2, 0.1), FrameOfReferenceUID="1.2.3")
    return dcmread(path, stop_before_pixels=True)


def read_back(
    written: Dataset, labels: dict[str, int] | None = None, geometry: Geometry | None = None
) -> NDArray[np.uint8]:
    """The mask on an image of 20 x 30 pixels, which has no place in space unless one is given."""
    return read_segmentation(written, labels or LABELS, geometry or Geometry.grid(), (20, 30))


def drawn(*numbers: int) -> NDArray[np.uint8]:
    """Each class somewhere of its own, the same under no turn."""
    mask = np.zeros((20, 30), np.uint8)
    for number in numbers:
        mask[2 * number, 3 : 5 + number] = number
    return mask


@pytest.mark.parametrize("numbers", [(1, 3), (3,), (1,), ()])
@pytest.mark.parametrize("frames", [1, 4])
def test_a_mask_comes_back(tmp_path: Path, numbers: tuple[int, ...], frames: int) -> None:
    source, frame = header(tmp_path, frames), 2 if frames > 1 else None
    written = write_segmentation(source, drawn(*numbers), LABELS, frame)
    np.testing.assert_array_equal(read_back(written), drawn(*numbers))
    assert referenced_instance(written) == source.SOPInstanceUID
    names = [segment.SegmentLabel for segment in written.SegmentSequence]
    assert names == ["pubic symphysis", "fetal head"]
    item = written.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0]
    assert item.SourceImageSequence[0].get("ReferencedFrameNumber") == (3 if frame else None)
    assert referenced_frame(written) == frame


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="20 x 30"):
        write_segmentation(header(tmp_path), drawn(1).T, LABELS)


def test_a_segment_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    written = write_segmentation(header(tmp_path), drawn(1, 3), LABELS)
    with pytest.raises(LabelError, match="the segmentation has 'pubic symphysis'"):
        read_back(written, {"fetal head": 1})


def test_a_segment_may_be_named_once_for_all_planes(tmp_path: Path) -> None:
    written = write_segmentation(header(tmp_path), drawn(3), {"fetal head": 3})
    [group], [shared] = (
        written.PerFrameFunctionalGroupsSequence,
        written.SharedFunctionalGroupsSequence,
    )
    shared.SegmentIdentificationSequence = group.SegmentIdentificationSequence
    del group.SegmentIdentificationSequence
    np.testing.assert_array_equal(read_back(written), drawn(3))


def test_one_that_lacks_what_the_standard_asks_for_is_refused(tmp_path: Path) -> None:
    written = write_segmentation(header(tmp_path), drawn(3), {"fetal head": 3})
    written.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence = []
    with pytest.raises(LabelError, match="name its segment"):
        read_back(written)
    del written.PerFrameFunctionalGroupsSequence
    with pytest.raises(LabelError, match="each of the 1 planes; the segmentation has 0"):
        read_back(written)
    assert referenced_frame(written) is None


IMAGE = Geometry(
    spacing=(0.1, 0.2, 1.0),
    origin=(5.0, 6.0, 7.0),
    direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
    physical=True,
)


def placed(written: Dataset, origin: list[float], cosines: list[float]) -> Dataset:
    """The segmentation with a place in space, for all its planes."""
    measures, position, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [0.2, 0.1]
    position.ImagePositionPatient = origin
    orientation.ImageOrientationPatient = cosines
    [shared] = written.SharedFunctionalGroupsSequence
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    for group in written.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence = [position]
    return written


def test_a_segmentation_in_the_place_of_its_image(tmp_path: Path) -> None:
    written = write_segmentation(header(tmp_path), drawn(1, 3), LABELS)
    here = placed(written, [5, 6, 7], [1, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(read_back(here, geometry=IMAGE), drawn(1, 3))


def test_a_segmentation_stored_in_another_order_is_turned(tmp_path: Path) -> None:
    flipped = np.ascontiguousarray(drawn(1, 3)[::-1, ::-1])
    written = write_segmentation(header(tmp_path), flipped, LABELS)
    turned = placed(written, [5 + 29 * 0.1, 6 + 19 * 0.2, 7], [-1, 0, 0, 0, -1, 0])
    np.testing.assert_array_equal(read_back(turned, geometry=IMAGE), drawn(1, 3))


@pytest.mark.parametrize("origin", [[25, 6, 7], [5, 6, 27]])
def test_a_segmentation_elsewhere_is_refused_with_both_places(
    tmp_path: Path, origin: list[float]
) -> None:
    written = write_segmentation(header(tmp_path), drawn(1, 3), LABELS)
    with pytest.raises(ImageError, match=r"elsewhere.*origin \(.*image: .*origin \(5, 6, 7\)"):
        read_back(placed(written, origin, [1, 0, 0, 0, 1, 0]), geometry=IMAGE)


def test_planes_in_several_places_are_refused(tmp_path: Path) -> None:
    written = placed(
        write_segmentation(header(tmp_path), drawn(1, 3), LABELS), [5, 6, 7], [1, 0, 0, 0, 1, 0]
    )
    other = Dataset()
    other.ImagePositionPatient = [5, 6, 8]
    written.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence = [other]
    with pytest.raises(LabelError, match="one place"):
        read_back(written, geometry=IMAGE)


def test_a_segmentation_of_another_size_is_refused(tmp_path: Path) -> None:
    written = write_segmentation(header(tmp_path), drawn(1, 3), LABELS)
    with pytest.raises(ImageError, match="1 x 20 x 30"):
        read_segmentation(written, LABELS, Geometry.grid(), (30, 20))
