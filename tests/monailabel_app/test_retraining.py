"""From stored scores to the next image, also after a retraining."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.scoring import PoolScoring, stored_score
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.strategies import RandomStrategy, ScoredStrategy

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


class TestScoringAndRanking:
    def test_each_image_is_scored_once_per_checkpoint(
        self, store: StudiesDatastore, served: ServedModel
    ) -> None:
        scoring = PoolScoring(served)
        scoring({}, store)
        checkpoint_id = served.predictor().checkpoint_id
        index = Path(store._datastore_config_path)
        before = index.read_bytes()
        status = scoring({}, store)
        assert (status["status"], status["done"], status["total"]) == ("done", 4, 4)
        assert index.read_bytes() == before
        for image_id in store.list_images():
            score = stored_score(store.get_image_info(image_id), checkpoint_id)
            expected = served.predictor()(Path(store.get_image_uri(image_id))).scores
            assert score is not None
            assert score.scores == pytest.approx(dict(expected))
            assert stored_score(store.get_image_info(image_id), "another") is None

    def test_the_ranking_goes_on_after_retraining_without_being_asked(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, state: Path
    ) -> None:
        strategy = ScoredStrategy(KEY, served, PoolScoring(served))
        first = strategy({}, store)
        assert first is not None
        label(store, heads, first["id"])
        TrainingJobs(served, state).run({"steps": 2}, store)
        second = strategy({}, store)
        assert second is not None
        assert (first["pool"], second["pool"]) == (4, 3)
        scores = {
            i: served.predictor()(Path(store.get_image_uri(i))).scores[KEY]
            for i in store.get_unlabeled_images()
        }
        assert second["id"] == max(scores, key=scores.__getitem__)

    def test_an_empty_pool_offers_nothing(
        self, store: StudiesDatastore, served: ServedModel, heads: Path
    ) -> None:
        for image_id in store.list_images():
            label(store, heads, image_id)
        assert ScoredStrategy(KEY, served, PoolScoring(served))({}, store) is None
        assert RandomStrategy(served)({}, store) is None
