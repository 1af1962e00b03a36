"""What counts as an image, an annotation or neither, and the line that names what is left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lfusion.errors import DatasetError
from lfusion.evaluation import read_foreign
from lfusion.image import Dataset
from lfusion.image.annotations import (
    PassedOver,
    image_files,
    is_annotation_file,
    is_annotation_folder,
    may_be_image,
    notice,
)

MakeRoot = Callable[..., Path]


def picture(path: Path) -> None:
    """Write a small grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6), 40, np.uint8)).save(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("010_HC_Annotation.png", True),
        ("a-MASK.PNG", True),
        ("a_labels.nii.gz", True),
        ("a_seg.nrrd", True),
        ("gt.png", True),
        ("scan.seg.nrrd", True),
        ("SCAN.SEG.NRRD", True),
        ("segmented_head.png", False),
        ("unmasked.png", False),
        ("scan.nrrd", False),
        ("mask_of_a_face.png", False),
    ],
)
def test_rule_for_files(name: str, expected: bool) -> None:
    assert is_annotation_file(name) is expected
    assert may_be_image(name) is not expected


@pytest.mark.parametrize(
    ("name", "expected"), [("Masks", True), ("gt", True), ("segmentation", True), ("maskes", False)]
)
def test_rule_for_folders(name: str, expected: bool) -> None:
    assert is_annotation_folder(name) is expected


def test_everything_that_is_no_image_is_named(
    tmp_path: Path, write_dicom: Callable[..., Path]
) -> None:
    folder = tmp_path / "images"
    for name in ("b.png", "a.png", "a_Annotation.png", "inner/c.png", ".hidden.png"):
        picture(folder / name)
    write_dicom(np.zeros((4, 6), np.uint8)).rename(folder / "1.2.840.113619")
    (folder / "scan.seg.nrrd").write_bytes(b"NRRD0004\n")
    (folder / "IM_0002").write_text("no DICOM file")
    (folder / "notes.txt").write_text("of a trainee")
    (folder / "Thumbs.db").touch()
    images, passed = image_files(folder)
    assert list(images) == ["1.2.840.113619", "a", "b"]
    assert {item.path for item in passed} == {
        "images/IM_0002",
        "images/a_Annotation.png",
        "images/inner/",
        "images/notes.txt",
        "images/scan.seg.nrrd",
    }


def test_notice_is_one_line_with_number_examples_and_reasons() -> None:
    assert notice([]) is None
    passed = [PassedOver(f"masks/{n}.jpg", "lossy") for n in range(5)]
    text = notice([*passed, PassedOver("labels/", "not read")])
    assert text is not None
    assert text.splitlines() == [text]
    assert text == (
        "6 left out: masks/0.jpg, masks/1.jpg, masks/2.jpg and 2 more (lossy); labels/ (not read)"
    )


def test_dataset_names_masks_of_another_kind_and_other_folders(make_root: MakeRoot) -> None:
    root = make_root(("a.png", "b.png"), masks={"a.png": 1})
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(root / "masks" / "b.jpg")
    picture(root / "annotations" / "b.png")
    picture(root / "c.png")
    dataset = Dataset.read(root)
    assert [case.id for case in dataset.labelled()] == ["a"]
    assert dataset.notice is not None
    for text in ("3 left out", "masks/b.jpg (.jpg", "annotations/ (", "c.png (images are read"):
        assert text in dataset.notice


def test_dataset_with_nothing_left_out_has_no_notice(make_root: MakeRoot) -> None:
    assert Dataset.read(make_root(("a.png",), masks={"a.png": 1})).notice is None


def test_folder_of_annotations_alone_says_why_it_has_no_images(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a_mask.png")
    with pytest.raises(DatasetError, match=r"found none; 1 left out: images/a_mask\.png"):
        Dataset.read(tmp_path)
    with pytest.raises(DatasetError, match=r"found none; 1 left out: images/a_mask\.png"):
        read_foreign([tmp_path / "images"], "test")


def test_plain_folder_of_images_follows_the_same_rule(tmp_path: Path) -> None:
    for name in ("a.png", "a_Annotation.png"):
        picture(tmp_path / "other" / name)
    found = read_foreign([tmp_path / "other"], "test")["other"]
    assert [case.id for case in found] == ["a"]
    assert found.notice == "1 left out: other/a_Annotation.png (an annotation by its name)"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_among_the_images_is_not_opened(make_root: MakeRoot) -> None:
    root = make_root(("a.png",))
    os.mkfifo(root / "images" / "pipe")
    found, passed = image_files(root / "images")
    assert list(found) == ["a"]
    assert [item.path for item in passed] == ["images/pipe"]
