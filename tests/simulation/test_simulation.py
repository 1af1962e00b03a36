"""Whole simulations on small drawn heads, with real trainings."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lfusion.cli import app
from lfusion.errors import DatasetError
from lfusion.image import Dataset
from lfusion.model import EncoderConfig
from lfusion.model.input import InputSpec
from lfusion.simulation import (
    Cell,
    Plan,
    PoolImage,
    Record,
    RecordFile,
    Simulation,
    first_labels,
    prepare,
)
from lfusion.training import TrainingConfig

CONFIG = TrainingConfig(encoder=EncoderConfig("tiny"), input=InputSpec(48), steps=12)
PLAN = Plan(("random", "epistemic"), (0, 1), start=2, query=1, rounds=3)


@pytest.fixture(scope="module")
def played(simulation: Callable[[], Simulation]) -> tuple[Simulation, dict[Cell, Record]]:
    """A simulation that was run, and its records."""
    own = simulation()
    own.run(PLAN, lambda _: None)
    return own, own.file.read()


def test_every_round_is_there_and_first_labels_are_shared(
    played: tuple[Simulation, dict[Cell, Record]],
) -> None:
    records = played[1]
    # one first round and two more of each strategy, for each seed
    assert len(records) == 2 * (1 + 2 * 2)
    for cell, record in records.items():
        assert len(record.chosen) == len(set(record.chosen)) == cell.labels
        first = records[Cell(2, 1, cell.seed, "random", 0)]
        assert record.chosen[:2] == first.chosen
        assert 0 <= record.dice_p05 <= record.dice <= 1
        assert record.hc_mae_mm is not None or record.hc_refused == 3


def test_a_run_that_was_stopped_goes_on_with_the_same_result(
    played: tuple[Simulation, dict[Cell, Record]], simulation: Callable[[], Simulation]
) -> None:
    again = simulation()

    class StoppedError(Exception):
        pass

    def stop(record: Record) -> None:
        if record.cell.strategy == "epistemic":
            raise StoppedError

    with pytest.raises(StoppedError):
        again.run(PLAN, stop)
    before = len(again.file.read())
    assert 0 < before < len(played[1])
    again.run(PLAN, lambda _: None)
    assert {c: (r.chosen, r.dice) for c, r in again.file.read().items()} == {
        c: (r.chosen, r.dice) for c, r in played[1].items()
    }


def test_nothing_is_measured_on_what_is_learned(heads: Path, tmp_path: Path) -> None:
    data = Dataset.read(heads)
    train, test = data.split("train"), data.split("test")

    def prepared(pool: Dataset) -> None:
        prepare(pool, test, CONFIG, None, tmp_path / "r.jsonl", lambda _: lambda done, total: None)

    with pytest.raises(DatasetError, match=f"got image {test.cases[0].id} among both"):
        prepared(data)
    same_exam = replace(train.cases[0], group="exam"), replace(test.cases[0], group="exam")
    pool = replace(train, cases=(same_exam[0], *train.cases[1:]))
    test = replace(test, cases=(same_exam[1], *test.cases[1:]))
    with pytest.raises(DatasetError, match="got examination exam among both"):
        prepared(pool)
    assert not (tmp_path / "r.settings.json").exists()


def test_records_of_other_settings_are_not_taken_for_new_ones(heads: Path, tmp_path: Path) -> None:
    data = Dataset.read(heads)

    def prepared(steps: int, pool: str = "train") -> None:
        config = replace(CONFIG, steps=steps, seed=steps)
        prepare(
            data.split(pool),
            data.split("test"),
            config,
            None,
            tmp_path / "records.jsonl",
            lambda _: lambda done, total: None,
        )

    prepared(12)
    prepared(12)
    with pytest.raises(DatasetError, match="steps = 12, got steps = 30"):
        prepared(30)
    with pytest.raises(DatasetError, match="images to label"):
        prepared(12, "val")


def test_a_repeated_training_differs_by_its_seed_alone(
    played: tuple[Simulation, dict[Cell, Record]], tmp_path: Path
) -> None:
    own, records = played
    record = records[Cell(2, 1, 1, "random", 2)]
    file = RecordFile(tmp_path / "noise.jsonl")
    same, other = own.repeat(record, 1, file), own.repeat(record, 7, file)
    assert (same.dice, same.chosen) == (record.dice, record.chosen)
    assert other.dice != record.dice
    assert {cell.seed for cell in file.read()} == {1, 7}


def test_first_labels_come_from_different_examinations(
    simulation: Callable[[], Simulation],
) -> None:
    pool = simulation().pool
    grouped: list[PoolImage] = [
        replace(image, group="same" if number < 5 else image.id)
        for number, image in enumerate(pool)
    ]
    same = {image.id for image in grouped if image.group == "same"}
    for seed in range(5):
        assert len(same & set(first_labels(grouped, 3, seed))) <= 1
    assert len(set(first_labels(grouped, 8, 0))) == 8


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, strategies=("random", "oracle")), "got oracle"),
        (replace(PLAN, query=4), "at least the 10 images"),
    ],
)
def test_a_plan_that_cannot_be_played_is_refused(
    plan: Plan, message: str, simulation: Callable[[], Simulation]
) -> None:
    with pytest.raises(DatasetError, match=message):
        simulation().run(plan, lambda _: None)


def test_the_command_tells_the_curves(heads: Path, tmp_path: Path) -> None:
    options = "--seeds 1 --start 2 --query 1 --rounds 2 --steps 2 --batch-size 2 --long-side 64"
    arguments = ["simulate", str(heads), "--out", str(tmp_path), *options.split()]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "3 labels" in result.output
    assert len(RecordFile(tmp_path / "records.jsonl").read()) == 1 + 3


def test_the_command_refuses_an_unknown_strategy(heads: Path, tmp_path: Path) -> None:
    arguments = ["simulate", str(heads), "--out", str(tmp_path), "--strategy", "best"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "expected strategies among" in result.output


def test_a_circumference_that_is_no_number_is_refused_by_name(heads: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(heads, data)
    table = (data / "meta.csv").read_text().splitlines()
    table[-1] = table[-1].rsplit(",", 1)[0] + ",wide"
    (data / "meta.csv").write_text("\n".join(table) + "\n")
    options = ["--start", "2", "--query", "1", "--rounds", "2", "--long-side", "64"]
    result = CliRunner().invoke(app, ["simulate", str(data), "--out", str(tmp_path), *options])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "head12: expected a positive hc_mm in meta.csv, got 'wide'" in said
