"""Time, strokes and edits, counted and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_lfusion.core.effort import (
    IDLE_AFTER_S,
    Effort,
    EffortRecord,
    append_record,
    edit_distance,
)


def record(image_id: str) -> EffortRecord:
    return EffortRecord(
        image_id=image_id,
        client_id="ada",
        outcome="submitted",
        ended_at=1.0,
        effort=Effort(active_s=2.5, strokes=3),
        edited_px=40,
        dice_to_proposal=0.9,
    )


def read(line: bytes) -> EffortRecord:
    return EffortRecord.model_validate_json(line)


def test_pauses_are_not_work() -> None:
    effort = Effort().active(100.0).active(104.0).active(104.0 + 10 * IDLE_AFTER_S)
    assert effort.active_s == 4 + IDLE_AFTER_S


def test_a_clock_that_goes_back_takes_nothing_away() -> None:
    assert Effort().active(100.0).active(90.0).active(91.0).active_s == 1


def test_each_kind_of_work_is_counted_and_is_activity() -> None:
    effort = Effort().active(0.0).stroke(1.0, 12).stroke(2.0, 3).click(3.0).adopt(4.0).undo(5.0)
    assert effort == Effort(
        active_s=5, strokes=2, clicks=1, adopted=1, undos=1, touched_px=15, last_at=5.0
    )


def test_another_process_has_another_clock() -> None:
    resumed = Effort().active(1000.0).active(1002.0).resumed().active(5.0).active(6.0)
    assert resumed.active_s == 3


@pytest.mark.parametrize(
    ("mask", "proposal", "expected"),
    [
        ([[1, 1, 0, 0]], [[0, 1, 1, 0]], (2, 0.5)),
        ([[0, 0]], [[0, 0]], (0, 1.0)),
        ([[1, 0]], [[0, 0]], (1, 0.0)),
        ([[2, 1]], [[1, 1]], (1, 0.5)),  # the right place, another structure
    ],
)
def test_edit_distance(
    mask: list[list[int]], proposal: list[list[int]], expected: tuple[int, float]
) -> None:
    assert edit_distance(np.array(mask, np.uint8), np.array(proposal, np.uint8)) == expected


def test_the_log_grows_by_lines(tmp_path: Path) -> None:
    log = tmp_path / "effort.jsonl"
    append_record(log, record("a"))
    append_record(log, record("b"))
    lines = log.read_bytes().splitlines()
    assert [read(line) for line in lines] == [record("a"), record("b")]


def test_a_line_cut_off_by_a_crash_spoils_no_other(tmp_path: Path) -> None:
    log = tmp_path / "effort.jsonl"
    append_record(log, record("a"))
    with log.open("ab") as file:
        file.write(b'{"image_id": "b", "cli')
    append_record(log, record("c"))
    first, _, last = log.read_bytes().splitlines()
    assert (read(first), read(last)) == (record("a"), record("c"))
