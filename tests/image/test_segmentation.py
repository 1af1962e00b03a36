"""Segmentations of 3D Slicer: never an image, and classes by the names of their segments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import Geometry, read_image, read_mask
from lfusion.image.decode import open_image
from lfusion.image.nrrd import Nrrd, Segment, parse_nrrd, segmentation_labels
from lfusion.image.parsed import ParsedImage
from lfusion.image.placement import stored_on

if TYPE_CHECKING:
    from tests.support.volume_files import MemoryFile, nrrd
else:
    from volume_files import MemoryFile, nrrd

_NAMES = {"fetal head": 1, "femur": 2}
_PLACE = {
    "space": "left-posterior-superior",
    "space directions": "(0.2,0,0) (0,0.3,0) (0,0,1)",
    "space origin": "(5,6,7)",
}


def _segmentation(
    values: Any, segments: str, place: dict[str, str] | None = None, **header: str
) -> Nrrd:
    """A file of [height, width] values or of [height, width, layers] with a list axis."""
    array = np.asarray(values, np.uint8)
    layers = array.shape[2:]
    sizes = (*layers, array.shape[1], array.shape[0], 1)
    fields = {
        "dimension": str(len(sizes)),
        "sizes": " ".join(map(str, sizes)),
        "kinds": " ".join(["list"] * len(layers) + ["domain"] * 3),
    }
    fields |= _PLACE if place is None else place
    if layers:
        fields["space directions"] = f"none {fields['space directions']}"
    return parse_nrrd(MemoryFile(nrrd(fields | header, array.tobytes(), keys=segments)))


def _keys(*segments: tuple[str, int, int]) -> str:
    lines = ["Segmentation_MasterRepresentation:=Binary labelmap"]
    for number, (name, value, layer) in enumerate(segments):
        lines += [
            f"Segment{number}_ID:=Segment_{number}",
            f"Segment{number}_Name:={name}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
            f"Segment{number}_Extent:=0 2 0 1 0 0",
        ]
    return "\n".join(lines)


def test_segments_are_classes_by_name() -> None:
    parsed = _segmentation([[0, 1, 1], [7, 7, 0]], _keys(("Femur ", 1, 0), ("FETAL HEAD", 7, 0)))
    assert parsed.is_segmentation
    assert parsed.segments == (Segment("Femur", 1, 0), Segment("FETAL HEAD", 7, 0))
    assert segmentation_labels(parsed, _NAMES).tolist() == [[[0, 2, 2], [1, 1, 0]]]
    assert parsed.stored().tolist() == [[[0, 1, 1], [7, 7, 0]]]


def test_layers_are_laid_on_one_another() -> None:
    layers = np.stack([[[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0]]], -1)
    parsed = _segmentation(layers, _keys(("femur", 1, 0), ("fetal head", 1, 1)))
    assert parsed.layout.channels == 1
    assert segmentation_labels(parsed, _NAMES).tolist() == [[[0, 2, 2], [1, 1, 0]]]
    with pytest.raises(ImageError, match="2 layers"):
        parsed.stored()


def test_older_files_have_a_layer_a_segment() -> None:
    layers = np.stack([[[0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0]]], -1)
    keys = "Segment0_Name:=femur\nSegment1_Name:=fetal head"
    assert segmentation_labels(_segmentation(layers, keys), _NAMES).tolist() == [
        [[0, 2, 2], [1, 1, 0]]
    ]


def test_overlapping_segments_are_refused() -> None:
    layers = np.stack([[[0, 1, 1], [0, 0, 0]], [[0, 0, 1], [1, 1, 0]]], -1)
    parsed = _segmentation(layers, _keys(("femur", 1, 0), ("fetal head", 1, 1)))
    with pytest.raises(ImageError, match="'fetal head' overlaps another"):
        segmentation_labels(parsed, _NAMES)


@pytest.mark.parametrize(
    ("segments", "problem"),
    [
        (
            [("skull", 1, 0)],
            "segments 'skull' are no classes; the classes are 'fetal head', 'femur'",
        ),
        ([("femur", 2, 0)], r"layer 0 holds the values \[1\]"),
        ([("femur", 1, 0), ("fetal head", 1, 3)], "value 1 in layer 3"),
        ([("femur", 1, 0), ("fetal head", 0, 0)], "value 0 in layer 0"),
    ],
)
def test_segments_that_contradict_the_file(
    segments: list[tuple[str, int, int]], problem: str
) -> None:
    with pytest.raises(ImageError, match=problem):
        segmentation_labels(_segmentation([[0, 1, 1], [1, 1, 0]], _keys(*segments)), _NAMES)


def test_a_segmentation_without_segments_names_no_class() -> None:
    parsed = _segmentation([[0, 1, 1], [1, 1, 0]], _keys())
    assert parsed.is_segmentation
    with pytest.raises(ImageError, match="no segmentation of 3D Slicer with named segments"):
        segmentation_labels(parsed, _NAMES)


def test_numbers_that_are_none_are_refused() -> None:
    keys = "Segment0_Name:=femur\nSegment0_LabelValue:=one"
    with pytest.raises(ImageError, match="no whole numbers"):
        _segmentation([[0, 1, 1], [1, 1, 0]], keys)


def test_it_is_never_an_image(tmp_path: Path) -> None:
    content = nrrd({}, bytes(6), keys=_keys(("femur", 1, 0)))
    for name in ("a.seg.nrrd", "a.nrrd"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match="segmentation of 3D Slicer, not an image"):
            read_image(tmp_path / name)


class _Image(ParsedImage):
    """An image of a size and a place, whose pixels nobody asks for."""

    format = "none"

    def __init__(self, size: tuple[int, int, int], geometry: Geometry) -> None:
        plain = parse_nrrd(MemoryFile(nrrd({}, b"")))
        frames, height, width = size
        self.layout = type(plain.layout)(frames, height, width, 1, np.dtype(np.uint8))
        self.geometry = geometry

    def stored(self) -> NDArray[Any]:
        raise AssertionError

    def shown(self, frame: int | None = None) -> NDArray[Any]:
        raise AssertionError


def test_a_cropped_extent_is_laid_on_the_whole_image_by_geometry() -> None:
    whole = Geometry((0.2, 0.3, 1), (5, 6, 7), (1, 0, 0, 0, 1, 0, 0, 0, 1), physical=True)
    cropped = _PLACE | {"space origin": "(5.4,6.3,7)"}  # 2 columns, 1 row
    keys = _keys(("femur", 1, 0)) + "\nSegmentation_ReferenceImageExtentOffset:=2 1 0"
    parsed = _segmentation([[0, 1, 1], [1, 1, 0]], keys, cropped)
    expected = np.zeros((1, 4, 6), int)
    expected[0, 1:3, 2:5] = [[0, 2, 2], [2, 2, 0]]
    laid = stored_on(parsed, _Image((1, 4, 6), whole), _NAMES)
    assert laid.tolist() == expected.tolist()
    with pytest.raises(ImageError, match="lies elsewhere"):
        stored_on(parsed, _Image((1, 2, 6), whole), _NAMES)


def test_a_cropped_extent_is_laid_by_its_offset_on_a_picture() -> None:
    keys = _keys(("femur", 1, 0)) + "\nSegmentation_ReferenceImageExtentOffset:=2 1 0"
    parsed = _segmentation([[0, 1, 1], [1, 1, 0]], keys)
    expected = np.zeros((1, 4, 6), int)
    expected[0, 1:3, 2:5] = [[0, 2, 2], [2, 2, 0]]
    assert stored_on(parsed, _Image((1, 4, 6), Geometry.grid()), _NAMES).tolist() == (
        expected.tolist()
    )
    with pytest.raises(ImageError, match="pixels from 0 x 1 x 2 on"):
        stored_on(parsed, _Image((1, 4, 4), Geometry.grid()), _NAMES)


def test_segmentation_case(shared_cases: Path) -> None:
    folder = shared_cases / "seg_nrrd" / "studies"
    with pytest.raises(ImageError, match="segmentation of 3D Slicer, not an image"):
        read_image(folder / "scan.seg.nrrd")
    label = folder / "labels" / "final" / "scan2.seg.nrrd"
    with open_image(label) as mask, open_image(folder / "scan2.nrrd") as image:
        laid = stored_on(mask, image, _NAMES)
        assert laid.shape == (1, 384, 512)
        assert set(np.unique(laid)) == {0, 1}
        np.testing.assert_array_equal(laid[0], read_mask(label))
