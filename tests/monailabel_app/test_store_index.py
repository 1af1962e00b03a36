"""The index: older schemas, cursors, a busy index, leases and left-overs."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import pytest

from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.errors import BusyError, ConflictError, StorageError, storage_error
from monailabel_app.lib.index import SCHEMA_VERSION, Index, database
from monailabel_app.lib.index.results import checkpoint_number, spread_unscored
from monailabel_app.lib.leases import LEASE_SECONDS, Leases

SCHEMAS = Path(__file__).parent / "schemas"


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)


@pytest.mark.parametrize("schema", ["1", "1-later", "2"])
def test_an_index_of_an_older_schema_is_migrated_with_what_is_in_it(
    studies: Path, mask: Path, schema: str
) -> None:
    """The SQL files are the schemas as those versions of the program had them."""
    folder = studies / ".lfusion"
    (studies / "labels" / "final").mkdir(parents=True)
    folder.mkdir()
    shutil.copy(mask, studies / "labels" / "final" / "head00.png")
    image = (studies / "head00.png").stat()
    label = (studies / "labels" / "final" / "head00.png").stat()
    journal = (
        b'{"kind":"image","image":"head00","path":"head00.png"}\n'
        b'{"kind":"label","image":"head00","tag":"final","version":1,"suffix":".png",'
        b'"sha256":"%s","time":5.0,"client_id":"ann"}\n' % _digest(mask)
    )
    (folder / "journal.jsonl").write_bytes(journal)
    db = sqlite3.connect(folder / "index.sqlite")
    db.executescript((SCHEMAS / f"{schema}.sql").read_text())
    db.execute(f"PRAGMA user_version = {schema[0]}")
    db.execute(
        "INSERT INTO images (id, path, present, size, mtime_ns, version, aside, note, draw, info) "
        "VALUES ('head00', 'head00.png', 1, ?, ?, 1, NULL, NULL, 0.5, '{\"site\": \"A\"}')",
        (image.st_size, image.st_mtime_ns),
    )
    db.execute(
        "INSERT INTO labels VALUES (1, 'final', 'head00.png', ?, ?, 1, '{\"hard\": true}')",
        (label.st_size, label.st_mtime_ns),
    )
    db.execute(
        "INSERT INTO versions (image, tag, version, suffix, sha256, time, client_id, info) "
        "VALUES (1, 'final', 1, '.png', ?, 5.0, 'ann', '{}')",
        (_digest(mask).decode(),),
    )
    db.execute("INSERT INTO leases VALUES (1, 'ann', 1e12)")
    db.execute("INSERT INTO checkpoints (id, generation) VALUES ('c1', 1)")
    db.execute("INSERT INTO meta VALUES ('journal_offset', ?)", (len(journal),))
    db.commit()
    db.close()
    for _ in range(2):  # migrated, and then from the journal alone
        store = opened(studies)
        with store.index.read() as after:
            assert after.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
            assert after.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert store.get_image_info("head00")["site"] == "A"
        assert store.get_label_info("head00", "final")["hard"] is True
        assert store.get_labeled_images() == ["head00"]
        (saved,) = store.saver.versions("head00")
        assert (saved.client_id, saved.current) == ("ann", True)
        assert store.saver.version_file("head00", 1).read_bytes() == mask.read_bytes()
        store.close()
        assert not list(folder.glob("*damaged*"))
        for file in folder.glob("index.sqlite*"):
            file.unlink()


@pytest.mark.parametrize("schema", ["1", "1-later", "2"])
def test_a_migrated_index_has_the_tables_of_a_new_one(tmp_path: Path, schema: str) -> None:
    old = sqlite3.connect(tmp_path / "old.sqlite")
    old.executescript((SCHEMAS / f"{schema}.sql").read_text())
    old.execute(f"PRAGMA user_version = {schema[0]}")
    old.close()

    def columns(path: Path) -> dict[str, set[str]]:
        with Index(path).read() as db:
            names = [name for (name,) in db.execute("SELECT name FROM sqlite_master").fetchall()]
            return {
                name: {row["name"] for row in db.execute(f"PRAGMA table_xinfo({name})").fetchall()}
                for name in names
            }

    assert columns(tmp_path / "old.sqlite") == columns(tmp_path / "new.sqlite")


def _digest(file: Path) -> bytes:
    return digest_of(file).encode()


def test_a_cursor_that_is_not_read_to_its_end_does_not_block_the_next_writer(
    tmp_path: Path,
) -> None:
    index = Index(tmp_path / "index.sqlite")
    with index.write() as db:
        db.executemany("INSERT INTO meta VALUES (?, 1)", [(str(n),) for n in range(500)])
    with index.read() as db:
        rows = db.execute("SELECT * FROM meta")
        assert next(rows) is not None
    other = Index(tmp_path / "index.sqlite")
    with other.write() as db:  # the snapshot of a cursor that is still open is stale from here on
        db.execute("INSERT INTO meta VALUES ('more', 1)")
    with index.write() as db:
        db.execute("INSERT INTO meta VALUES ('most', 1)")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        next(rows)


def test_candidates_for_scoring_are_a_list(studies: Path) -> None:
    store = opened(studies)
    with store.index.write() as db:
        checkpoint = checkpoint_number(db, "c1")
        images = spread_unscored(db, checkpoint, limit=5, offset=0)
        assert [image.id for image in images] == ["head00"]
        assert spread_unscored(db, checkpoint, limit=5, offset=1) == []


def test_a_busy_index_is_not_taken_for_a_full_disk(
    studies: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    store = opened(studies)
    other = sqlite3.connect(studies / ".lfusion" / "index.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="try again") as caught:
        store.save_label("head00", str(mask), "final", {})
    assert caught.value.status == 503
    other.execute("ROLLBACK")
    store.save_label("head00", str(mask), "final", {})
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert isinstance(storage_error("x", full), StorageError)
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        storage_error("x", sqlite3.OperationalError("no such table: nothing"))


class TestLeases:
    def holder(self, store: StudiesDatastore) -> list[str]:
        with store.index.read() as db:
            return [owner for (owner,) in db.execute("SELECT owner FROM leases").fetchall()]

    def test_it_belongs_to_the_signed_in_user(self, studies: Path) -> None:
        leases = Leases(opened(studies).index)
        leases.renew("head00", "napari", "ann")
        with pytest.raises(ConflictError, match="'ann'"):
            leases.renew("head00", "napari", "ben")
        with pytest.raises(ConflictError, match="'ann'"):
            leases.release("head00", "napari", "ben")
        leases.renew("head00", "slicer", "ann")  # the same user at another program
        # A client without a user cannot take the name of one.
        with pytest.raises(ConflictError):
            leases.renew("head00", "ann")

    def test_the_wall_clock_changes_nothing(self, studies: Path) -> None:
        store = opened(studies)
        machine, wall = [100.0], [1e9]
        leases = Leases(store.index, lambda: machine[0], lambda: wall[0], "boot")
        lease = leases.renew("head00", "a")
        assert lease.expires_at == 1e9 + LEASE_SECONDS
        for moved in (0.0, 2e9):
            wall[0] = moved
            with pytest.raises(ConflictError):
                leases.renew("head00", "b")
        machine[0] += LEASE_SECONDS
        leases.renew("head00", "b")

    def test_a_restart_of_the_server_changes_nothing(self, studies: Path) -> None:
        store = opened(studies)
        Leases(store.index, lambda: 100.0, boot="boot").renew("head00", "a")
        late = Leases(store.index, lambda: 100.0 + LEASE_SECONDS, boot="boot")
        late.renew("head00", "b")

    @pytest.mark.parametrize("uptime", [0.0, 1e7])
    def test_after_a_restart_of_the_machine_it_begins_once_more(
        self, studies: Path, uptime: float
    ) -> None:
        store = opened(studies)
        Leases(store.index, lambda: 5e6, boot="first").renew("head00", "a")
        now = [uptime]
        leases = Leases(store.index, lambda: now[0], boot="second")
        with pytest.raises(ConflictError):
            leases.renew("head00", "b")
        now[0] += LEASE_SECONDS
        leases.renew("head00", "b")


def test_a_skip_and_a_flag_are_undone(studies: Path) -> None:
    store = opened(studies)
    for aside, other in (("skipped", "flagged"), ("flagged", "skipped")):
        store.set_aside("head00", aside, "dark")  # type: ignore[arg-type]
        with pytest.raises(ConflictError, match=aside):
            store.take_back("head00", other)  # type: ignore[arg-type]
        for _ in range(2):
            store.take_back("head00", aside)  # type: ignore[arg-type]
        with store.index.read() as db:
            assert db.execute("SELECT state, note FROM images").fetchone()[:] == ("open", None)


def test_what_processes_that_died_left_is_removed_by_age(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    opened(studies).close()
    days = 24 * 3600
    hidden = "." + "0a" * 16 + ".png"
    now = time.time_ns()
    old_files = [studies / hidden, studies / "labels" / "final" / hidden]
    damaged = [studies / ".lfusion" / f"index.sqlite.damaged-{now - n}" for n in range(3)]
    for file in (*old_files, *damaged, studies / ".mine.png"):
        file.touch()
        os.utime(file, (time.time() - 2 * days,) * 2)
    young = studies / ("." + "0b" * 16 + ".png")
    young.touch()
    uploads = [tmp_path / "tmp" / f"lfusion-upload-{name}" for name in ("old", "new")]
    for folder in uploads:
        folder.mkdir(parents=True)
        (folder / "upload.png").touch()
    os.utime(uploads[0], (time.time() - 2 * days,) * 2)
    opened(studies).close()
    assert not [file for file in (*old_files, *damaged[1:], uploads[0]) if file.exists()]
    assert all(file.exists() for file in (young, studies / ".mine.png", damaged[0], uploads[1]))
    os.utime(damaged[0], (time.time() - 15 * days,) * 2)
    opened(studies).close()
    assert not damaged[0].exists()
    assert (uploads[1] / "upload.png").exists()


def test_saves_go_on_while_images_are_looked_through_for_scoring(studies: Path, mask: Path) -> None:
    store = opened(studies)
    with store.index.write() as db:
        checkpoint = checkpoint_number(db, "c1")
    with store.index.read() as db:
        candidates = spread_unscored(db, checkpoint, limit=64, offset=0)
    errors: list[Exception] = []

    def save() -> None:
        try:
            store.save_label("head00", str(mask), "final", {})
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=save)
    thread.start()
    thread.join()
    assert candidates
    assert not errors
