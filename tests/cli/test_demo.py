"""The demonstration runs its loop over a real server and leaves nothing behind."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import psutil
import pytest
from PIL import Image
from rich.console import Console

from lfusion.cli.demo_loop import DemoPlan, run_demo
from lfusion.cli.server_process import ServerError


def children() -> set[int]:
    """Ids of all processes below this one; other tests may have a server of theirs."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


def test_the_table_the_means_and_the_report(tiny_checkpoint: Path, tmp_path: Path) -> None:
    before = children()
    printed = Console(file=StringIO(), width=100)
    plan = DemoPlan(tmp_path, corrections=1, images=5, steps=2, checkpoint=tiny_checkpoint)

    report = run_demo(plan, printed)

    assert isinstance(printed.file, StringIO)
    text = printed.file.getvalue()
    assert str(report) in text
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("phantom_")]
    assert len(rows) == 5
    assert [row[1] == "●" for row in rows] == [True, False, False, False, False]
    assert "labelled" in rows[0]
    assert [row[-4] for row in rows] == ["1", "2", "3", "4", "5"]
    assert sorted(row[-3] for row in rows[1:]) == ["1", "2", "3", "4"]
    times = " ".join(text.split("and a new ranking:")[1].split(")")[0].split())
    for stage in ("(start", "read", "fit", "posterior", "swap", "rank anew"):
        assert f"{stage} " in times
    assert "Mean Dice of the 1 corrected images" in text
    assert "Mean Dice of the 4 untouched images" in text
    with Image.open(report) as picture:
        assert min(picture.size) > 400
    assert children() == before


def test_a_failure_names_the_log_and_leaves_nothing(tmp_path: Path) -> None:
    before = children()
    printed = Console(file=StringIO(), width=300)
    plan = DemoPlan(tmp_path, images=1, checkpoint=tmp_path / "missing.safetensors")
    with pytest.raises(ServerError, match=r"found none at .*missing\.safetensors"):
        run_demo(plan, printed)
    assert isinstance(printed.file, StringIO)
    assert str(tmp_path / "server.log") in printed.file.getvalue()
    assert children() == before
