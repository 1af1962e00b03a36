"""Strokes survive, whatever happens to the program that painted them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lfusion.types import LabelMap
from napari_lfusion.core.effort import Effort
from napari_lfusion.core.errors import WorkspaceError
from napari_lfusion.core.journal import Journal, JournalEntry

CRASHES = """
import os, signal, sys
from pathlib import Path
import numpy as np
from napari_lfusion.core.journal import Journal, JournalEntry

folder = Path(sys.argv[1])
painted = 0
for crash in range(25):
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        journal = Journal(folder)
        while True:
            painted = painted % 250 + 1
            journal.record(JournalEntry(image_id="scan"), np.full((64, 64), painted, np.uint8))
            os.write(tell, bytes([painted]))
    os.close(tell)
    for _ in range(2):  # two strokes are on disk; the third is being written
        painted = os.read(told, 1)[0]
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while last := os.read(told, 1):
        painted = last[0]
    (case,) = Journal(folder).recover().cases
    found = np.unique(case.mask).tolist()
    # The last stroke acknowledged, or the one after it: never half of one.
    assert found in ([painted], [painted % 250 + 1]), (found, painted)
    painted = found[0]
print("recovered", crash + 1)
"""


@pytest.fixture
def mask() -> LabelMap:
    mask = np.zeros((30, 50), np.uint8)
    mask[5:20, 10:40] = 1
    mask[12:15, 20:25] = 3
    return mask


def entry(image_id: str = "scan") -> JournalEntry:
    return JournalEntry(
        image_id=image_id,
        base_version=2,
        checkpoint_id="abc",
        labels={"fetal head": 1},
        effort=Effort(active_s=3.5, strokes=4),
    )


def test_an_open_case_comes_back_as_it_was(tmp_path: Path, mask: LabelMap) -> None:
    Journal(tmp_path).record(entry(), mask)
    (case,) = Journal(tmp_path).recover().cases
    assert case.entry == entry()
    np.testing.assert_array_equal(case.mask, mask)


def test_the_last_stroke_counts(tmp_path: Path, mask: LabelMap) -> None:
    journal = Journal(tmp_path)
    for stroke in range(4):
        mask[stroke, :] = 7
        journal.record(entry(), mask)
    (case,) = journal.recover().cases
    np.testing.assert_array_equal(case.mask, mask)


def test_a_closed_case_is_forgotten(tmp_path: Path, mask: LabelMap) -> None:
    journal = Journal(tmp_path)
    journal.record(entry("one"), mask)
    journal.record(entry("two"), mask)
    journal.close("one")
    journal.close("never opened")
    assert [case.entry.image_id for case in journal.recover().cases] == ["two"]


def test_any_image_id_has_a_folder(tmp_path: Path, mask: LabelMap) -> None:
    ids = {"../x", "a/b", "ü" * 200, "CON", "x", "X"}
    journal = Journal(tmp_path / "journal")
    for image_id in ids:
        journal.record(entry(image_id), mask)
    assert {case.entry.image_id for case in journal.recover().cases} == ids
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_a_damaged_case_is_told_and_spoils_no_other(tmp_path: Path, mask: LabelMap) -> None:
    journal = Journal(tmp_path)
    journal.record(entry("good"), mask)
    journal.record(entry("bad"), mask)
    (broken,) = (
        file for file in tmp_path.glob("*/case.json") if '"bad"' in file.read_text(encoding="utf-8")
    )
    broken.write_text("{", encoding="utf-8")
    recovery = journal.recover()
    assert [case.entry.image_id for case in recovery.cases] == ["good"]
    (sentence,) = recovery.damaged
    assert str(broken.parent) in sentence
    # Working on it again makes it whole.
    journal.record(entry("bad"), mask)
    assert len(journal.recover().cases) == 2


def test_no_room_is_told(tmp_path: Path, mask: LabelMap) -> None:
    journal = Journal(tmp_path / "journal")
    (tmp_path / "journal").rmdir()
    (tmp_path / "journal").write_text("in the way", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="journal"):
        journal.record(entry(), mask)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 of a fork needs POSIX")
def test_a_killed_painter_loses_at_most_the_stroke_in_hand(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASHES, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout == "recovered 25\n", done.stderr
