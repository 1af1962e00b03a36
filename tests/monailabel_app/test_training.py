"""One training: what it learns from, what it reports, and what it leaves when it goes wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from lfusion.checkpoint import Checkpoint
from lfusion.errors import TrainingError
from lfusion.image import read_mask
from lfusion.training import TrainingProgress
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.errors import ConflictError, RequestError
from monailabel_app.lib.jobs import TrainingJobs, ordered_labels
from monailabel_app.lib.modes import training_settings
from monailabel_app.lib.progress import MAX_POINTS, ProgressWriter
from monailabel_app.lib.retraining import collect_cases
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.train import Retraining
from monailabel_app.lib.training_state import TrainingRecord, TrainingState

if TYPE_CHECKING:
    from tests.support.ultrasound_files import write_ultrasound
else:  # tests/ is no package when it runs
    from ultrasound_files import write_ultrasound

POOL = 10


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where retrained models go."""
    return tmp_path / "state"


@pytest.fixture
def served(tiny_checkpoint: Path, state: Path) -> ServedModel:
    """A model that nothing was retrained from yet."""
    return ServedModel(tiny_checkpoint, state)


@pytest.fixture
def jobs(served: ServedModel, state: Path) -> TrainingJobs:
    """Its trainings."""
    return TrainingJobs(served, state)


@pytest.fixture
def store(heads: Path, served: ServedModel, tmp_path: Path) -> StudiesDatastore:
    """A pool of the drawn heads without labels."""
    studies = tmp_path / "studies"
    studies.mkdir()
    for number in range(POOL):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    return StudiesDatastore(str(studies), served.labels, auto_reload=False, read_only=False)


def label(store: StudiesDatastore, heads: Path, *numbers: int) -> None:
    for number in numbers:
        mask = heads / "masks" / f"head{number:02}.png"
        store.save_label(f"head{number:02}", str(mask), "final", {})


class TestLabels:
    def test_png_and_nifti_become_one_grid(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, tmp_path: Path
    ) -> None:
        truth = read_mask(heads / "masks" / "head01.png")
        slicer = tmp_path / "label.nii.gz"
        drawn = nibabel.Nifti1Image(  # type: ignore[no-untyped-call]
            truth.T[:, :, None], np.diag([-1, -1, 1, 1])
        )
        nibabel.save(drawn, slicer)
        label(store, heads, 0)
        store.save_label("head01", str(slicer), "final", {"label_info": [{"name": "fetal head"}]})
        cases, skipped = collect_cases(ordered_labels(store), served.labels(), tmp_path)
        assert skipped == {}
        assert [case.id for case in cases] == ["head00", "head01"]
        np.testing.assert_array_equal(cases[1].read_mask(), truth)

    def test_of_a_cine_the_middle_frame_is_learned_from(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, tmp_path: Path
    ) -> None:
        frames, masks = (
            np.stack(
                [np.asarray(Image.open(heads / part / f"head{n:02}.png")) for n in (1, 2, 3, 4)]
            )
            for part in ("images", "masks")
        )
        write_ultrasound(store.folder.root / "cine.dcm", frames, (0.2, 0.1))
        store.refresh()
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(masks), str(tmp_path / "label.nrrd"))
        store.save_label("cine", str(tmp_path / "label.nrrd"), "final", {})
        cases, skipped = collect_cases(ordered_labels(store), served.labels(), tmp_path)
        assert (list(skipped), [case.id for case in cases]) == ([], ["cine"])
        np.testing.assert_array_equal(cases[0].read_mask(), masks[2])
        np.testing.assert_allclose(cases[0].read().pixels, frames[2] / 255, atol=0.01)
        # Of a still, nobody can say which slice is meant.
        by_hand = store.folder.root / "labels" / "final" / "head00.nrrd"
        shutil.copy(tmp_path / "label.nrrd", by_hand)
        store.refresh()
        assert store.get_labeled_images() == ["cine"]

    def test_one_put_there_by_hand_that_does_not_fit_is_skipped_by_name(
        self, store: StudiesDatastore, served: ServedModel, heads: Path, tmp_path: Path
    ) -> None:
        label(store, heads, 0, 1)
        Path(store.get_label_uri("head01", "final")).write_text("no picture")
        cases, skipped = collect_cases(ordered_labels(store), served.labels(), tmp_path)
        assert [case.id for case in cases] == ["head00"]
        assert list(skipped) == ["head01"]
        assert skipped["head01"].startswith("labels/final/head01.png: ")

    def test_one_deleted_by_hand_and_not_noticed_yet_is_left_out(
        self, store: StudiesDatastore, heads: Path
    ) -> None:
        label(store, heads, 0, 1)
        Path(store.get_label_uri("head00", "final")).unlink()
        assert [one.id for one in ordered_labels(store)] == ["head01"]


class TestRun:
    def test_the_result_is_served_and_reported(
        self, jobs: TrainingJobs, store: StudiesDatastore, served: ServedModel, heads: Path
    ) -> None:
        before = served.checkpoint_id
        label(store, heads, 0)
        record = jobs.run({"steps": 2}, store)
        assert served.checkpoint_id == record.checkpoint_id != before
        assert served.predictor().checkpoint_id == record.checkpoint_id
        assert (record.status, record.images, record.dice) == ("done", ["head00"], None)
        assert [point.step for point in record.history] == [1, 2]
        assert all(point.loss is not None for point in record.history)

    def test_a_label_saved_while_the_others_are_read_is_new_to_the_next_one(
        self,
        jobs: TrainingJobs,
        store: StudiesDatastore,
        served: ServedModel,
        heads: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        label(store, heads, 0)
        listed = store.get_labeled_images

        def saved_behind() -> list[str]:
            found: list[str] = listed()
            label(store, heads, 1)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(store, "get_labeled_images", saved_behind)
            assert jobs.run({"steps": 1}, store).images == ["head00"]
        until = served.learned_until()
        assert {one.id: one.new for one in ordered_labels(store, until)} == {
            "head00": False,
            "head01": True,
        }
        assert until < store.saver.versions("head01")[0].time  # a plan counts it as known

    def test_the_trainer_of_monai_label_says_the_same_to_its_clients(
        self, jobs: TrainingJobs, store: StudiesDatastore, heads: Path
    ) -> None:
        label(store, heads, 0)
        stats = Retraining(jobs)({"steps": 2}, store)
        assert (stats["best_metric"], stats["progress"]["status"]) == (0.0, "done")
        assert stats["total_time"].startswith("0:0")
        assert "current_time" not in stats
        assert Retraining(jobs).stats() == stats

    def test_held_out_labels_measure_dice_and_keep_the_calibration(
        self, jobs: TrainingJobs, store: StudiesDatastore, served: ServedModel, heads: Path
    ) -> None:
        before = served.predictor()
        label(store, heads, *range(POOL))
        record = jobs.run({"steps": 4, "val_split": 0.5}, store)
        assert record.dice is not None
        assert 0 < record.dice <= 1
        measured = [point.dice for point in record.history if point.dice is not None]
        assert max(measured) == record.dice
        assert record.stats()["best_metric"] == record.dice
        after = Checkpoint.load(served.path)
        assert 0 < after.fingerprint.images < POOL
        np.testing.assert_equal(
            dict(after.calibration.reference),
            dict(Checkpoint.load(served.base).calibration.reference),
        )
        assert before.checkpoint_id != served.checkpoint_id

    def test_a_full_one_starts_at_the_first_checkpoint_again(
        self, jobs: TrainingJobs, store: StudiesDatastore, served: ServedModel, heads: Path
    ) -> None:
        first = served.checkpoint_id
        label(store, heads, 0, 1)
        quick = jobs.run({"steps": 2}, store)
        parents = [Checkpoint.load(served.path).fingerprint.parent]
        settings = {"mode": "full", "steps": 1, "val_split": 0.0}
        assert jobs.run(settings, store).mode == "full"
        parents.append(Checkpoint.load(served.path).fingerprint.parent)
        jobs.run({"steps": 1}, store)
        parents.append(Checkpoint.load(served.path).fingerprint.parent)
        assert parents[:2] == [first, first]
        assert parents[2] not in (first, quick.checkpoint_id)

    def test_without_labels_nothing_begins(
        self, jobs: TrainingJobs, store: StudiesDatastore
    ) -> None:
        with pytest.raises(RequestError, match="save one first"):
            jobs.run({}, store)
        assert jobs.record().status == "idle"
        assert jobs.record().stats() == {}

    def test_a_failure_leaves_the_served_model_and_says_why(
        self,
        jobs: TrainingJobs,
        store: StudiesDatastore,
        served: ServedModel,
        heads: Path,
        tiny_checkpoint: Path,
    ) -> None:
        label(store, heads, 0)
        Path(store.get_label_uri("head00", "final")).write_text("no picture")
        with pytest.raises(TrainingError, match="save a label first"):
            jobs.run({}, store)
        record = jobs.record()
        assert (record.status, record.task()["status"]) == ("failed", "ERROR")
        assert list(record.skipped) == ["head00"]
        assert "save a label first" in str(record.error)
        assert served.path == tiny_checkpoint

    def test_a_second_one_is_refused_while_the_first_lives(
        self, jobs: TrainingJobs, store: StudiesDatastore, heads: Path, state: Path
    ) -> None:
        label(store, heads, 0)
        another_server = TrainingState(state, lambda: "")
        another_server.acquire()
        with pytest.raises(ConflictError, match="is running"):
            jobs.start({}, store)

    @pytest.mark.parametrize(
        "request_",
        [
            {"steps": -1},
            {"steps": 10**9},
            {"mode": "slow"},
            {"mode": ["quick"]},
            {"steps": True},
            {"steps": "2"},
            {"steps": 1.5},
        ]
        + [{"val_split": value} for value in (-0.1, 0.6, "a", True, None, float("nan"))],
    )
    def test_a_setting_out_of_range_is_refused(self, request_: dict[str, Any]) -> None:
        with pytest.raises(RequestError, match="expected"):
            training_settings(request_)


class TestRecord:
    @pytest.fixture
    def known(self, state: Path) -> TrainingState:
        """The files of a training while the checkpoint `new` is served."""
        return TrainingState(state, lambda: "new")

    def test_running_is_believed_of_a_living_process_alone(self, known: TrainingState) -> None:
        lock = known.acquire()
        known.write(TrainingRecord(status="running", id="a"))
        assert known.record().status == "running"
        os.close(lock)
        assert known.record().status == "interrupted"

    @pytest.mark.parametrize(
        ("swap", "status"), [(None, "interrupted"), ("other", "interrupted"), ("new", "done")]
    )
    def test_a_death_during_the_swap_is_judged_by_what_is_served(
        self, known: TrainingState, swap: str | None, status: str
    ) -> None:
        known.write(TrainingRecord(status="running", id="a", swap=swap))
        assert known.record().status == status
        assert (known.record().checkpoint_id == "new") == (status == "done")

    def test_stopping_what_has_ended_changes_nothing(self, known: TrainingState) -> None:
        known.write(TrainingRecord(status="done", id="a"))
        assert known.conclude_stopped("why").status == "done"

    def test_half_a_file_is_no_training(self, known: TrainingState, state: Path) -> None:
        (state / "training.json").write_text('{"status": "runn')
        assert known.record().status == "idle"

    def test_the_curve_stays_short_and_keeps_every_dice(self, known: TrainingState) -> None:
        writer = ProgressWriter(known)
        steps = 10 * MAX_POINTS + 1
        for step in range(1, steps + 1):
            dice = step // 500 / 10 or None
            writer.report(TrainingProgress("fit", step, steps, 1.0, dice, dice, 1.0))
        curve = known.record().history
        assert len(curve) <= MAX_POINTS + 4
        assert curve[-1].step == steps
        assert [(p.step, p.dice) for p in curve if p.dice] == [
            (500, 0.1), (1000, 0.2), (1500, 0.3), (2000, 0.4)
        ]  # fmt: skip
