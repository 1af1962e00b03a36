"""Records of a simulation, and what is computed from them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lfusion.errors import DatasetError
from lfusion.simulation import FIRST, Cell, Curves, Record, RecordFile, training_noise


def _record(cell: Cell, dice: float) -> Record:
    return Record(cell, ("a", "b"), dice, dice - 0.1, None, 0, 1.0, None if not cell.round else 2.0)


def _records() -> dict[Cell, Record]:
    """Two strategies, two complete seeds and one that a stop cut short."""
    heights = {
        (0, "random"): (0.8, 0.82, 0.86),
        (0, "better"): (0.8, 0.86, 0.88),
        (1, "random"): (0.7, 0.8, 0.84),
        (1, "better"): (0.7, 0.82, 0.82),
        (2, "random"): (0.7, 0.8, 0.84),
    }
    found = {}
    for (seed, name), dice in heights.items():
        for number, value in enumerate(dice):
            cell = Cell(5, 10, seed, name if number else FIRST, number)
            found[cell] = _record(cell, value)
    return found


def test_records_come_back_and_a_cut_off_line_is_left_out(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "new" / "records.jsonl")
    assert file.read() == {}
    first, second = _record(Cell(5, 5, 0, FIRST, 0), 0.9), _record(Cell(5, 5, 0, "egad", 1), 0.91)
    file.append(first)
    file.append(second)
    path = tmp_path / "new" / "records.jsonl"
    path.write_text(path.read_text() + '{"cell": {"start"')
    assert file.read() == {first.cell: first, second.cell: second}
    third = _record(Cell(5, 5, 0, "egad", 2), 0.92)
    file.append(third)  # on a line of its own, not behind what was cut off
    assert file.read() == {first.cell: first, second.cell: second, third.cell: third}


def test_a_file_goes_on_with_the_settings_it_was_begun_with(tmp_path: Path) -> None:
    path, record = tmp_path / "records.jsonl", _record(Cell(5, 5, 0, FIRST, 0), 0.9)
    RecordFile(path, {"steps": 200, "scale": (1, 2)}).append(record)
    assert RecordFile(path, {"steps": 200, "scale": (1, 2)}).read() == {record.cell: record}
    with pytest.raises(DatasetError, match="begun with, steps = 200, got steps = 1000"):
        RecordFile(path, {"steps": 1000, "scale": (1, 2)})
    (tmp_path / "records.settings.json").unlink()  # records of before settings were kept
    assert RecordFile(path, {"steps": 1000}).read() == {record.cell: record}


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"id": 1}\n')
    with pytest.raises(DatasetError, match="expected records of a simulation"):
        RecordFile(path).read()


def test_curves_hold_the_seeds_that_all_strategies_finished() -> None:
    curves = Curves.of(_records(), 5, 10)
    assert curves.strategies == ("random", "better")
    assert curves.seeds == (0, 1)
    assert curves.labels == (5, 15, 25)
    np.testing.assert_allclose(curves.values[1, 0], (0.8, 0.86, 0.88))


def test_a_strategy_that_has_finished_no_seed_is_left_out_unless_it_is_asked_for() -> None:
    records = _records()
    begun = Cell(5, 10, 0, "begun", 1)
    records[begun] = _record(begun, 0.9)
    assert Curves.of(records, 5, 10).strategies == ("random", "better")
    with pytest.raises(ValueError, match="finished seeds: random 3, begun 0"):
        Curves.of(records, 5, 10, strategies=("random", "begun"))
    short = Curves.of(records, 5, 10, strategies=("begun",), rounds=2)
    assert short.labels == (5, 15)
    assert short.seeds == (0,)


def test_area_is_the_mean_height() -> None:
    areas = Curves.of(_records(), 5, 10).area()
    # (0.8 + 0.82)/2 and (0.82 + 0.86)/2, equally wide
    assert areas[0, 0] == pytest.approx((0.81 + 0.84) / 2)
    assert areas[1, 1] == pytest.approx((0.76 + 0.82) / 2)


def test_differences_are_paired_by_seed() -> None:
    found = Curves.of(_records(), 5, 10).against("random")["better"]
    own = ((0.83 + 0.87) / 2 - (0.81 + 0.84) / 2, (0.76 + 0.82) / 2 - (0.75 + 0.82) / 2)
    assert found.value == pytest.approx(np.mean(own))
    assert found.low == pytest.approx(min(own))
    assert found.high == pytest.approx(max(own))


def test_one_seed_has_no_interval() -> None:
    records = {cell: record for cell, record in _records().items() if not cell.seed}
    found = Curves.of(records, 5, 10).against("random")["better"]
    assert found.value == pytest.approx((0.83 + 0.87) / 2 - (0.81 + 0.84) / 2)
    assert found.interval is None


def test_each_data_set_is_drawn_for_itself() -> None:
    records = _records()
    lower = {
        cell: _record(cell, record.dice - 0.1 * (cell.strategy == "better"))
        for cell, record in records.items()
    }
    parts = [Curves.of(found, 5, 10) for found in (records, lower)]
    joined = Curves.joined(parts).against("random")["better"]
    one, other = (part.against("random")["better"] for part in parts)
    assert None not in (one.low, other.low)
    # between the data sets the difference varies far more than within each
    assert joined.low == pytest.approx(((one.low or 0) + (other.low or 0)) / 2)
    assert joined.high == pytest.approx(((one.high or 0) + (other.high or 0)) / 2)


def test_intervals_of_few_seeds_hold_the_true_difference() -> None:
    chance, held, times = np.random.default_rng(0), 0, 150
    for _ in range(times):
        gains = [chance.normal(size=5) for _ in range(2)]
        parts = [
            Curves(("a", "b"), (*range(len(gain)),), (0,) * len(gain), (5,), values[..., None])
            for gain in gains
            for values in [np.array([0 * gain, gain])]
        ]
        found = Curves.joined(parts).against("a")["b"]
        assert found.interval is not None
        held += found.interval[0] <= 0 <= found.interval[1]
    assert held / times > 0.9  # 0.94; that of plain percentiles is 0.87


def test_wins_count_rounds_after_the_first() -> None:
    wins = Curves.of(_records(), 5, 10).wins()
    np.testing.assert_array_equal(wins, [[0, 1], [3, 0]])


def test_data_sets_side_by_side_are_paired_by_their_own_seeds() -> None:
    records = _records()
    first = Curves.of(records, 5, 10)
    third = {
        replace(cell, strategy="third"): record for cell, record in records.items() if cell.round
    }
    lower = {cell: _record(cell, record.dice - 0.5) for cell, record in records.items()}
    second = Curves.of({**third, **lower}, 5, 10)
    assert second.strategies == ("third", "random", "better")
    joined = Curves.joined((first, second))
    assert joined.strategies == ("random", "better")
    assert joined.seeds == (0, 1, 0, 1)
    np.testing.assert_allclose(joined.values[:, 2:], joined.values[:, :2] - 0.5)
    alone, both = (curves.against("random")["better"] for curves in (first, joined))
    assert both.value == pytest.approx(alone.value)
    np.testing.assert_array_equal(joined.wins(), 2 * first.wins())


def test_data_sets_with_other_budgets_are_not_joined() -> None:
    other = Curves.of({replace(c, query=5): r for c, r in _records().items()}, 5, 5)
    with pytest.raises(ValueError, match="the same numbers of labels"):
        Curves.joined((Curves.of(_records(), 5, 10), other))


def test_labels_to_reach_lie_on_the_curve() -> None:
    curves = Curves.of(_records(), 5, 10)  # means: 0.75, 0.81, 0.85 and 0.75, 0.84, 0.85
    random, better = curves.labels_to_reach(0.83)
    assert random == pytest.approx(15 + 10 * 0.02 / 0.04)
    assert better == pytest.approx(5 + 10 * 0.08 / 0.09)
    assert math.isinf(curves.labels_to_reach(0.9)[0])
    assert curves.labels_to_reach(0.5)[0] == 5


def test_nothing_finished_is_an_error() -> None:
    with pytest.raises(ValueError, match="got finished seeds: none"):
        Curves.of(_records(), 5, 5)


def test_training_noise_is_that_within_a_set_of_labels() -> None:
    assert training_noise([(0.9, 0.92), (0.5, 0.52)]) == pytest.approx(0.02 / math.sqrt(2))
