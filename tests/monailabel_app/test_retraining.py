"""From saved labels to the next served checkpoint, and to the next ranking."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from lfusion.checkpoint import Checkpoint
from lfusion.errors import CheckpointError, TrainingError
from lfusion.image import read_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.scoring import PoolScoring, stored_score
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.strategies import RandomStrategy, ScoredStrategy
from monailabel_app.lib.train import Retraining, collect_cases

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


class TestServedModel:
    def test_it_follows_the_file(
        self, served: ServedModel, state: Path, tiny_checkpoint: Path
    ) -> None:
        old = served.predictor()
        assert served.predictor() is old
        shutil.copy(tiny_checkpoint, state / "model.safetensors")
        assert served.predictor() is not old

    def test_publishing_keeps_the_one_before(
        self, served: ServedModel, state: Path, tiny_checkpoint: Path
    ) -> None:
        checkpoint = Checkpoint.load(tiny_checkpoint)
        assert served.publish(checkpoint) == checkpoint.id
        assert served.path == state / "model.safetensors"
        assert (state / "previous.safetensors").read_bytes() == tiny_checkpoint.read_bytes()

    def test_half_a_file_is_named(
        self, served: ServedModel, state: Path, tiny_checkpoint: Path
    ) -> None:
        content = tiny_checkpoint.read_bytes()
        (state / "model.safetensors").write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            served.predictor()


class TestTraining:
    def test_png_and_nifti_labels_become_one_grid(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, tmp_path: Path
    ) -> None:
        truth = read_mask(heads / "masks" / "head01.png")
        slicer = tmp_path / "label.nii.gz"
        drawn = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
            truth.T[:, :, None], np.diag([-1, -1, 1, 1])
        )
        nibabel.save(drawn, slicer)
        label(store, heads, "head00")
        store.save_label("head01", str(slicer), "final", {"label_info": [{"name": "fetal head"}]})
        cases, skipped = collect_cases(store, served.labels(), tmp_path)
        assert skipped == {}
        assert [case.id for case in cases] == ["head00", "head01"]
        np.testing.assert_array_equal(cases[1].read_mask(), truth)

    def test_the_result_is_served_and_reported(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, state: Path
    ) -> None:
        before = served.predictor().checkpoint_id
        label(store, heads, "head00")
        trainer = Retraining(served, state)
        stats = trainer({"steps": 2}, store)
        assert served.predictor().checkpoint_id == stats["progress"]["checkpoint_id"] != before
        assert trainer.status.status == "done"
        assert trainer.status.images == ["head00"]
        assert Retraining(served, state).stats() == stats

    def test_without_labels_the_served_model_stays(
        self, store: StudiesDatastore, served: ServedModel, state: Path, tiny_checkpoint: Path
    ) -> None:
        trainer = Retraining(served, state)
        with pytest.raises(TrainingError, match="save a label first"):
            trainer({}, store)
        assert trainer.status.status == "failed"
        assert "save a label first" in str(trainer.status.error)
        assert served.path == tiny_checkpoint

    def test_a_label_put_there_by_hand_that_does_not_fit_is_skipped_by_name(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, tmp_path: Path
    ) -> None:
        label(store, heads, "head00")
        label(store, heads, "head01")
        Path(store.get_label_uri("head01", "final")).write_text("no picture")
        cases, skipped = collect_cases(store, served.labels(), tmp_path)
        assert [case.id for case in cases] == ["head00"]
        assert list(skipped) == ["head01"]


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
        Retraining(served, state)({"steps": 2}, store)
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
