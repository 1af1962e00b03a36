"""Pixel size by the ultrasound region that a structure lies in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfusion.biometry import measure_head
from lfusion.image import Geometry, UltrasoundImage, as_ultrasound_image, read_image
from lfusion.image.dicom import DicomImage

if TYPE_CHECKING:
    from tests.support.dicom_files import dicom
    from tests.support.dicom_files import parsed as read_dicom
else:
    from dicom_files import dicom
    from dicom_files import parsed as read_dicom

SIZE = (40, 80)


def region(box: tuple[int, int, int, int], delta_cm: float, **more: Any) -> dict[str, Any]:
    """2-D tissue in cm; the box is (left, top, right, bottom), all inside."""
    left, top, right, bottom = box
    return {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 0,
        "RegionLocationMinX0": left,
        "RegionLocationMinY0": top,
        "RegionLocationMaxX1": right,
        "RegionLocationMaxY1": bottom,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": delta_cm,
        "PhysicalDeltaY": delta_cm,
    } | more


def parsed(*regions: dict[str, Any], **more: Any) -> DicomImage:
    content = dicom(
        bytes(SIZE[0] * SIZE[1]),
        Rows=SIZE[0],
        Columns=SIZE[1],
        SequenceOfUltrasoundRegions=list(regions),
        **more,
    )
    return read_dicom(content)


def image(*regions: dict[str, Any], **more: Any) -> UltrasoundImage:
    found = parsed(*regions, **more)
    return UltrasoundImage(
        np.zeros(SIZE, np.float32),
        found.pixel_size_mm,
        np.ones(SIZE, bool),
        Geometry.grid(),
        found.regions,
        found.calibration_note,
    )


def disc(column: float, radius: float = 8, number: int = 1) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    inside = np.hypot(rows - 20, columns - column) <= radius
    return np.where(inside, number, 0).astype(np.uint8)


LEFT = region((0, 0, 39, 39), 0.05)
RIGHT = region((40, 0, 79, 39), 0.02)


def test_the_region_that_the_structure_lies_in() -> None:
    found = image(LEFT, RIGHT)
    assert found.pixel_size_mm is None
    assert found.calibration(disc(20)).pixel_size_mm == (0.5, 0.5)
    assert found.calibration(disc(60)).pixel_size_mm == (0.2, 0.2)
    assert found.calibration(disc(60).astype(bool)).pixel_size_mm == (0.2, 0.2)


def test_a_spurious_part_elsewhere_does_not_count() -> None:
    mask = disc(60) | disc(10, radius=4)
    assert image(LEFT, RIGHT).calibration(mask).pixel_size_mm == (0.2, 0.2)


def test_across_two_regions_and_in_none() -> None:
    note = image(LEFT, RIGHT).calibration(disc(40)).note
    assert note is not None
    assert "0.5 x 0.5 and 0.2 x 0.2 mm" in note
    assert "does not lie in one" in note
    narrow = image(region((0, 0, 9, 39), 0.05), region((10, 0, 19, 39), 0.02))
    assert narrow.calibration(disc(60)).pixel_size_mm is None


def test_structures_in_different_regions() -> None:
    found = image(LEFT, RIGHT).calibration(disc(20) | disc(60, number=2))
    assert found.pixel_size_mm is None
    assert found.note is not None
    assert "several" in found.note


def test_the_reason_reaches_the_measurement() -> None:
    mask = disc(40, radius=12)
    found = image(LEFT, RIGHT).calibration(mask)
    head = measure_head(mask.astype(bool), found.pixel_size_mm, found.note)
    assert head.hc_mm is None
    assert head.refusal is not None
    assert "different pixel sizes" in head.refusal


def test_regions_that_agree_give_one_size() -> None:
    found = image(LEFT, region((40, 0, 79, 39), 0.05))
    assert found.pixel_size_mm == (0.5, 0.5)
    assert found.calibration(disc(40)).pixel_size_mm == (0.5, 0.5)


def test_outside_of_the_only_region() -> None:
    found = image(LEFT)
    assert found.pixel_size_mm == (0.5, 0.5)
    outside = found.calibration(disc(62))
    assert outside.pixel_size_mm is None
    assert outside.note == "the structure lies outside of the calibrated region"


@pytest.mark.parametrize("flags", [0, 1])
def test_a_region_on_top_of_another(flags: int) -> None:
    inset = region((44, 4, 75, 35), 0.02, RegionFlags=flags)
    found = image(region((0, 0, 79, 39), 0.05), inset)
    assert found.calibration(disc(16)).pixel_size_mm == (0.5, 0.5)
    inside = found.calibration(disc(60))
    if flags:
        assert inside.pixel_size_mm == (0.2, 0.2)
    else:
        assert inside.pixel_size_mm is None
        assert inside.note is not None
        assert "several of them cover" in inside.note


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((39, 39, 0, 0), (0, 40), (0, 40)),
        ((0, 0, 500, 500), (0, 40), (0, 80)),
        ((0, 0, 0, 0), (0, 40), (0, 80)),
        ((100, 100, 200, 200), (0, 40), (0, 80)),
    ],
)
def test_boxes_that_are_inverted_too_large_or_empty(
    box: tuple[int, int, int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    (found,) = parsed(region(box, 0.05)).regions
    assert (found.rows, found.columns) == (rows, columns)


@pytest.mark.parametrize(
    "change",
    [
        {"RegionSpatialFormat": 2},
        {"RegionDataType": 3},
        {"PhysicalUnitsXDirection": 4},
        {"PhysicalUnitsYDirection": 0},
        {"PhysicalDeltaX": 0.0},
        {"PhysicalDeltaY": b""},
    ],
)
def test_regions_that_are_not_calibrated(change: dict[str, Any]) -> None:
    wrong = region((0, 0, 79, 39), 0.05, **change)
    assert parsed(wrong).pixel_size_mm is None
    assert parsed(wrong).calibration_note == "its ultrasound regions are not calibrated in cm"
    assert parsed(wrong, RIGHT).pixel_size_mm == (0.2, 0.2)
    assert parsed(wrong, PixelSpacing=["0.3", "0.4"]).pixel_size_mm == (0.3, 0.4)


def test_negative_deltas_point_left_or_up() -> None:
    turned = region((0, 0, 79, 39), 0.05, PhysicalDeltaX=-0.02)
    assert parsed(turned).pixel_size_mm == (0.5, 0.2)


def test_a_given_pixel_size_wins() -> None:
    found = as_ultrasound_image(image(LEFT, RIGHT), 0.3)
    assert found.calibration(disc(40)).pixel_size_mm == (0.3, 0.3)


def test_two_regions_of_a_real_file(shared_cases: Path) -> None:
    found = read_image(shared_cases / "dicom_two_regions/dual.dcm")
    head = np.zeros(found.pixels.shape, bool)
    head[160:250, 420:540] = True
    assert found.pixel_size_mm is None
    assert found.calibration(head).pixel_size_mm == (0.2, 0.2)
