"""Batches that strategies plan, worked out by hand, and their renewal as the pool changes."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lfusion.acquisition import PLANNED
from lfusion.checkpoint import Checkpoint
from lfusion.protocol import StoredScore
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.index.plans import planned_from, pool_state
from monailabel_app.lib.index.results import (
    RANKED,
    PoolImage,
    checkpoint_number,
    note_scored,
    pool_generation,
    store_contents,
    store_score,
)
from monailabel_app.lib.leases import Leases
from monailabel_app.lib.planning import PLANNERS, BatchPlanning
from monailabel_app.lib.queue import LabellingQueue
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.why import ORDERS

# What each label tells, a diagonal 2 x 2 matrix, and how each image looks. The first two are
# near-duplicates; an image alone tells ½ log det(I + A).
INFORMATION = {"a": (8.0, 0.0), "b": (7.0, 0.0), "c": (0.0, 3.0), "d": (0.5, 0.0)}
LOOKS = {"a": (1.0, 0.0), "b": (1.5, 0.0), "c": (-4.0, 1.0), "d": (2.0, 0.0)}
GAIN = {"a": math.log(9) / 2, "b given a": math.log(16 / 9) / 2, "c": math.log(4) / 2}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "not met in time"
        time.sleep(0.01)


class Pool:
    """Images whose scores, looks and information are known, and the queue over them."""

    def __init__(self, studies: Path, checkpoint: Path) -> None:
        self.served = ServedModel(checkpoint, studies.parent / "state")
        self.store = StudiesDatastore(
            str(studies), self.served.labels, auto_reload=False, read_only=False
        )
        self.index = self.store.index
        self.queue = LabellingQueue(self.index, Leases(self.index))
        self.planning = BatchPlanning(self.index, self.served)

    def score(self, *image_ids: str) -> None:
        """Store what is known of some images."""
        with self.index.write() as db:
            checkpoint = checkpoint_number(db, self.served.checkpoint_id)
            for image_id in image_ids:
                row = db.execute("SELECT * FROM images WHERE id = ?", (image_id,)).fetchone()
                digest = digest_of(self.store.folder.image(row["path"]))
                (first, second), looks = INFORMATION[image_id], LOOKS[image_id]
                scores = {**dict.fromkeys(RANKED, first + second), "total_mean": first}
                store_score(
                    db,
                    checkpoint,
                    digest,
                    StoredScore(checkpoint_id=self.served.checkpoint_id, scores=scores),
                    np.array(looks, np.float32).tobytes(),
                    np.array((first, 0, second), np.float32).tobytes(),
                )
                image = PoolImage(
                    row["number"], image_id, row["path"], row["size"], row["mtime_ns"]
                )
                store_contents(db, [(image, digest)])

    def retrain(self, code: str) -> None:
        """Serve another checkpoint."""
        base = Checkpoint.load(self.served.path)
        self.served.publish(replace(base, fingerprint=replace(base.fingerprint, code=code)))

    def label(self, image_id: str) -> None:
        """Give an image its final label."""
        mask = self.store.folder.root.parent / "mask.png"
        self.store.save_label(image_id, str(mask), "final", {})

    def plan_in_background(self, strategy: str) -> None:
        """Ask until there is a plan of the pool as it is."""

        def planned() -> bool:
            self.planning.ensure(strategy)
            return self.is_planned(strategy)

        until(planned)

    def is_planned(self, strategy: str) -> bool:
        """Whether the plan of a strategy is one of the pool as it is."""
        served = self.served.checkpoint_id
        with self.index.read() as db:
            return planned_from(db, served, strategy) == pool_state(db, served)

    def listed(self, strategy: str) -> list[str]:
        """The open images in the order of the queue."""
        items = self.queue.listing(ORDERS[strategy], self.served.checkpoint_id, 10).items
        return [item.id for item in items if item.state == "open"]

    def offered(self, strategy: str, client_id: str | None = None) -> tuple[str, str, float | None]:
        """The image that a client is offered, why, and its value."""
        offer = self.queue.offer(ORDERS[strategy], self.served.checkpoint_id, client_id)
        assert offer is not None
        return offer.id, offer.why.sentence, offer.why.score


@pytest.fixture
def pool(heads: Path, tiny_checkpoint: Path, tmp_path: Path) -> Pool:
    """Four images, all scored."""
    studies = tmp_path / "studies"
    studies.mkdir()
    for number, image_id in enumerate(INFORMATION):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies / f"{image_id}.png")
    shutil.copy(heads / "masks" / "head00.png", tmp_path / "mask.png")
    pool = Pool(studies, tiny_checkpoint)
    pool.score(*INFORMATION)
    return pool


def test_every_planned_strategy_has_a_planner_and_a_sentence(pool: Pool) -> None:
    assert set(PLANNERS) == set(PLANNED)
    for strategy in PLANNERS:
        pool.planning.plan(strategy)
        _, sentence, _ = pool.offered(strategy)
        assert "{" not in sentence
        assert "not in the batch" not in sentence


class TestPlans:
    def test_a_near_duplicate_falls_behind_in_a_plan_of_information(self, pool: Pool) -> None:
        assert pool.listed("information_gain") == ["a", "b", "c", "d"]  # each by itself
        pool.planning.plan("information_gain")
        assert pool.listed("information_gain") == ["a", "c", "b", "d"]
        offers = [pool.offered("information_gain", client) for client in ("ann", "bob", "eve")]
        assert [image for image, _, _ in offers] == ["a", "c", "b"]
        expected = [GAIN["a"], GAIN["c"], GAIN["b given a"]]
        assert [value for _, _, value in offers] == pytest.approx(expected)
        assert "(1.1 nats)" in offers[0][1]

    def test_labels_the_model_has_not_seen_count_as_known(self, pool: Pool) -> None:
        pool.label("a")
        pool.planning.plan("information_gain")
        assert pool.listed("information_gain") == ["c", "b", "d"]
        assert pool.offered("information_gain")[2] == pytest.approx(GAIN["c"])

    def test_labels_the_model_was_made_from_do_not(self, pool: Pool) -> None:
        pool.label("a")
        pool.retrain("it has learned from a")
        pool.score(*INFORMATION)
        pool.planning.plan("information_gain")
        assert pool.listed("information_gain")[0] == "b"  # though near to a
        pool.label("b")
        pool.planning.plan("information_gain")
        assert pool.offered("information_gain")[2] == pytest.approx(GAIN["c"])

    def test_a_core_set_begins_in_the_middle_or_far_from_the_labels(self, pool: Pool) -> None:
        pool.planning.plan("coreset")
        assert pool.listed("coreset")[:2] == ["a", "c"]
        pool.label("d")
        pool.planning.plan("coreset")
        assert pool.listed("coreset")[0] == "c"

    def test_a_spread_plan_wants_both_an_uncertain_image_and_one_unlike_the_others(
        self, pool: Pool
    ) -> None:
        pool.planning.plan("epistemic_spread")
        assert pool.listed("epistemic") == ["a", "b", "c", "d"]
        pool.planning.plan("coreset")
        assert pool.listed("coreset") == ["a", "c", "d", "b"]
        assert pool.listed("epistemic_spread") == ["a", "c", "b", "d"]
        offers = [pool.offered("epistemic_spread", client) for client in ("ann", "bob")]
        deviations = np.std(list(LOOKS.values()), axis=0)
        distance = math.hypot(*(np.subtract(LOOKS["c"], LOOKS["a"]) / deviations))
        assert offers[1][2] == pytest.approx(math.sqrt(3) * distance)  # the score of c is 3

    def test_an_unplanned_image_falls_behind_and_says_so(self, pool: Pool) -> None:
        pool.planning.plan("egad")  # a third of the four: the two of highest entropy
        assert set(pool.listed("egad")[:2]) == {"a", "b"}
        for client in ("ann", "bob"):
            assert "not in the batch" not in pool.offered("egad", client)[1]
        image, sentence, _ = pool.offered("egad", "eve")
        assert (image, "not in the batch that is planned so far" in sentence) == ("c", True)

    def test_a_file_that_was_exchanged_leaves_its_plan(self, pool: Pool) -> None:
        pool.planning.plan("coreset")
        (pool.store.folder.root / "a.png").write_text("this is no picture")
        pool.store.refresh()
        assert pool.listed("coreset")[0] == "c"
        assert pool.offered("coreset")[0] == "c"


class TestRenewal:
    @pytest.mark.parametrize("strategy", sorted(PLANNERS))
    def test_a_plan_is_kept_until_the_pool_changes(self, pool: Pool, strategy: str) -> None:
        pool.plan_in_background(strategy)
        changes: list[Callable[[], None]] = [
            lambda: pool.label("a"),
            lambda: pool.store.set_aside("b", "skipped", "dark"),
            lambda: pool.store.set_aside("b", None, ""),
            lambda: pool.store.remove_label("a", "final"),
        ]
        for change in changes:
            change()
            assert not pool.is_planned(strategy)
            pool.plan_in_background(strategy)

    def test_scores_that_come_in_are_planned_with(self, pool: Pool) -> None:
        pool.retrain("new")
        pool.score("b", "d")
        pool.planning.plan("information_gain")
        assert pool.listed("information_gain") == ["b", "d"]
        pool.score("a", "c")
        assert not pool.is_planned("information_gain")
        pool.planning.plan("information_gain")
        assert pool.listed("information_gain") == ["a", "c", "b", "d"]

    def test_all_being_scored_is_a_change_for_the_labelled_are_scored_last(
        self, pool: Pool
    ) -> None:
        pool.planning.plan("coreset")
        assert pool.is_planned("coreset")
        with pool.index.write() as db:
            checkpoint = checkpoint_number(db, pool.served.checkpoint_id)
            note_scored(db, checkpoint, pool_generation(db))
        assert not pool.is_planned("coreset")

    def test_an_older_plan_stays_in_use_and_never_offers_what_is_done(self, pool: Pool) -> None:
        pool.planning.plan("information_gain")
        pool.label("a")
        pool.store.set_aside("c", "flagged", "no head")
        assert pool.listed("information_gain") == ["b", "d"]
        assert pool.offered("information_gain")[0] == "b"

    def test_a_failure_leaves_the_order_by_score(
        self, pool: Pool, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pool.index.write() as db:
            db.execute(
                "CREATE TRIGGER full BEFORE INSERT ON plans "
                "BEGIN SELECT RAISE(ABORT, 'no room'); END"
            )
        pool.planning.ensure("information_gain")
        until(lambda: "no batch could be planned for information_gain" in caplog.text)
        assert pool.listed("information_gain") == ["a", "b", "c", "d"]
        assert "not in the batch" in pool.offered("information_gain")[1]

    def test_without_an_open_image_nothing_is_planned_or_offered(self, pool: Pool) -> None:
        for image_id in INFORMATION:
            pool.label(image_id)
        for strategy in PLANNERS:
            pool.planning.plan(strategy)
            assert pool.queue.offer(ORDERS[strategy], pool.served.checkpoint_id, "ann") is None
