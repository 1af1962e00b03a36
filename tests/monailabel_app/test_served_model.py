"""Which checkpoint is served, how another takes its place, and the way back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lfusion.checkpoint import Checkpoint
from lfusion.errors import CheckpointError
from monailabel_app.lib.errors import ConflictError
from monailabel_app.lib.served import ServedModel


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where published models go."""
    return tmp_path / "state"


@pytest.fixture
def served(tiny_checkpoint: Path, state: Path) -> ServedModel:
    """A model that nothing was published for yet."""
    return ServedModel(tiny_checkpoint, state)


@pytest.fixture(scope="module")
def versions(tiny_checkpoint: Path) -> list[Checkpoint]:
    """Three checkpoints that differ in where they say they come from."""
    base = Checkpoint.load(tiny_checkpoint)
    return [replace(base, fingerprint=replace(base.fingerprint, code=name)) for name in "abc"]


def test_the_base_is_served_first(served: ServedModel, tiny_checkpoint: Path) -> None:
    assert served.path == tiny_checkpoint
    assert served.predictor() is served.predictor()
    assert served.checkpoint_id == Checkpoint.load(tiny_checkpoint).id


def test_it_follows_what_another_process_publishes(
    served: ServedModel, state: Path, tiny_checkpoint: Path, versions: list[Checkpoint]
) -> None:
    old = served.predictor()
    ServedModel(tiny_checkpoint, state).publish(versions[0])
    assert served.checkpoint_id == served.predictor().checkpoint_id == versions[0].id
    assert old.checkpoint_id != versions[0].id


def test_rolling_back_and_forth(
    served: ServedModel, versions: list[Checkpoint], tiny_checkpoint: Path
) -> None:
    with pytest.raises(ConflictError, match="go back to"):
        served.rollback()
    first, second, third = (version.id for version in versions)
    assert served.publish(versions[0]) == first
    assert served.rollback() == Checkpoint.load(tiny_checkpoint).id
    assert served.path == tiny_checkpoint
    assert served.rollback() == first
    served.publish(versions[1])
    served.publish(versions[2])
    assert [served.rollback(), served.rollback()] == [second, third]


def test_publishing_the_same_again_keeps_the_way_back(
    served: ServedModel, versions: list[Checkpoint]
) -> None:
    served.publish(versions[0])
    served.publish(versions[1])
    served.publish(versions[1])
    assert served.rollback() == versions[0].id


def test_two_files_are_kept(served: ServedModel, state: Path, versions: list[Checkpoint]) -> None:
    (state / "models" / ".left-by-a-crash").write_bytes(b"half")
    for version in versions:
        served.publish(version)
    kept = {file.name for file in (state / "models").iterdir()}
    assert kept == {f"{version.id}.safetensors" for version in versions[1:]}


def test_half_a_file_is_named(served: ServedModel, versions: list[Checkpoint]) -> None:
    served.publish(versions[0])
    content = served.path.read_bytes()
    served.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=served.path.name):
        served.predictor()


def test_a_damaged_choice_is_named(served: ServedModel, state: Path) -> None:
    (state / "served.json").write_text('{"files": [')
    with pytest.raises(CheckpointError, match=r"served\.json"):
        served.predictor()
