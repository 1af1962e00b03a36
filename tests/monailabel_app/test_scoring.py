"""Scoring the pool in pieces: what is kept when it ends early, and what is done again."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lfusion.checkpoint import Checkpoint
from lfusion.predictor import Predictor
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.leases import Leases
from monailabel_app.lib.planning import BatchPlanning
from monailabel_app.lib.queue import LabellingQueue
from monailabel_app.lib.scoring import PoolScoring
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.strategies import QueueStrategy
from monailabel_app.lib.why import ORDERS


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
    assert "content is no PNG file" in status["skipped"]["head04"]
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


def asked_next(store: StudiesDatastore, served: ServedModel, scoring: PoolScoring) -> str | None:
    """The next image to label, by a server that answers within a minute."""
    queue = LabellingQueue(store.index, Leases(store.index))
    planning = BatchPlanning(store.index, served)
    strategy = QueueStrategy(ORDERS["epistemic"], queue, served, scoring, planning)
    answers: list[str | None] = []

    def ask() -> None:
        answer = strategy({}, store)
        answers.append(None if answer is None else answer["id"])

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(60)
    assert answers, "no answer in time"
    return answers[0]


def lead_out(store: StudiesDatastore, *image_ids: str) -> None:
    """Make image files links out of the folder, which are not read, unnoticed by the index."""
    for image_id in image_ids:
        path = store.image_path(image_id)
        path.unlink()
        path.symlink_to(store.folder.root.parent / "outside.png")


class TestFilesThatCannotBeOpened:
    @pytest.fixture
    def scoring(self, store: StudiesDatastore, served: ServedModel) -> PoolScoring:
        """One that scores nothing in the background, so that who asks has to."""
        scoring = PoolScoring(served, store)
        scoring.stop()
        return scoring

    def test_one_that_can_is_found_behind_them(
        self, store: StudiesDatastore, served: ServedModel, scoring: PoolScoring
    ) -> None:
        lead_out(store, *(name for name in store.list_images() if name != "head07"))
        assert asked_next(store, served, scoring) == "head07"

    def test_without_one_the_answer_is_that_nothing_can_be_offered(
        self, store: StudiesDatastore, served: ServedModel, scoring: PoolScoring
    ) -> None:
        lead_out(store, *store.list_images())
        assert asked_next(store, served, scoring) is None
        assert PoolScoring(served, store)({}, store)["status"] == "done"


def while_scored(monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[], object]) -> None:
    """Do something once, just before the network reads one of the images."""
    scores, done = Predictor.score, threading.Event()

    def score(model: Predictor, path: Path) -> Any:
        if path.stem == name and not done.is_set():
            done.set()
            change()
        return scores(model, path)

    monkeypatch.setattr(Predictor, "score", score)


@pytest.mark.parametrize("noticed", [True, False])
def test_an_image_that_is_exchanged_while_it_is_scored_is_scored_again(
    store: StudiesDatastore, served: ServedModel, monkeypatch: pytest.MonkeyPatch, *, noticed: bool
) -> None:
    image = store.image_path("head03")
    before = digest_of(image)

    def exchange() -> None:
        shutil.copy(store.image_path("head05"), image)
        if noticed:
            store.refresh()

    while_scored(monkeypatch, "head03", exchange)
    PoolScoring(served, store)({}, store)
    store.refresh()
    scoring = PoolScoring(served, store)
    assert not scoring.ensure()
    scoring.stop()
    PoolScoring(served, store)({}, store)
    assert PoolScoring(served, store).ensure()
    with store.index.read() as db:
        [[known]] = db.execute("SELECT sha256 FROM images WHERE id = 'head03'")
        [[of_before]] = db.execute("SELECT count(*) FROM results WHERE sha256 = ?", (before,))
    assert known == digest_of(image)
    assert of_before == 0  # the network read something else


def test_a_swap_during_the_last_images_has_the_pool_scored_anew(
    store: StudiesDatastore, served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Checkpoint.load(served.path)
    newer = replace(base, fingerprint=replace(base.fingerprint, code="newer"))
    last = store.list_images()[-1]
    while_scored(monkeypatch, last, lambda: served.publish(newer))
    status = PoolScoring(served, store)({}, store)
    assert status["checkpoint_id"] == newer.id
    assert PoolScoring(served, store).ensure()
