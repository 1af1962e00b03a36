"""One window at a time works in a folder, and nobody else's work is in it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from napari_lfusion.core.errors import WorkspaceError, WorkspaceInUseError
from napari_lfusion.core.journal import JournalEntry
from napari_lfusion.core.workspace import Workspace

HOLDER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from napari_lfusion.core.journal import JournalEntry
from napari_lfusion.core.workspace import Workspace

workspace = Workspace("http://host", "ada", Path(sys.argv[1]))
workspace.journal.record(JournalEntry(image_id="scan"), np.ones((8, 8), np.uint8))
print("painted", flush=True)
sys.stdin.read()
"""


def test_a_crashed_window_leaves_its_work_and_no_lock(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as window:
        assert window.stdout is not None
        assert window.stdout.readline() == "painted\n"
        with pytest.raises(WorkspaceInUseError, match="another one is open"):
            Workspace("http://host", "ada", tmp_path)
        window.kill()
        window.wait()
        with Workspace("http://host", "ada", tmp_path) as workspace:
            (case,) = workspace.journal.recover().cases
            assert case.mask.all()


@pytest.mark.parametrize(
    ("server", "user"),
    [("http://host", "ben"), ("http://other", "ada"), ("http://host:8001", "ada"), ("Demo", "ada")],
)
def test_servers_and_users_do_not_mix(tmp_path: Path, server: str, user: str) -> None:
    with (
        Workspace("http://host", "ada", tmp_path) as mine,
        Workspace(server, user, tmp_path) as other,
    ):
        mine.journal.record(JournalEntry(image_id="scan"), np.ones((8, 8), np.uint8))
        assert other.journal.recover().cases == ()
        assert mine.log != other.log


def test_a_window_that_was_closed_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        Workspace("http://host", "../ada", tmp_path / "root").close()
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_a_worker_opens_it_and_the_window_closes_it(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as workers:
        for _ in range(2):
            workers.submit(Workspace, "http://host", "ada", tmp_path).result().close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("in the way", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="root"):
        Workspace("http://host", "ada", tmp_path / "root")
