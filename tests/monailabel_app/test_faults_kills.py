"""A short run of `benchmarks/server_kills.py`: kills, backup, restore, no hard links."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_no_acknowledged_label_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import server_kills

    try:
        tally = server_kills.soak(tmp_path, kills=14, servers=0, seed=1)
    finally:
        sys.modules.pop("server_kills")
    assert tally.kills["datastore"] == 14
    assert tally.restores == 2
    assert 0 < tally.without_links < 14
    assert tally.acknowledged
