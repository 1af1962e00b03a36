"""Masks of a dataset: class numbers, on the pixels of their image, or a reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import DatasetError, ImageError
from lfusion.image import Dataset

MakeRoot = Callable[..., Path]

_sitk: Any = SimpleITK
DRAWN = np.zeros((4, 6), np.uint8)
DRAWN[1, 2:5] = 1


def dataset_of(root: Path, mask: NDArray[np.uint8], labels: dict[str, int] | None) -> Path:
    """Replace the mask of image a."""
    (root / "masks").mkdir(exist_ok=True)
    Image.fromarray(mask).save(root / "masks" / "a.png")
    if labels is not None:
        (root / "labels.json").write_text(json.dumps(labels))
    return root


def write_volume(path: Path, values: NDArray[np.uint8], **place: tuple[float, ...]) -> None:
    """Write one slice with ITK, which knows nothing of ours."""
    volume = _sitk.GetImageFromArray(values[None])
    volume.SetSpacing(place.get("spacing", (0.5, 0.5, 1.0)))
    volume.SetOrigin(place.get("origin", (0.0, 0.0, 0.0)))
    if "direction" in place:
        volume.SetDirection(place["direction"])
    path.parent.mkdir(exist_ok=True)
    _sitk.WriteImage(volume, str(path))


@pytest.mark.parametrize("labels", [None, {"head": 1}, {"head": 1, "symphysis": 2}])
@pytest.mark.parametrize("factor", [3, 5, 127, 128, 254, 255])
def test_one_value_that_is_no_class(
    make_root: MakeRoot, factor: int, labels: dict[str, int] | None
) -> None:
    root = dataset_of(make_root(("a.png",)), DRAWN * np.uint8(factor), labels)
    with pytest.raises(DatasetError, match=rf"a\.png: .* found the values 0, {factor}; ") as caught:
        Dataset.read(root)
    assert f"replace {factor} by the class number" in str(caught.value)
    assert ("labels.json" in str(caught.value)) is (labels is None)


@pytest.mark.parametrize("labels", [None, {"head": 1}])
@pytest.mark.parametrize("levels", [256, 64])
def test_soft_mask(make_root: MakeRoot, levels: int, labels: dict[str, int] | None) -> None:
    soft = np.resize(np.arange(levels), (16, 16)).astype(np.uint8)
    root = make_root(("a.png",))
    Image.fromarray(soft).save(root / "images" / "a.png")
    with pytest.raises(DatasetError, match=f"up to {levels - 1}; grey levels, as of a soft mask"):
        Dataset.read(dataset_of(root, soft, labels))


def test_values_that_labels_name_are_right(make_root: MakeRoot) -> None:
    root = dataset_of(make_root(("a.png",)), DRAWN * np.uint8(255), {"head": 255})
    assert Dataset.read(root).cases[0].read_mask().max() == 255


def test_skipped_value_over_several_masks(make_root: MakeRoot) -> None:
    root = make_root(("a.png", "b.png"), masks={"a.png": 1, "b.png": 3})
    with pytest.raises(DatasetError, match=r"b\.png: .* found the values 1, 3; "):
        Dataset.read(root)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("turned", [(-1, 1), (1, -1), (-1, -1)])
def test_turned_mask_is_laid_on_its_image(
    make_root: MakeRoot, suffix: str, turned: tuple[int, int]
) -> None:
    root = make_root(())
    write_volume(root / "images" / f"a{suffix}", DRAWN * np.uint8(100))
    across, down = turned
    origin = (2.5 if across < 0 else 0.0, 1.5 if down < 0 else 0.0, 0.0)
    direction = (float(across), 0.0, 0.0, 0.0, float(down), 0.0, 0.0, 0.0, 1.0)
    stored = np.ascontiguousarray(DRAWN[::down, ::across])
    write_volume(root / "masks" / f"a{suffix}", stored, origin=origin, direction=direction)
    case = Dataset.read(root).cases[0]
    np.testing.assert_array_equal(case.read_mask(), DRAWN)


def test_mask_elsewhere_in_space_is_refused_with_both_places(make_root: MakeRoot) -> None:
    root = make_root(())
    write_volume(root / "images" / "a.nrrd", DRAWN)
    write_volume(root / "masks" / "a.nrrd", DRAWN, origin=(70.0, 80.0, 0.0))
    case = Dataset.read(root).cases[0]
    with pytest.raises(ImageError, match=r"origin \(70, 80, 0\).*origin \(0, 0, 0\)"):
        case.read_mask()


def segmentation(path: Path, segments: dict[str, int]) -> None:
    """Write what 3D Slicer writes: a label map with the names of its segments."""
    volume = _sitk.GetImageFromArray(DRAWN[None] * max(segments.values()))
    volume.SetSpacing((0.5, 0.5, 1.0))
    for number, (name, value) in enumerate(segments.items()):
        volume.SetMetaData(f"Segment{number}_Name", name)
        volume.SetMetaData(f"Segment{number}_LabelValue", str(value))
        volume.SetMetaData(f"Segment{number}_Layer", "0")
    path.parent.mkdir(exist_ok=True)
    _sitk.WriteImage(volume, str(path))


class TestSegmentationOfSlicer:
    def test_segments_become_classes_by_name(self, make_root: MakeRoot) -> None:
        labels = json.dumps({"head": 1, "symphysis": 2})
        root = make_root((), labels=labels)
        write_volume(root / "images" / "a.nrrd", DRAWN)
        segmentation(root / "masks" / "a.seg.nrrd", {"symphysis": 1})
        dataset = Dataset.read(root)
        assert [case.id for case in dataset.labelled()] == ["a"]
        np.testing.assert_array_equal(dataset.cases[0].read_mask(), DRAWN * 2)

    def test_names_of_segments_name_the_classes(self, make_root: MakeRoot) -> None:
        root = make_root(())
        write_volume(root / "images" / "a.nrrd", DRAWN)
        segmentation(root / "masks" / "a.seg.nrrd", {"fetal head": 1})
        dataset = Dataset.read(root)
        assert dataset.labels == {"fetal head": 1}
        np.testing.assert_array_equal(dataset.cases[0].read_mask(), DRAWN)

    def test_unknown_segment_is_refused(self, make_root: MakeRoot) -> None:
        root = make_root((), labels='{"head": 1}')
        write_volume(root / "images" / "a.nrrd", DRAWN)
        segmentation(root / "masks" / "a.seg.nrrd", {"bladder": 1})
        with pytest.raises(ImageError, match=r"bladder.*head"):
            Dataset.read(root).cases[0].read_mask()

    def test_beside_the_images_it_is_no_image(self, make_root: MakeRoot) -> None:
        root = make_root(())
        write_volume(root / "images" / "a.nrrd", DRAWN)
        segmentation(root / "images" / "a.seg.nrrd", {"head": 1})
        dataset = Dataset.read(root)
        assert [case.id for case in dataset] == ["a"]
        assert "images/a.seg.nrrd" in str(dataset.notice)
