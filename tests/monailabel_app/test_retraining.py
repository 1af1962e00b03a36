"""From stored scores to the next image, also after a retraining."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from lfusion.acquisition import PLANNED
from lfusion.predictor import Predictor, ScoredImage
from lfusion.protocol import INFO_KEY
from monailabel_app.lib import scoring as scoring_module
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.leases import Leases
from monailabel_app.lib.planning import BatchPlanning
from monailabel_app.lib.queue import LabellingQueue
from monailabel_app.lib.scoring import PoolScoring
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.strategies import QueueStrategy
from monailabel_app.lib.why import ORDERS

KEY = "epistemic_per_sqrt_area"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where retrained models go."""
    return tmp_path / "state"


@pytest.fixture
def served(tiny_checkpoint: Path, state: Path) -> ServedModel:
    """A model that nothing was retrained from yet."""
    return ServedModel(tiny_checkpoint, state)


@pytest.fixture
def store(heads: Path, served: ServedModel, tmp_path: Path) -> StudiesDatastore:
    """A pool of four of the drawn heads."""
    studies = tmp_path / "studies"
    studies.mkdir()
    for number in range(4):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    return StudiesDatastore(str(studies), served.labels, auto_reload=False, read_only=False)


def label(store: StudiesDatastore, heads: Path, image_id: str) -> None:
    store.save_label(image_id, str(heads / "masks" / f"{image_id}.png"), "final", {})


def score_of(store: StudiesDatastore, image_id: str) -> dict[str, Any]:
    """What is stored for the checkpoint that is served."""
    score: dict[str, Any] = store.get_image_info(image_id)[INFO_KEY]
    return score


def strategy_over(
    store: StudiesDatastore, served: ServedModel, name: str = "epistemic"
) -> QueueStrategy:
    """A strategy with a queue of its own."""
    queue = LabellingQueue(store.index, Leases(store.index))
    scoring, planning = PoolScoring(served, store), BatchPlanning(store.index, served)
    return QueueStrategy(ORDERS[name], queue, served, scoring, planning)


class TestScoringAndRanking:
    def test_each_image_is_scored_once_per_checkpoint(
        self, store: StudiesDatastore, served: ServedModel
    ) -> None:
        scoring = PoolScoring(served, store)
        status = scoring({}, store)
        assert (status["status"], status["done"], status["total"]) == ("done", 4, 4)
        for image_id in store.list_images():
            score = score_of(store, image_id)
            expected = served.predictor().score(Path(store.get_image_uri(image_id))).scores
            assert score["checkpoint_id"] == served.checkpoint_id
            assert score["scores"] == pytest.approx(dict(expected))
        with store.index.write() as db:
            db.execute("UPDATE results SET scores = '{}'")
        scoring({}, store)
        assert score_of(store, "head00")["scores"] == {}

    def test_the_ranking_goes_on_after_retraining_without_being_asked(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, state: Path
    ) -> None:
        PoolScoring(served, store)({}, store)
        before = served.checkpoint_id
        strategy = strategy_over(store, served)
        first = strategy({}, store)
        assert first is not None
        label(store, heads, first["id"])
        TrainingJobs(served, state).run({"steps": 2}, store)
        assert served.checkpoint_id != before
        second = strategy({}, store)
        assert second is not None
        assert (first["pool"], second["pool"]) == (4, 3)
        scores = {
            i: served.predictor()(Path(store.get_image_uri(i))).scores[KEY]
            for i in store.get_unlabeled_images()
        }
        assert second["id"] == max(scores, key=scores.__getitem__)

    def test_a_run_that_a_new_model_overtakes_goes_on_with_that_one(
        self,
        store: StudiesDatastore,
        served: ServedModel,
        heads: Path,
        state: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        label(store, heads, "head00")
        monkeypatch.setattr(scoring_module, "_BATCH", 2)
        answer = Predictor.score
        first = served.checkpoint_id

        def swapped_meanwhile(self: Predictor, image: Path) -> ScoredImage:
            if served.checkpoint_id == first:
                with lock:
                    if served.checkpoint_id == first:
                        TrainingJobs(served, state).run({"steps": 1}, store)
            return answer(self, image)

        lock = threading.Lock()
        monkeypatch.setattr(Predictor, "score", swapped_meanwhile)
        status = PoolScoring(served, store)({}, store)
        assert (status["checkpoint_id"], status["done"]) == (served.checkpoint_id, 4)
        assert served.checkpoint_id != first
        for image_id in store.list_images():
            assert score_of(store, image_id)["checkpoint_id"] == served.checkpoint_id

    @pytest.mark.parametrize("name", sorted(PLANNED))
    def test_a_batch_is_planned_anew_with_each_model(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, state: Path, name: str
    ) -> None:
        strategy = strategy_over(store, served, name)
        # Nothing is scored or planned yet, and already two people get two images.
        cold = [strategy({"client_id": client}, store) for client in ("ann", "bob")]
        first, second = (str(answer["id"]) for answer in cold if answer is not None)
        assert first != second
        label(store, heads, first)
        TrainingJobs(served, state).run({"steps": 2}, store)
        PoolScoring(served, store)({}, store)
        BatchPlanning(store.index, served).plan(name)
        planned = strategy({"client_id": "eve"}, store)
        assert planned is not None
        assert planned["id"] not in (first, second)
        assert planned["pool"] == 3
        assert planned["why"]["strategy"] == name

    def test_an_empty_pool_offers_nothing(
        self, store: StudiesDatastore, served: ServedModel, heads: Path
    ) -> None:
        for image_id in store.list_images():
            label(store, heads, image_id)
        assert strategy_over(store, served)({}, store) is None
