"""What others put into the folder is seen while the server runs, whatever else is in there."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from monailabel_app.lib.datastore import StudiesDatastore, watch
from monailabel_app.lib.datastore.reconcile import Reconciler


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StudiesDatastore]:
    """An empty folder that is watched, with a folder of labels that somebody put aside."""
    (tmp_path / "studies" / "labels" / "final (copy)").mkdir(parents=True)
    store = StudiesDatastore(
        str(tmp_path / "studies"), lambda: {"head": 1}, auto_reload=True, read_only=False
    )
    yield store
    store.close()


def test_a_folder_of_labels_that_is_no_tag_hides_no_image(
    store: StudiesDatastore, heads: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = heads / "images" / "head00.png"
    for number in range(3):
        shutil.copy(image, store.folder.root / "labels" / "final (copy)" / f"{number}.png")
        shutil.copy(image, store.folder.root / f"{number}.png")
    until(lambda: store.list_images() == ["0", "1", "2"])
    assert "failed" not in caplog.text


def test_a_repaired_mask_and_a_changed_table_are_seen(heads: Path, tmp_path: Path) -> None:
    root = tmp_path / "dataset"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    shutil.copy(heads / "images" / "head00.png", root / "images")
    mask = root / "masks" / "head00.png"
    mask.write_text("no picture")
    store = StudiesDatastore(str(root), lambda: {"head": 1}, auto_reload=True, read_only=False)
    try:
        assert store.get_labeled_images() == []
        shutil.copy(heads / "masks" / "head00.png", mask)
        until(lambda: store.get_labeled_images() == ["images--head00"])
        (root / "meta.csv").write_text("id,pixel_size_mm\nhead00,0.2\n")
        until(lambda: store.image_metadata("images--head00").pixel_size_mm == (0.2, 0.2))
    finally:
        store.close()


def test_what_a_look_that_failed_had_noted_is_seen_later(
    store: StudiesDatastore, heads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_RETRY_SECONDS", 0.1)
    failed = threading.Event()

    def fails(*_: object) -> None:
        failed.set()
        raise OSError("Input/output error")

    monkeypatch.setattr(Reconciler, "look_at", fails)
    shutil.copy(heads / "images" / "head00.png", store.folder.root)
    assert failed.wait(60)
    until(lambda: store.list_images() == ["head00"])


def test_a_file_of_another_machine_is_seen_in_time_although_files_change_all_the_time(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LOOK_THROUGH_SECONDS", 2.0)
    note = watch.FolderWatch._note

    def deaf(self: watch.FolderWatch, path: str, is_directory: bool) -> None:
        if Path(path).name == "busy.png":
            note(self, path, is_directory)

    monkeypatch.setattr(watch.FolderWatch, "_note", deaf)
    studies = tmp_path / "studies"
    store = StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=True, read_only=False)
    shutil.copy(heads / "images" / "head00.png", studies)

    def seen() -> bool:
        (studies / "labels" / "final" / "busy.png").touch()
        return store.list_images() == ["head00"]

    try:
        until(seen)
    finally:
        store.close()
