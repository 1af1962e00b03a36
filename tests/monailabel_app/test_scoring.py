"""Scoring the pool in pieces: what is kept when it ends early, and what is done again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lfusion.checkpoint import Checkpoint
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.scoring import PoolScoring
from monailabel_app.lib.served import ServedModel


@pytest.fixture
def served(tiny_checkpoint: Path, tmp_path: Path) -> ServedModel:
    """A model of these tests' own."""
    return ServedModel(tiny_checkpoint, tmp_path / "state")


@pytest.fixture
def store(heads: Path, served: ServedModel, tmp_path: Path) -> Iterator[StudiesDatastore]:
    """All the drawn heads: two batches."""
    studies = tmp_path / "studies"
    shutil.copytree(heads / "images", studies)
    store = StudiesDatastore(str(studies), served.labels, auto_reload=False, read_only=False)
    yield store
    store.close()


def scored(store: StudiesDatastore) -> dict[str, set[str]]:
    """The images that each checkpoint has scored."""
    with store.index.read() as db:
        rows = db.execute(
            "SELECT checkpoints.id, images.id FROM results JOIN images USING (sha256) "
            "JOIN checkpoints ON checkpoint = checkpoints.number WHERE present"
        ).fetchall()
    found: dict[str, set[str]] = {}
    for checkpoint, image in rows:
        found.setdefault(checkpoint, set()).add(image)
    return found


def test_a_run_that_was_stopped_is_resumed_by_the_next(
    store: StudiesDatastore, served: ServedModel
) -> None:
    everything = set(store.list_images())
    assert PoolScoring(served, store).score_first() == 4
    kept = scored(store)[served.checkpoint_id]
    with store.index.write() as db:  # scored again, these would differ
        db.execute("UPDATE results SET scores = '{}'")

    stopped = PoolScoring(served, store)
    stopped.stop()
    assert stopped({}, store)["status"] == "idle"
    stopped.start()
    assert stopped.status.status == "idle"
    assert scored(store) == {served.checkpoint_id: kept}
    assert not stopped.ensure()

    status = PoolScoring(served, store)({}, store)
    assert (status["status"], status["done"]) == ("done", len(everything))
    assert scored(store) == {served.checkpoint_id: everything}
    with store.index.read() as db:
        rows = db.execute(
            "SELECT images.id FROM results JOIN images USING (sha256) WHERE scores = '{}'"
        )
        assert {image for (image,) in rows} == kept


def test_a_run_in_the_background_ends_with_the_server(
    store: StudiesDatastore, served: ServedModel
) -> None:
    scoring = PoolScoring(served, store)
    scoring.start()
    scoring.stop()
    assert scoring.status.status in ("idle", "done")
    kept = scored(store)
    status = PoolScoring(served, store)({}, store)
    assert (status["done"], status["total"]) == (13, 13)
    assert kept.get(served.checkpoint_id, set()) <= scored(store)[served.checkpoint_id]


def test_one_bad_image_is_named_and_the_others_are_scored(
    store: StudiesDatastore, served: ServedModel
) -> None:
    (store.folder.root / "head04.png").write_text("this is no picture")
    store.refresh()
    status = PoolScoring(served, store)({}, store)
    assert (status["status"], status["done"], list(status["skipped"])) == ("done", 13, ["head04"])
    assert "head04.png" in status["skipped"]["head04"]
    again = PoolScoring(served, store)({}, store)
    assert again["skipped"] == status["skipped"]


def test_scores_belong_to_the_content_and_the_checkpoint(
    store: StudiesDatastore, served: ServedModel
) -> None:
    first = served.checkpoint_id
    PoolScoring(served, store)({}, store)
    folder = store.folder.root
    shutil.copy(folder / "head00.png", folder / "copy.png")
    (folder / "head05.png").rename(folder / "moved.png")
    shutil.copy(folder / "head01.png", folder / "head02.png")
    store.refresh()
    with store.index.write() as db:
        db.execute("UPDATE results SET scores = '{}'")
    status = PoolScoring(served, store)({}, store)
    # All three contents were known already.
    assert (status["done"], status["total"]) == (14, 14)
    with store.index.read() as db:
        assert db.execute("SELECT count(*) FROM results WHERE scores <> '{}'").fetchone()[0] == 0

    base = Checkpoint.load(served.path)
    served.publish(replace(base, fingerprint=replace(base.fingerprint, code="other")))
    PoolScoring(served, store)({}, store)
    assert scored(store).keys() == {first, served.checkpoint_id}
    assert scored(store)[served.checkpoint_id] == set(store.list_images())
