"""Every label is a version: who wins, what is kept, and what a retry does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lfusion.image import write_mask
from lfusion.protocol import Submission
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.errors import InvalidNameError


@pytest.fixture
def studies(heads: Path, tmp_path: Path) -> Path:
    """Two of the drawn heads."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for name in ("head00.png", "head01.png"):
        shutil.copy(heads / "images" / name, folder)
    return folder


@pytest.fixture
def masks(tmp_path: Path) -> list[Path]:
    """Labels of three different contents."""
    paths = [tmp_path / f"mask{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        write_mask(path, np.eye(96, 128, k=number, dtype=np.uint8))
    return paths


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)


def kept(studies: Path, version: int) -> Path:
    return studies / ".lfusion" / "versions" / "final" / "head00" / f"{version}.png"


class TestVersions:
    def test_each_says_who_made_it_from_what(self, studies: Path, masks: list[Path]) -> None:
        store = opened(studies)
        store.saver.save(
            "head00", masks[0], "final", Submission(client_id="a", checkpoint_id="c"), "Ann"
        )
        store.saver.save(
            "head00", masks[1], "final", Submission(client_id="b", base_version=1), None
        )
        first, second = store.saver.versions("head00")
        assert (first.version, first.author, first.client_id) == (1, "Ann", "a")
        assert (first.checkpoint_id, first.base_version, first.current) == ("c", None, False)
        assert (second.version, second.author, second.base_version) == (2, None, 1)
        assert second.current
        assert first.sha256 != second.sha256

    def test_the_current_one_is_the_label_and_the_older_ones_are_kept(
        self, studies: Path, masks: list[Path]
    ) -> None:
        store = opened(studies)
        for mask in masks:
            store.save_label("head00", str(mask), "final", {})
        label = studies / "labels" / "final" / "head00.png"
        assert label.read_bytes() == masks[2].read_bytes()
        assert kept(studies, 1).read_bytes() == masks[0].read_bytes()
        assert kept(studies, 2).read_bytes() == masks[1].read_bytes()

    def test_a_stale_label_is_kept_and_told(self, studies: Path, masks: list[Path]) -> None:
        store = opened(studies)
        for base, mask, conflict in ((0, masks[0], None), (0, masks[1], 1), (2, masks[2], None)):
            saved = store.saver.save("head00", mask, "final", Submission(base_version=base), None)
            assert saved.conflict_with == conflict
        assert [one.version for one in store.saver.versions("head00")] == [1, 2, 3]

    def test_a_retry_saves_nothing_and_gets_the_same_answer(
        self, studies: Path, masks: list[Path]
    ) -> None:
        store = opened(studies)
        first = Submission(idempotency_key="k", base_version=0)
        answers = [
            store.saver.save("head00", masks[0], "final", first, None),
            store.saver.save("head00", masks[1], "final", Submission(), None),
            store.saver.save("head00", masks[0], "final", first, None),
        ]
        assert answers[0] == answers[2]
        assert len(store.saver.versions("head00")) == 2
        assert not list((studies / ".lfusion" / "incoming").iterdir())

    def test_a_removed_label_is_kept_as_a_version(self, studies: Path, masks: list[Path]) -> None:
        store = opened(studies)
        store.save_label("head00", str(masks[0]), "final", {})
        store.remove_label("head00", "final")
        assert store.get_labeled_images() == []
        assert kept(studies, 1).read_bytes() == masks[0].read_bytes()
        assert not store.saver.versions("head00")[0].current
        saved = store.saver.save("head00", masks[1], "final", Submission(base_version=0), None)
        assert (saved.version, saved.conflict_with) == (2, None)


class TestFilesPutThereByHand:
    def test_a_label_is_a_version_and_survives_the_next_one(
        self, studies: Path, masks: list[Path]
    ) -> None:
        store = opened(studies)
        shutil.copy(masks[0], studies / "labels" / "final" / "head00.png")
        store.refresh()
        assert store.get_labeled_images() == ["head00"]
        store.save_label("head00", str(masks[1]), "final", {})
        assert kept(studies, 1).read_bytes() == masks[0].read_bytes()

    def test_an_edited_label_is_a_new_version(self, studies: Path, masks: list[Path]) -> None:
        store = opened(studies)
        store.save_label("head00", str(masks[0]), "final", {"client_id": "a"})
        shutil.copyfile(masks[1], studies / "labels" / "final" / "head00.png")
        store.refresh()
        assert [(v.client_id, v.current) for v in store.saver.versions("head00")] == [
            ("a", False),
            (None, True),
        ]

    def test_a_label_that_got_another_suffix_is_the_same_version(
        self, studies: Path, masks: list[Path], tmp_path: Path
    ) -> None:
        store = opened(studies)
        mask = tmp_path / "mask.tif"
        write_mask(mask, np.eye(96, 128, dtype=np.uint8))
        store.save_label("head00", str(mask), "final", {})
        store.remove_label("head00", "final")
        shutil.copy(mask, studies / "labels" / "final" / "head00.tiff")
        store.refresh()
        journal = (studies / ".lfusion" / "journal.jsonl").read_text()
        for _ in range(2):
            store.refresh()
            assert Path(store.get_label_uri("head00", "final")).read_bytes() == mask.read_bytes()
        assert (studies / ".lfusion" / "journal.jsonl").read_text() == journal
        assert [one.version for one in store.saver.versions("head00")] == [1]
        (studies / "labels" / "final" / "head00.tiff").unlink()
        store.refresh()
        assert store.saver.version_file("head00", 1).read_bytes() == mask.read_bytes()

    def test_the_index_of_a_stock_server_is_taken_over(
        self, studies: Path, masks: list[Path]
    ) -> None:
        (studies / "labels" / "final").mkdir(parents=True)
        shutil.copy(masks[0], studies / "labels" / "final" / "head00.png")
        label = {"ext": ".png", "info": {"ts": 1700000000, "client_id": "ann", "note": "hard"}}
        stock = {
            "name": "x",
            "description": "y",
            "objects": {
                "head00": {
                    "image": {"ext": ".png", "info": {"ts": 1, "site": "A"}},
                    "labels": {"final": label},
                }
            },
        }
        (studies / "datastore_v2.json").write_text(json.dumps(stock))
        store = opened(studies)
        assert store.get_image_info("head00")["site"] == "A"
        assert store.get_label_info("head00", "final")["note"] == "hard"
        (version,) = store.saver.versions("head00")
        assert (version.client_id, version.time) == ("ann", 1700000000)
        assert sorted(store.list_images()) == ["head00", "head01"]

    def test_a_cut_off_index_of_a_stock_server_loses_no_file(
        self, studies: Path, masks: list[Path], caplog: pytest.LogCaptureFixture
    ) -> None:
        (studies / "labels" / "final").mkdir(parents=True)
        shutil.copy(masks[0], studies / "labels" / "final" / "head00.png")
        (studies / "datastore_v2.json").write_text('{"objects": {"head00": {"im')
        assert opened(studies).get_labeled_images() == ["head00"]
        assert "datastore_v2.json cannot be read" in caplog.text


class TestLinks:
    def test_an_image_outside_is_not_read(self, studies: Path, heads: Path) -> None:
        (studies / "link.png").symlink_to(heads / "images" / "head02.png")
        (studies / "inner.png").symlink_to(studies / "head00.png")
        store = opened(studies)
        assert sorted(store.list_images()) == ["head00", "head01", "inner"]

    def test_an_image_that_became_a_link_outside_is_not_read(
        self, studies: Path, heads: Path
    ) -> None:
        store = opened(studies)
        (studies / "head00.png").unlink()
        (studies / "head00.png").symlink_to(heads / "images" / "head02.png")
        assert store.get_image_uri("head00") == ""

    def test_a_label_is_not_written_through_a_link_outside(
        self, studies: Path, masks: list[Path], tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        store = opened(studies)
        (studies / "labels" / "mine").symlink_to(outside)
        with pytest.raises(InvalidNameError, match="leads out"):
            store.save_label("head00", str(masks[0]), "mine", {})
        assert not list(outside.iterdir())


class TestIds:
    def test_files_of_one_stem_keep_their_ids(self, studies: Path) -> None:
        (studies / "b").mkdir()
        for name in ("head00.jpg", "b/head00.png"):
            (studies / name).touch()
        store = opened(studies)
        before = {image_id: store.get_image_uri(image_id) for image_id in store.list_images()}
        assert len(before) == 4
        assert "b--head00" in before
        (studies / "head00.bmp").touch()
        store.refresh()
        store.close()
        (studies / ".lfusion" / "index.sqlite").unlink()
        after = opened(studies)
        assert {i: after.get_image_uri(i) for i in before} == before
        assert Path(after.get_image_uri("head00.bmp")).name == "head00.bmp"

    def test_annotations_are_no_images(self, studies: Path) -> None:
        (studies / "masks").mkdir()
        for name in ("1_Annotation.png", "1_mask.PNG", "masks/1.png", "1-seg.nii.gz"):
            (studies / name).touch()
        assert len(opened(studies).list_images()) == 2
