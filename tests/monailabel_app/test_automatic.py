"""A retraining that nobody asked for: when it starts, what it says, and what follows it."""

from __future__ import annotations

import os
import queue
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from monailabel_app.lib.automatic import AutomaticTraining
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.errors import ConflictError
from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.training_state import TrainingRecord, TrainingState

SECONDS = 240


def test_enough_labels_start_one_also_when_they_came_during_another(
    heads: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    state, studies = tmp_path / "state", tmp_path / "studies"
    shutil.copytree(heads / "images", studies)
    served = ServedModel(tiny_checkpoint, state)
    store = StudiesDatastore(str(studies), served.labels, auto_reload=False, read_only=False)
    ended: queue.Queue[TrainingRecord] = queue.Queue()
    jobs = TrainingJobs(served, state, ended.put)
    automatic = AutomaticTraining(jobs, after=2)
    before = served.checkpoint_id

    another = TrainingState(state, lambda: "").acquire()
    for name in ("head00", "head01"):
        store.save_label(name, str(heads / "masks" / f"{name}.png"), "final", {})
        automatic.note_saved(store)
    automatic.start_due(store)
    assert jobs.record().status == "idle"
    os.close(another)
    automatic.start_due(store)

    record = ended.get(timeout=SECONDS)
    assert (record.status, record.mode) == ("done", "quick")
    assert record.images == ["head00", "head01"]
    assert served.checkpoint_id == record.checkpoint_id != before
    assert list(record.stages) == ["start", "read", "fit", "posterior", "swap"]
    assert abs(sum(record.stages.values()) - record.seconds) < 0.1
    # both were learned from, so the next two start the next one
    automatic.start_due(store)
    assert jobs.record().id == record.id


def test_zero_never_starts_one(tiny_checkpoint: Path, heads: Path, tmp_path: Path) -> None:
    served = ServedModel(tiny_checkpoint, tmp_path / "state")
    studies = shutil.copytree(heads / "images", tmp_path / "studies")
    store = StudiesDatastore(str(studies), served.labels, auto_reload=False, read_only=False)
    jobs = TrainingJobs(served, tmp_path / "state")
    automatic = AutomaticTraining(jobs, after=0)
    store.save_label("head00", str(heads / "masks" / "head00.png"), "final", {})
    automatic.note_saved(store)
    automatic.start_due(store)
    assert jobs.record().status == "idle"


def test_a_server_that_ends_takes_its_training_along_and_starts_no_other(
    heads: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    studies = shutil.copytree(heads / "images", tmp_path / "studies")
    served = ServedModel(tiny_checkpoint, tmp_path / "state")
    store = StudiesDatastore(str(studies), served.labels, auto_reload=False, read_only=False)
    jobs = TrainingJobs(served, tmp_path / "state", lambda _: automatic.start_due(store))
    automatic = AutomaticTraining(jobs, after=1)
    store.save_label("head00", str(heads / "masks" / "head00.png"), "final", {})
    started = jobs.start({"steps": 10_000}, store)
    automatic.note_saved(store)  # the next one is due as soon as this one is over
    jobs.close("the server was shut down")
    with pytest.raises(ConflictError, match="shut down"):
        jobs.start({}, store)
    automatic.start_due(store)
    record = jobs.record()
    assert (record.id, record.status) == (started.id, "stopped")
    assert record.error == "the server was shut down"


def nothing() -> None: ...


def fails() -> None:
    raise OSError("No space left on device")


@pytest.mark.parametrize(
    ("status", "ranking", "starts"),
    [
        ("done", nothing, 1),
        ("done", fails, 1),
        ("failed", nothing, 1),
        ("stopped", nothing, 0),
        ("interrupted", nothing, 0),  # what a stop looks like until it is recorded
    ],
)
def test_the_next_one_follows_an_end_but_no_stop(
    status: Any, ranking: Callable[[], None], starts: int
) -> None:
    from monailabel_app.main import LFusionApp

    started: list[object] = []
    app = SimpleNamespace(
        pool_scoring=SimpleNamespace(ensure=ranking),
        automatic=SimpleNamespace(start_due=started.append),
        _datastore="studies",
    )
    try:
        LFusionApp._training_ended(cast(Any, app), TrainingRecord(status=status))
    except OSError:
        assert ranking is fails
    assert started == ["studies"] * starts
