"""Masks as DICOM SEG, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

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
    np.testing.assert_array_equal(read_segmentation(written, LABELS), drawn(*numbers))
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
        read_segmentation(written, {"fetal head": 1})


def test_a_segment_may_be_named_once_for_all_planes(tmp_path: Path) -> None:
    written = write_segmentation(header(tmp_path), drawn(3), {"fetal head": 3})
    [group], [shared] = (
        written.PerFrameFunctionalGroupsSequence,
        written.SharedFunctionalGroupsSequence,
    )
    shared.SegmentIdentificationSequence = group.SegmentIdentificationSequence
    del group.SegmentIdentificationSequence
    np.testing.assert_array_equal(read_segmentation(written, LABELS), drawn(3))


def test_one_that_lacks_what_the_standard_asks_for_is_refused(tmp_path: Path) -> None:
    written = write_segmentation(header(tmp_path), drawn(3), {"fetal head": 3})
    written.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence = []
    with pytest.raises(LabelError, match="name its segment"):
        read_segmentation(written, LABELS)
    del written.PerFrameFunctionalGroupsSequence
    with pytest.raises(LabelError, match="each of the 1 planes; the segmentation has 0"):
        read_segmentation(written, LABELS)
    assert referenced_frame(written) is None
