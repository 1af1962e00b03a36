"""A small simulation, shared by the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lfusion.image import Dataset
from lfusion.model import EncoderConfig
from lfusion.model.input import InputSpec
from lfusion.simulation import Simulation, prepare
from lfusion.training import TrainingConfig

CONFIG = TrainingConfig(
    encoder=EncoderConfig("tiny"), input=InputSpec(48), feature_dim=8, steps=12, batch_size=2
)


@pytest.fixture(scope="session")
def simulation(heads: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Simulation]:
    """Makes the same simulation anew, each with a file of its own."""
    data = Dataset.read(heads)
    first = prepare(
        data.split("train"),
        data.split("test"),
        CONFIG,
        None,
        tmp_path_factory.mktemp("first") / "records.jsonl",
        lambda _: lambda done, total: None,
    )

    def another() -> Simulation:
        path = tmp_path_factory.mktemp("records") / "records.jsonl"
        return replace(first, file=type(first.file)(path))

    return another
