"""`meta.csv` of a dataset folder that is served: pixel sizes, exams and splits of its images."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from lfusion.image import Dataset
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.infer import UncertaintyInfer
from monailabel_app.lib.jobs import ordered_labels
from monailabel_app.lib.retraining import collect_cases
from monailabel_app.lib.served import ServedModel

LABELS = {"fetal head": 1}


@pytest.fixture
def dataset(heads: Path, tmp_path: Path) -> Path:
    """Two of the drawn heads as a dataset folder with a pixel size for the first."""
    root = tmp_path / "dataset"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
        for name in ("head00.png", "head01.png"):
            shutil.copy(heads / folder / name, root / folder)
    (root / "meta.csv").write_text("ID;Exam;Split;Pixel_Size_mm\nhead00.png;e7;Train;0,25\n")
    return root


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: LABELS, auto_reload=False, read_only=False)


def test_row_belongs_to_the_image_of_its_name(dataset: Path) -> None:
    store = opened(dataset)
    row = store.image_metadata("images--head00")
    assert (row.pixel_size_mm, row.group, row.split) == ((0.25, 0.25), "e7", "train")
    info = store.get_image_info("images--head00")
    assert (info["pixel_size_mm"], info["group"], info["split"]) == ([0.25, 0.25], "e7", "train")
    assert store.image_metadata("images--head01").pixel_size_mm is None
    assert "pixel_size_mm" not in store.get_image_info("images--head01")


def test_images_in_the_studies_folder_itself(heads: Path, tmp_path: Path) -> None:
    shutil.copy(heads / "images" / "head00.png", tmp_path)
    (tmp_path / "meta.csv").write_text("id,pixel_size_mm\nhead00,0.1 0.2\n")
    (tmp_path / "other").mkdir()
    shutil.copy(heads / "images" / "head00.png", tmp_path / "other")
    store = opened(tmp_path)
    assert store.image_metadata("head00").pixel_size_mm == (0.1, 0.2)
    assert store.image_metadata("other--head00").pixel_size_mm is None


def test_change_of_the_file_counts_at_once(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = opened(dataset)
    (dataset / "meta.csv").write_text("id,pixel_size_mm\nhead01,0.5\n")
    assert store.image_metadata("images--head00").pixel_size_mm is None
    assert store.image_metadata("images--head01").pixel_size_mm == (0.5, 0.5)
    (dataset / "meta.csv").write_text("id,pixel_size\nhead01,0.5\n")
    assert store.image_metadata("images--head01").pixel_size_mm is None
    store.image_metadata("images--head00")
    warned = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "meta.csv: the column 'pixel_size' is not known" in warned[0].getMessage()
    assert str(dataset) not in warned[0].getMessage()
    (dataset / "meta.csv").unlink()
    assert store.image_metadata("images--head01").pixel_size_mm is None


def test_pixel_size_is_used_for_inference(
    dataset: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from monailabel_app.main import LFusionApp

    served = ServedModel(tiny_checkpoint, tmp_path / "state")
    app = cast(Any, SimpleNamespace(_infers={"lfusion": UncertaintyInfer(served, None)}))
    store = opened(dataset)

    def size(image: str, **asked: Any) -> Any:
        request = {"model": "lfusion", "image": image, **asked}
        result = LFusionApp.infer(app, request, store)
        Path(result["file"]).unlink()
        return result["params"]["pixel_size_mm"]

    assert size("images--head00") == (0.25, 0.25)
    assert size("images--head00", pixel_size_mm=[0.3, 0.4]) == (0.3, 0.4)
    assert size("images--head01") is None


def test_training_gets_pixel_size_and_exam(dataset: Path, tmp_path: Path) -> None:
    store = opened(dataset)
    assert store.get_labeled_images() == ["images--head00", "images--head01"]
    folder = tmp_path / "written"
    folder.mkdir()
    cases, skipped = collect_cases(ordered_labels(store), LABELS, folder)
    assert skipped == {}
    first, second = cases
    assert (first.pixel_size_mm, first.group) == ((0.25, 0.25), "e7")
    assert first.read().pixel_size_mm == (0.25, 0.25)
    assert (second.pixel_size_mm, second.group) == (None, None)


def test_command_line_and_server_read_the_same(dataset: Path) -> None:
    store = opened(dataset)
    for case in Dataset.read(dataset):
        row = store.image_metadata(f"images--{case.id}")
        assert (row.split, row.group) == (case.split, case.group)
        assert row.pixel_size_mm == case.pixel_size_mm
    masks = [case.read_mask() for case in Dataset.read(dataset)]
    assert all(np.unique(mask).tolist() == [0, 1] for mask in masks)
