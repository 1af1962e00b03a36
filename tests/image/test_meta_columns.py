"""Columns of `meta.csv` as people write them: read, or refused by name, never dropped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lfusion.errors import DatasetError
from lfusion.image import Dataset

MakeRoot = Callable[..., Path]


@pytest.mark.parametrize(
    "meta",
    [
        "ID,Split,PIXEL_SIZE_MM,HC_mm\na,Train,0.2,57.5\n",
        " id , split , pixel_size_mm , hc_mm \n a , train , 0.2 , 57.5 \n",
        "id;split;pixel_size_mm;hc_mm\na;train;0,2;57,5\n",
        "sep=;\nid;split;pixel_size_mm;hc_mm\na;TRAIN;0,2;57,5\n",
        "id\tsplit\tpixel_size_mm\thc_mm\na\ttrain\t0.2\t57.5\n",
        "\ufeffid,split,pixel_size_mm,hc_mm\r\na,train,0.2,57.5\r\n\r\n,,,\r\n",
        'id,split,pixel_size_mm,hc_mm\na,train,"0,2","57,5"\n',
        "filename,split,pixel size(mm),head circumference (mm)\na.png,train,0.2,57.5\n",
        "Filename,Split,Pixel  Size (mm),Head Circumference(mm)\na.PNG,train,0.2,57.5\n",
        "id,split,pixel_size_mm,hc_mm\na.png,train,0.2 0.2,57.5\n",
    ],
)
def test_forms_that_are_read(make_root: MakeRoot, meta: str) -> None:
    case = Dataset.read(make_root(("a.png",), meta=meta)).split("train").cases[0]
    assert case.pixel_size_mm == (0.2, 0.2)
    assert case.meta["hc_mm"] == "57.5"


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("splits", "split"),
        ("spilt", "split"),
        ("sp lit", "split"),
        ("split_", "split"),
        ("pixel_size", "pixel_size_mm"),
        ("pixelsize", "pixel_size_mm"),
        ("Pixel-Size-mm", "pixel_size_mm"),
        ("pixel size mm", "pixel_size_mm"),
        ("pixel_size_cm", "pixel_size_mm"),
        ("pixel spacing", "pixel_size_mm"),
        ("hc (mm)", "hc_mm"),
        ("Head Circumference", "hc_mm"),
        ("patients", "group"),
        ("patient_id", "group"),
        ("Exam ID", "group"),
    ],
)
def test_near_miss_is_refused_by_name(make_root: MakeRoot, header: str, meant: str) -> None:
    root = make_root(("a.png",), meta=f"id,{header}\na,1\n")
    with pytest.raises(DatasetError, match=f"resembles {meant}") as caught:
        Dataset.read(root)
    assert repr(header) in str(caught.value)


@pytest.mark.parametrize("header", ["set", "subset", "Phase", ""])
def test_split_under_another_name_is_recognised_by_its_values(
    make_root: MakeRoot, header: str
) -> None:
    root = make_root(("a.png", "b.png"), meta=f"id,{header}\na,Train\nb,test\n")
    with pytest.raises(DatasetError, match="resembles split"):
        Dataset.read(root)


def test_other_columns_stay_text(make_root: MakeRoot) -> None:
    header = "id,split,set,patient,patient_id,Scanner,pixel_size_mm,spacing"
    meta = f"{header}\na,train,train,7,p7,GE,0.2,1\n"
    case = Dataset.read(make_root(("a.png",), meta=meta)).cases[0]
    assert (case.split, case.group) == ("train", "7")
    assert case.meta == {"set": "train", "patient_id": "p7", "scanner": "GE", "spacing": "1"}


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ("id,ID\na,a\n", "each column once, got 'id' and 'ID'"),
        ("id,split, Split\na,train,test\n", "each column once, got 'split' and 'Split'"),
        ("id,split\na,train\na.png,test\n", r"got a and a\.png for one image"),
        ("id,split\na,train\n a ,test\n", "row 3: .* a again"),
        ("id,split\na,validation\n", "'validation' is not known and resembles val; write val"),
        ("id,split\na,Trian\n", "resembles train"),
        ("id,split\na,testing\n", "resembles test"),
        ("id,split\nb.png,train\n", r"row for b\.png, which"),
    ],
)
def test_unclear_tables_are_refused(make_root: MakeRoot, meta: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        Dataset.read(make_root(("a.png",), meta=meta))


@pytest.mark.parametrize("split", ["external", "fold1", "test2", "brain"])
def test_splits_of_other_names_are_read(make_root: MakeRoot, split: str) -> None:
    assert Dataset.read(make_root(("a.png",), meta=f"id,split\na,{split}\n")).splits == (split,)
