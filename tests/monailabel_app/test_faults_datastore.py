"""What a crash, a damaged index and a full disk leave of the labels: all that was acknowledged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from lfusion.image import write_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import STATE_FOLDER, StudiesFolder
from monailabel_app.lib.datastore.journal import LabelEntry

SAVING = """
import sys, warnings
warnings.simplefilter("ignore")
from monailabel_app.lib.datastore import StudiesDatastore
studies, mask, client = sys.argv[1:]
store = StudiesDatastore(studies, lambda: {"head": 1}, auto_reload=False, read_only=False)
for n in range(10_000):
    image = f"head{n % 6:02}"
    store.save_label(image, mask, "final", {"client_id": client})
    print(image, flush=True)
"""


@pytest.fixture
def studies(heads: Path, tmp_path: Path) -> Path:
    """Six of the drawn heads."""
    folder = tmp_path / "studies"
    folder.mkdir()
    for number in range(6):
        shutil.copy(heads / "images" / f"head{number:02}.png", folder)
    return folder


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)


def saver(studies: Path, mask: Path, client: str) -> subprocess.Popen[str]:
    """A process that saves labels until it is killed, and says which."""
    command = [sys.executable, "-c", SAVING, str(studies), str(mask), client]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def acknowledged(process: subprocess.Popen[str], count: int) -> list[str]:
    """Kill a saver after so many answers; all that it gave."""
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(count)]
    process.kill()
    rest, _ = process.communicate()
    return [*lines, *rest.split()]


def saved_by(store: StudiesDatastore, client: str) -> list[str]:
    """The image of each version that a client saved."""
    return [
        image_id
        for image_id in store.list_images()
        for version in store.saver.versions(image_id)
        if version.client_id == client
    ]


def test_two_killed_servers_on_one_folder_lose_nothing(studies: Path, mask: Path) -> None:
    opened(studies).close()
    processes = {client: saver(studies, mask, client) for client in ("a", "b")}
    told = {client: acknowledged(process, 25) for client, process in processes.items()}
    store = opened(studies)
    for client, images in told.items():
        found = saved_by(store, client)
        # A label that was on disk, but not yet acknowledged, may be there too.
        assert len(images) <= len(found) <= len(images) + 1
        assert all(found.count(image) >= images.count(image) for image in images)
    for image_id in store.get_labeled_images():
        assert Path(store.get_label_uri(image_id, "final")).read_bytes() == mask.read_bytes()
        numbers = [version.version for version in store.saver.versions(image_id)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_folder_opens_while_another_server_saves_into_it(tmp_path: Path) -> None:
    StudiesFolder(tmp_path)
    incoming = tmp_path / STATE_FOLDER / "incoming"
    done = threading.Event()

    def save() -> None:
        while not done.is_set():
            files = [incoming / f"{number}.png" for number in range(30)]
            for file in files:
                file.touch()
            for file in files:
                file.unlink()

    other = threading.Thread(target=save)
    other.start()
    try:
        for _ in range(300):
            StudiesFolder(tmp_path)
    finally:
        done.set()
        other.join()


def test_what_a_killed_server_left_half_received_is_removed_after_an_hour(tmp_path: Path) -> None:
    StudiesFolder(tmp_path)
    incoming = tmp_path / STATE_FOLDER / "incoming"
    old, new = incoming / "old.png", incoming / "new.png"
    for file in (old, new):
        file.touch()
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    StudiesFolder(tmp_path)
    assert not old.exists()
    assert new.exists()


def test_a_save_that_died_after_the_journal_is_finished(
    studies: Path, mask: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(studies)
    older = tmp_path / "older.png"
    write_mask(older, np.eye(96, 128, dtype=np.uint8))
    store.save_label("head00", str(older), "final", {})
    staged = store.folder.stage(mask)
    version = store.folder.version("head00", "final", 2, ".png")
    staged.path.replace(version)
    entry = LabelEntry(
        image="head00", tag="final", version=2, suffix=".png", sha256=staged.sha256, time=1.0
    )
    journal = studies / ".lfusion" / "journal.jsonl"
    with journal.open("a") as file:
        file.write(entry.model_dump_json() + '\n{"kind": "label", "ima')
    store.close()
    store = opened(studies)
    assert Path(store.get_label_uri("head00", "final")).read_bytes() == mask.read_bytes()
    assert [one.current for one in store.saver.versions("head00")] == [False, True]
    assert version.with_name("1.png").read_bytes() == older.read_bytes()
    assert "recovered 1 entries of the journal" in caplog.text
    store.save_label("head01", str(mask), "final", {})
    store.close()
    assert opened(studies).get_labeled_images() == ["head00", "head01"]


@pytest.mark.parametrize("damage", ["missing", "empty", "cut off", "no database"])
def test_a_damaged_index_is_made_anew(
    studies: Path, mask: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = opened(studies)
    for image_id in ("head00", "head01", "head00"):
        store.save_label(image_id, str(mask), "final", {"client_id": "ann"})
    store.set_aside("head02", "flagged", "no head")
    before = {i: store.saver.versions(i) for i in store.list_images()}
    store.close()
    index = studies / ".lfusion" / "index.sqlite"
    content = index.read_bytes()
    if damage == "missing":
        index.unlink()
    else:
        kept = {"empty": 0, "cut off": len(content) // 2, "no database": 0}[damage]
        index.write_bytes(content[:kept] + (b"x" * 5000 if damage == "no database" else b""))
    store = opened(studies)
    assert "with labels of 2 images" in caplog.text
    assert ("kept as index.sqlite.damaged" in caplog.text) == (damage in ("cut off", "no database"))
    assert {i: store.saver.versions(i) for i in store.list_images()} == before
    assert store.get_labeled_images() == ["head00", "head01"]
    assert store.status()["completed"] == 2
    with store.index.read() as db:
        row = db.execute("SELECT state, note FROM images WHERE id = 'head02'").fetchone()
    assert tuple(row) == ("flagged", "no head")


def test_a_failure_while_saving_changes_nothing(
    studies: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(studies)
    store.save_label("head00", str(mask), "final", {})
    other = tmp_path / "other.png"
    write_mask(other, np.zeros((96, 128), np.uint8))

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("monailabel_app.lib.datastore.journal._set_offset", no_space)
        with pytest.raises(Exception, match="No space left"):
            store.save_label("head00", str(other), "final", {})
    label = Path(store.get_label_uri("head00", "final"))
    assert label.read_bytes() == mask.read_bytes()
    assert [one.version for one in store.saver.versions("head00")] == [1]
    assert not list((studies / ".lfusion" / "incoming").iterdir())
    store.refresh()
    assert [one.version for one in store.saver.versions("head00")] == [1]
    store.save_label("head00", str(other), "final", {})
    assert label.read_bytes() == other.read_bytes()
