"""Masks made wrong on purpose are found, told and shown, with a real tiny model."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lfusion.cli import app
from lfusion.errors import DatasetError, ImageError
from lfusion.evaluation import AuditReport, audit
from lfusion.image import Dataset, read_mask, write_mask
from lfusion.image.mistakes import shifted
from lfusion.predictor import Predictor, load

WRONG = {"head10": "empty", "head12": "shifted"}


@pytest.fixture(scope="module")
def spoilt(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn heads with two wrong masks and one image without."""
    root = tmp_path_factory.mktemp("spoilt") / "heads"
    shutil.copytree(heads, root)
    right = read_mask(root / "masks" / "head12.png")
    write_mask(root / "masks" / "head10.png", np.zeros_like(right))
    write_mask(root / "masks" / "head12.png", shifted(right, 0.4, 0.0))
    (root / "masks" / "head08.png").unlink()
    return root


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return load(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def report(spoilt: Path, predictor: Predictor) -> AuditReport:
    return audit(predictor, Dataset.read(spoilt))


def test_wrong_masks_come_first(report: AuditReport) -> None:
    assert [image.id for image in report.images[:2]] == ["head10", "head12"]
    assert [image.rank for image in report.images] == list(range(1, 13))
    assert report.unlabelled == 1
    assert {image.id for image in report.suspects} >= set(WRONG)


def test_regions_say_what_is_wrong_and_where(
    report: AuditReport, heads: Path, spoilt: Path
) -> None:
    empty, moved = report.images[:2]
    assert (empty.regions[0].kind, moved.regions[0].kind) == ("missing", "missing")
    right, given = (
        read_mask(root / "masks" / "head12.png") for root in (heads, spoilt)
    )  # it was moved to the right, so its left part is missing
    top, left, bottom, stop = moved.regions[0].box
    assert (right[top:bottom, left:stop] > given[top:bottom, left:stop]).any()
    assert left < np.argwhere(given)[:, 1].min()


def test_progress_is_told(spoilt: Path, predictor: Predictor) -> None:
    told: list[tuple[int, int]] = []
    audit(predictor, Dataset.read(spoilt).split("test"), lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_masks_of_other_structures_are_refused(spoilt: Path, predictor: Predictor) -> None:
    other = Dataset(Dataset.read(spoilt).cases, {"liver": 1, "spleen": 2})
    with pytest.raises(DatasetError, match="expected masks of the model's structures"):
        audit(predictor, other)


def test_no_mask_at_all_is_told(heads: Path, predictor: Predictor) -> None:
    bare = Dataset(tuple(c for c in Dataset.read(heads) if not c.mask_path), {"fetal head": 1})
    with pytest.raises(DatasetError, match="expected images with masks"):
        audit(predictor, bare)


@pytest.fixture(scope="module")
def out(spoilt: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "new"
    options = ["--out", folder, "--split", "test", "--checkpoint", tiny_checkpoint]
    arguments = ["audit", str(spoilt), *map(str, options)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert "head10" in result.stdout
    return folder


class TestCommand:
    def test_json_and_csv_say_the_same(self, out: Path) -> None:
        told = json.loads((out / "audit.json").read_text())
        with (out / "audit.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["id"] for row in rows] == [image["id"] for image in told["images"]]
        assert len(rows) == 3
        assert rows[0]["kind"] == told["images"][0]["regions"][0]["kind"] == "missing"
        assert rows[0]["suspect"] == "1"

    def test_the_page_needs_nothing_else_and_shows_the_wrong_masks(self, out: Path) -> None:
        page = (out / "audit.html").read_text(encoding="utf-8")
        assert "<link" not in page
        assert "<script" not in page
        assert "1. head10" in page
        assert 'class="missing"' in page
        assert page.count("<figure>") % 3 == 0

    def test_names_of_classes_can_be_given(self, spoilt: Path, tiny_checkpoint: Path) -> None:
        options = ["--label", "liver", "--checkpoint", str(tiny_checkpoint)]
        result = CliRunner().invoke(app, ["audit", str(spoilt), *options])
        # a mask without the model's names is matched by number
        assert result.exit_code == 0, result.stderr


def test_an_unreadable_mask_is_named(spoilt: Path, predictor: Predictor, tmp_path: Path) -> None:
    root = tmp_path / "two"
    shutil.copytree(spoilt, root)
    Image.new("L", (3, 3)).save(root / "masks" / "head11.png")
    with pytest.raises(ImageError, match=r"head11.*96 x 128 pixels .* got 3 x 3"):
        audit(predictor, Dataset.read(root))
