"""Dataset folders that follow the convention, and what is said about those that do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from lfusion.errors import DatasetError, ImageError
from lfusion.image import Case, Dataset, write_mask

MakeRoot = Callable[..., Path]


def test_images_alone_are_a_dataset(make_root: MakeRoot) -> None:
    root = make_root(("b.JPG", "a.1.nii.gz", "c.png", ".hidden.png", "notes.gif"))
    dataset = Dataset.read(str(root))
    assert [case.id for case in dataset] == ["a.1", "b", "c"]
    assert len(dataset) == 3
    assert dataset.root == root
    assert dataset.labels == {}
    assert dataset.splits == ()
    assert len(dataset.labelled()) == 0
    first = dataset.cases[0]
    assert (first.mask_path, first.split, first.group, first.pixel_size_mm) == (None,) * 4
    assert first.meta == {}


def test_meta_columns(make_root: MakeRoot) -> None:
    root = make_root(
        images=("a.png", "b.png", "c.png", "d.png"),
        meta="\ufeffid,exam,split,pixel_size_mm,hc_mm\n"
        "b,e1,train, 0.1 ,57\na,,test,0.2 0.3,\nc,e2,train,,1\n",
    )
    dataset = Dataset.read(root)
    a, b, c, d = dataset.cases
    assert (b.split, b.group, b.pixel_size_mm, b.meta) == (
        "train", "e1", (0.1, 0.1), {"hc_mm": "57"},
    )  # fmt: skip
    assert (a.split, a.group, a.pixel_size_mm) == ("test", None, (0.2, 0.3))
    assert c.pixel_size_mm is None
    assert d == Case("d", root / "images" / "d.png")
    assert dataset.splits == ("test", "train")
    assert [case.id for case in dataset.split("train")] == ["b", "c"]


@pytest.mark.parametrize("column", ["group", "exam", "patient"])
def test_group_column_by_any_name(make_root: MakeRoot, column: str) -> None:
    dataset = Dataset.read(make_root(("a.png",), meta=f"id,{column}\na,7\n"))
    assert dataset.cases[0].group == "7"
    assert dataset.cases[0].meta == {}


def test_pixel_size_of_meta_wins_over_the_file(make_root: MakeRoot) -> None:
    root = make_root(("a.nrrd", "b.nrrd"), meta="id,pixel_size_mm\na,0.25\n")
    sitk_image = SimpleITK.GetImageFromArray(np.zeros((4, 6), np.uint8))
    sitk_image.SetSpacing((0.5, 0.5))  # type: ignore[no-untyped-call]
    for name in ("a", "b"):
        SimpleITK.WriteImage(sitk_image, str(root / "images" / f"{name}.nrrd"))
    a, b = Dataset.read(root)
    assert a.read().pixel_size_mm == (0.25, 0.25)
    assert a.read().geometry.spacing == (0.5, 0.5)
    assert b.read().pixel_size_mm == (0.5, 0.5)


def test_masks_of_any_format_and_found_labels(make_root: MakeRoot) -> None:
    root = make_root(("a.png", "b.jpg", "c.png"), masks={"a.nii.gz": 2, "b.png": 1})
    dataset = Dataset.read(root)
    assert dataset.labels == {"class 1": 1, "class 2": 2}
    labelled = dataset.labelled()
    assert [case.id for case in labelled] == ["a", "b"]
    assert labelled.labels == dataset.labels
    assert [case.id for case in dataset.unlabelled()] == ["c"]
    np.testing.assert_array_equal(labelled.cases[0].read_mask(), np.full((4, 6), 2))


def test_labels_file(make_root: MakeRoot) -> None:
    labels = json.dumps({"fetal head": 2, "pubic symphysis": 1})
    dataset = Dataset.read(make_root(masks={"a.png": 2}, labels=labels))
    assert list(dataset.labels.items()) == [("pubic symphysis", 1), ("fetal head", 2)]


def test_split_keeps_labels_that_only_another_split_has(make_root: MakeRoot) -> None:
    root = make_root(masks={"a.png": 1, "b.png": 2}, meta="id,split\na,train\nb,test\n")
    train = Dataset.read(root).split("train")
    assert [case.id for case in train] == ["a"]
    assert train.labels == {"class 1": 1, "class 2": 2}


def test_unknown_split_names_the_known_ones(make_root: MakeRoot) -> None:
    dataset = Dataset.read(make_root(meta="id,split\na,train\nb,test\n"))
    with pytest.raises(DatasetError, match="no split 'val'; its splits are test, train"):
        dataset.split("val")


def test_split_without_any(make_root: MakeRoot) -> None:
    with pytest.raises(DatasetError, match="add a column split"):
        Dataset.read(make_root()).split("test")


def test_missing_and_empty_images_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected a dataset folder"):
        Dataset.read(tmp_path / "nowhere")
    (tmp_path / "images").mkdir()
    with pytest.raises(DatasetError, match=r"expected images that end in \.png"):
        Dataset.read(tmp_path)


def test_two_images_of_one_id(make_root: MakeRoot) -> None:
    with pytest.raises(DatasetError, match=r"a\.jpg and a\.png"):
        Dataset.read(make_root(("a.png", "a.jpg")))


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ("id,split\na,train\nx,test\n", "row for x, which"),
        ("id\nx\ny\nz\n", "x and 2 others"),
        ("id,split\na,train\na,test\n", r"row 3: .* a again"),
        ("id,split\n,train\n", "row 2: .* no id"),
        ("name,split\na,train\n", "column id, got name, split"),
        ("", "an empty file"),
        ("id\na,train\n", "more values than columns"),
        ("id,pixel_size_mm\na,big\n", r"row 2 \(a\): .* got 'big'"),
        ("id,pixel_size_mm\na,0\n", "got '0'"),
        ("id,pixel_size_mm\na,nan\n", "got 'nan'"),
        ("id,pixel_size_mm\na,0.1 0.2 0.3\n", "one or two positive numbers"),
    ],
)
def test_bad_meta(make_root: MakeRoot, meta: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        Dataset.read(make_root(meta=meta))
    assert "meta.csv" in str(caught.value)


@pytest.mark.parametrize("content", [b"id,split\n\xff\xfe,train\n", b'id,split\n"a,train\n'])
def test_unreadable_meta(make_root: MakeRoot, content: bytes) -> None:
    root = make_root()
    (root / "meta.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=r"meta\.csv.*UTF-8"):
        Dataset.read(root)


@pytest.mark.parametrize(
    "labels",
    ["", "[1]", "{}", '{"head": 0}', '{"head": 256}', '{"head": "1"}', '{"a": 1, "b": 1}',
     '{"head": true}', '{"head": 1.5}'],
)  # fmt: skip
def test_bad_labels(make_root: MakeRoot, labels: str) -> None:
    with pytest.raises(DatasetError, match=r"labels\.json"):
        Dataset.read(make_root(labels=labels))


def test_mask_without_image(make_root: MakeRoot) -> None:
    with pytest.raises(DatasetError, match="mask for a_Annotation, which"):
        Dataset.read(make_root(masks={"a.png": 1, "a_Annotation.png": 1}))


def test_black_and_white_mask_without_labels(make_root: MakeRoot) -> None:
    with pytest.raises(DatasetError, match="black-and-white"):
        Dataset.read(make_root(masks={"a.png": 255}))


def test_unreadable_mask(make_root: MakeRoot) -> None:
    root = make_root(masks={"a.png": 1})
    (root / "masks" / "a.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"a\.png: the file is empty"):
        Dataset.read(root)


@pytest.mark.parametrize("image", ["a.png", "a.nrrd"])
def test_mask_of_another_size(make_root: MakeRoot, image: str) -> None:
    root = make_root((image,), masks={"a.png": 1})
    write_mask(root / "masks" / "a.png", np.ones((6, 4), dtype=np.uint8))
    with pytest.raises(ImageError, match=r"masks/a\.png: .* (got 6 x 4|1 x 6 x 4 pixels, its)"):
        Dataset.read(root).cases[0].read_mask()


def test_mask_of_a_dicom_image(
    make_root: MakeRoot, write_dicom: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_root(("b.png",), masks={"a.png": 1})
    write_dicom(np.zeros((4, 6), np.uint8)).rename(tmp_path / "images" / "a.DCM")
    case = Dataset.read(root).cases[0]
    assert case.read().pixels.shape == case.read_mask().shape


def test_case_without_mask_or_image(tmp_path: Path) -> None:
    case = Case("a", tmp_path / "a.png")
    with pytest.raises(DatasetError, match="case a has no mask"):
        case.read_mask()
    with pytest.raises(ImageError, match="no such file"):
        case.read()


def test_explicit_cases(make_root: MakeRoot) -> None:
    root = make_root()
    cases = tuple(Case(name, root / "images" / f"{name}.png") for name in ("b", "a"))
    dataset = Dataset(cases, {"fetal head": 1})
    assert [case.id for case in dataset] == ["b", "a"]
    assert dataset.root is None
    assert len(Dataset(())) == 0
    with pytest.raises(DatasetError, match="b twice"):
        Dataset((cases[0], cases[0]))
    assert len({*cases, *cases}) == 2


def test_real_dataset(shared_data: Path) -> None:
    dataset = Dataset.read(shared_data / "hc18")
    assert len(dataset) == 600
    assert dataset.labels == {"class 1": 1}
    assert {name: len(dataset.split(name)) for name in dataset.splits} == {
        "train": 368, "val": 86, "test": 146,
    }  # fmt: skip
    case = dataset.cases[0]
    assert (case.id, case.group, case.meta["hc_mm"]) == ("001_HC", "hc18_exam_001", "56.81")
    assert case.read().pixel_size_mm == (0.0896585200514, 0.0896585200514)
    assert case.read().pixels.shape == case.read_mask().shape == (540, 800)


def test_datasets_of_the_same_labels_join_in_order() -> None:
    parts = [
        Dataset((Case("b", Path("b.png")), Case("a", Path("a.png"))), {"head": 1}, Path("one")),
        Dataset((Case("c", Path("c.png")),), {"head": 1}, Path("two")),
    ]
    joined = Dataset.join(parts)
    assert [case.id for case in joined] == ["b", "a", "c"]
    assert joined.labels == {"head": 1}
    assert joined.root is None
    assert Dataset.join(parts[:1]) is parts[0]
    with pytest.raises(DatasetError, match="got a twice"):
        Dataset.join([parts[0], Dataset((Case("a", Path("other/a.png")),), {"head": 1})])
    with pytest.raises(DatasetError, match=r"same labels, got \{'head': 1\} in one"):
        Dataset.join([parts[0], Dataset((), {"skull": 1}, Path("three"))])
