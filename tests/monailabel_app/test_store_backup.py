"""Backup while labels are saved, restore, and the journal as an audit trail."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lfusion.cli import app
from lfusion.errors import DatasetError
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.backup import back_up, restore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.datastore.journal import ModelEntry

SAVING = """
import sys, warnings
warnings.simplefilter("ignore")
from monailabel_app.lib.datastore import StudiesDatastore
studies, *masks = sys.argv[1:]
store = StudiesDatastore(studies, lambda: {"head": 1}, auto_reload=False, read_only=False)
for n in range(10_000):
    saved = store.saver.save("head00", __import__("pathlib").Path(masks[n % len(masks)]), "final",
        __import__("lfusion.protocol").protocol.Submission(client_id="load"), None)
    print(saved.version, flush=True)
"""


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)


def test_a_backup_under_load_has_every_label_acknowledged_before(
    studies: Path, mask: Path, heads: Path, tmp_path: Path
) -> None:
    opened(studies).close()
    masks = [str(mask), str(heads / "masks" / "head01.png")]
    command = [sys.executable, "-c", SAVING, str(studies), *masks]
    told: list[int] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(int(line))

        reader = threading.Thread(target=read)
        reader.start()
        acknowledged: list[int] = []
        for _ in range(100):  # until a label was saved while a backup was made
            while len(told) < 5 and process.poll() is None:
                reader.join(0.05)
            acknowledged = list(told)
            made = back_up(studies, tmp_path / "backup.zip", images=True)
            if len(told) > len(acknowledged):
                break
        process.kill()
        reader.join()
    assert len(told) > len(acknowledged) >= 5
    assert made.images
    target = tmp_path / "restored"
    restore(tmp_path / "backup.zip", target)
    assert (target / "head00.png").read_bytes() == (studies / "head00.png").read_bytes()
    store = opened(target)
    versions = store.saver.versions("head00")
    assert {one.version for one in versions} >= set(acknowledged)
    assert [one.version for one in versions] == list(range(1, len(versions) + 1))
    assert {one.client_id for one in versions} == {"load"}
    for one in versions:
        assert digest_of(store.saver.version_file("head00", one.version)) == one.sha256
    assert versions[-1].current
    label = Path(store.get_label_uri("head00", "final"))
    assert digest_of(label) == versions[-1].sha256
    assert not list(tmp_path.glob(".*"))


class TestRestore:
    @pytest.fixture
    def archive(self, studies: Path, mask: Path, tmp_path: Path) -> Path:
        """A backup of one label."""
        store = opened(studies)
        store.save_label("head00", str(mask), "final", {})
        store.close()
        back_up(studies, tmp_path / "backup.zip", images=False)
        return tmp_path / "backup.zip"

    def test_only_into_an_empty_folder(self, archive: Path, studies: Path) -> None:
        with pytest.raises(DatasetError, match="not an empty folder"):
            restore(archive, studies)

    @pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "a\\out.png"])
    def test_no_path_leads_out(self, archive: Path, tmp_path: Path, name: str) -> None:
        forged = tmp_path / "forged.zip"
        with zipfile.ZipFile(archive) as old, zipfile.ZipFile(forged, "w") as new:
            manifest = json.loads(old.read("manifest.json"))
            for member in old.namelist():
                if member != "manifest.json":
                    new.writestr(member, old.read(member))
            first = next(iter(manifest["files"]))
            new.writestr(name, old.read(first))
            manifest["files"][name] = manifest["files"][first]
            new.writestr("manifest.json", json.dumps(manifest))
        with pytest.raises(DatasetError, match=r"outside its folder|no whole backup"):
            restore(forged, tmp_path / "target")
        assert not (tmp_path / "target").exists()
        assert not (tmp_path / "out.png").exists()

    def test_another_content_is_refused(self, archive: Path, tmp_path: Path) -> None:
        forged = tmp_path / "forged.zip"
        with zipfile.ZipFile(archive) as old, zipfile.ZipFile(forged, "w") as new:
            for member in old.namelist():
                content = old.read(member)
                changed = member.endswith(".png") and content.replace(b"IDAT", b"IDAX")
                new.writestr(member, changed or content)
        with pytest.raises(DatasetError, match="differs from its manifest"):
            restore(forged, tmp_path / "target")
        assert not (tmp_path / "target").exists()

    @pytest.mark.parametrize("kept", [0, 100, -30])
    def test_a_cut_archive_is_refused(self, archive: Path, tmp_path: Path, kept: int) -> None:
        archive.write_bytes(archive.read_bytes()[:kept])
        with pytest.raises(DatasetError, match="no whole backup"):
            restore(archive, tmp_path / "target")
        assert not (tmp_path / "target").exists()


def test_the_commands(studies: Path, mask: Path, tmp_path: Path) -> None:
    store = opened(studies)
    store.save_label("head00", str(mask), "final", {"client_id": "slicer"})
    store.set_aside("head00", "skipped", "dark", author="ann")
    store.record(ModelEntry(action="rolled back", checkpoint_id="c1", author="eve"))
    store.close()
    run = CliRunner().invoke
    archive, target = tmp_path / "backup.zip", tmp_path / "restored"
    assert "verified" in run(app, ["backup", str(studies), "--to", str(archive)]).output
    assert "copy them" in run(app, ["restore", str(archive), "--to", str(target)]).output
    shutil.copy(studies / "head00.png", target)
    assert Path(opened(target).get_label_uri("head00", "final")).read_bytes() == mask.read_bytes()
    lines = run(app, ["log", str(target)]).output.splitlines()
    assert [line.split("  ")[1:3] for line in lines][-4:] == [
        ["slicer", "label"],
        ["ann", "aside"],
        ["eve", "model"],
        ["-", "restored"],
    ]
    found = run(app, ["log", str(target), "--image", "head00", "--json"]).output.splitlines()
    entries = [json.loads(line) for line in found]
    assert [entry["kind"] for entry in entries] == ["image", "label", "aside"]
    assert entries[-1]["author"] == "ann"
    refused = run(app, ["restore", str(archive), "--to", str(target)])
    assert refused.exit_code == 2
