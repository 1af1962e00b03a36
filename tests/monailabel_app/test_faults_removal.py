"""An image id that is used again: what was the old image's goes, what is the new one's stays."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from lfusion.image import write_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import STATE_FOLDER
from monailabel_app.lib.datastore.journal import ImageRemoved, LabelEntry


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)


def masks_of(folder: Path, count: int) -> list[Path]:
    """Labels of different contents."""
    files = [folder / f"mask{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        write_mask(file, np.eye(96, 128, k=number, dtype=np.uint8))
    return files


def removed_and_added_again(store: StudiesDatastore, mask: Path, tmp_path: Path) -> None:
    """An image that had a label is removed, and another one gets its id."""
    image = shutil.copy(store.image_path("head00"), tmp_path / "again.png")
    for _ in range(3):
        store.save_label("head00", str(mask), "final", {})
    store.remove_image("head00")
    assert not list((store.folder.state / "versions").glob("*/*"))
    store.add_image("head00", str(image), {})


def made_anew(store: StudiesDatastore) -> StudiesDatastore:
    """The same studies after their index was lost."""
    store.close()
    (store.folder.state / "index.sqlite").unlink()
    return opened(store.folder.root)


def test_all_versions_are_there_after_the_index_was_made_anew(
    studies: Path, mask: Path, tmp_path: Path
) -> None:
    store = opened(studies)
    removed_and_added_again(store, mask, tmp_path)
    labels = masks_of(tmp_path, 3)
    for label in labels:
        store.save_label("head00", str(label), "final", {})
    store = made_anew(store)
    assert [one.current for one in store.saver.versions("head00")] == [False, False, True]
    kept = [store.saver.version_file("head00", number).read_bytes() for number in (1, 2, 3)]
    assert kept == [label.read_bytes() for label in labels]


def test_a_label_that_only_its_version_keeps_is_there(
    studies: Path, mask: Path, tmp_path: Path
) -> None:
    store = opened(studies)
    removed_and_added_again(store, mask, tmp_path)
    store.save_label("head00", str(mask), "final", {})
    store.remove_label("head00", "final")
    store = made_anew(store)
    assert store.saver.version_file("head00", 1).read_bytes() == mask.read_bytes()


def test_a_label_that_waits_for_its_place_gets_it(
    studies: Path, mask: Path, tmp_path: Path
) -> None:
    store = opened(studies)
    removed_and_added_again(store, mask, tmp_path)
    staged = store.folder.stage(mask)
    version = store.folder.version("head00", "final", 1, ".png")
    version.parent.mkdir(parents=True)
    staged.path.replace(version)
    entry = LabelEntry(
        image="head00", tag="final", version=1, suffix=".png", sha256=staged.sha256, time=1.0
    )
    with (studies / STATE_FOLDER / "journal.jsonl").open("a") as file:
        file.write(entry.model_dump_json() + "\n")
    store = made_anew(store)
    assert Path(store.get_label_uri("head00", "final")).read_bytes() == mask.read_bytes()


def test_versions_that_a_dying_server_left_go_before_the_next_label(
    studies: Path, mask: Path, tmp_path: Path
) -> None:
    store = opened(studies)
    for label in masks_of(tmp_path, 3):
        store.save_label("head00", str(label), "final", {})
    image = shutil.copy(store.image_path("head00"), tmp_path / "again.png")
    store.image_path("head00").unlink()
    Path(store.get_label_uri("head00", "final")).unlink()
    with store.ledger.writing() as db:  # all that `remove_image` does up to its commit
        store.ledger.carry_out(db, ImageRemoved(image="head00"))
    assert list((studies / STATE_FOLDER / "versions" / "final" / "head00").iterdir())
    store.close()
    store = opened(studies)
    assert not (studies / STATE_FOLDER / "versions" / "final" / "head00").exists()
    store.add_image("head00", str(image), {})
    store.save_label("head00", str(mask), "final", {})
    assert store.saver.version_file("head00", 1).read_bytes() == mask.read_bytes()


def test_a_removal_that_fails_leaves_the_versions(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(studies)
    first, second = masks_of(tmp_path, 2)
    for label in (first, second):
        store.save_label("head00", str(label), "final", {})

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("monailabel_app.lib.datastore.journal._set_offset", no_space)
        with pytest.raises(OSError, match="No space left"):
            store.remove_image("head00")
    store.refresh()
    assert store.saver.version_file("head00", 1).read_bytes() == first.read_bytes()
