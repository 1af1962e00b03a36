"""Who gets which image next: stored scores, leases, and what was set aside."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from lfusion.protocol import StoredScore
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.errors import ConflictError, UnknownNameError
from monailabel_app.lib.index.results import (
    RANKED,
    PoolImage,
    checkpoint_number,
    store_contents,
    store_score,
)
from monailabel_app.lib.leases import LEASE_SECONDS, Leases
from monailabel_app.lib.queue import LabellingQueue
from monailabel_app.lib.why import Order

SCORE = "epistemic_per_sqrt_area"
EPISTEMIC = Order("epistemic", SCORE)
RANDOM = Order("random", None)
CHECKPOINT = "c1"


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class Pool:
    """Five images with the scores 0 to 4, and a queue over them."""

    def __init__(self, studies: Path) -> None:
        self.store = StudiesDatastore(
            str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False
        )
        self.clock = Clock()
        self.leases = Leases(self.store.index, self.clock)
        self.queue = LabellingQueue(self.store.index, self.leases)
        self.score({f"head{n:02}": float(n) for n in range(5)})

    def score(self, scores: Mapping[str, float | str], checkpoint_id: str = CHECKPOINT) -> None:
        """Store a score, or why there is none, for each image."""
        with self.store.index.write() as db:
            checkpoint = checkpoint_number(db, checkpoint_id)
            rows = {row["id"]: row for row in db.execute("SELECT * FROM images")}
            for image_id, score in scores.items():
                row = rows[image_id]
                digest = digest_of(self.store.folder.image(row["path"]))
                image = PoolImage(
                    row["number"], image_id, row["path"], row["size"], row["mtime_ns"]
                )
                if isinstance(score, str):
                    stored = StoredScore(checkpoint_id=checkpoint_id, unreadable=score)
                else:
                    stored = StoredScore(
                        checkpoint_id=checkpoint_id, scores=dict.fromkeys(RANKED, score)
                    )
                store_score(db, checkpoint, digest, stored)
                store_contents(db, [(image, digest)])

    def next(self, client_id: str | None, order: Order = EPISTEMIC) -> str | None:
        """The image that a client is offered."""
        offer = self.queue.offer(order, CHECKPOINT, client_id)
        return None if offer is None else offer.id


@pytest.fixture
def pool(heads: Path, tmp_path: Path) -> Pool:
    """Five of the drawn heads."""
    studies = tmp_path / "studies"
    studies.mkdir()
    for number in range(5):
        shutil.copy(heads / "images" / f"head{number:02}.png", studies)
    return Pool(studies)


@pytest.fixture
def mask(heads: Path) -> Path:
    """A label of every one of them."""
    return heads / "masks" / "head00.png"


class TestOrder:
    def test_the_highest_score_comes_first(self, pool: Pool) -> None:
        assert [pool.next(client) for client in "abcde"] == [
            f"head{number:02}" for number in (4, 3, 2, 1, 0)
        ]

    def test_it_says_why(self, pool: Pool) -> None:
        offer = pool.queue.offer(EPISTEMIC, CHECKPOINT, None)
        assert offer is not None
        assert (offer.why.score_name, offer.why.score) == (SCORE, 4.0)
        assert offer.why.percentile == 80.0  # four of five score lower
        assert "80 % of the 5 scored images" in offer.why.sentence

    def test_a_random_order_is_a_permutation_and_turns_with_its_start(self, pool: Pool) -> None:
        assert {pool.next(client, RANDOM) for client in "abcde"} == {
            f"head{number:02}" for number in range(5)
        }
        pool.clock.time += LEASE_SECONDS
        firsts = {
            offer.id
            for start in range(100)
            if (offer := pool.queue.offer(RANDOM, CHECKPOINT, None, start / 100)) is not None
        }
        assert len(firsts) == 5

    def test_an_unreadable_image_is_not_offered(self, pool: Pool) -> None:
        pool.score({"head04": "it is no picture"})
        assert pool.next(None) == "head03"
        assert {pool.next(client, RANDOM) for client in "abcd"} == {
            f"head{number:02}" for number in range(4)
        }

    def test_scores_of_another_checkpoint_do_not_count(self, pool: Pool) -> None:
        assert pool.queue.offer(EPISTEMIC, "c2", None) is None
        pool.score({"head01": 9.0}, "c2")
        offer = pool.queue.offer(EPISTEMIC, "c2", None)
        assert offer is not None
        assert offer.id == "head01"

    def test_an_image_that_changed_is_unscored(self, pool: Pool) -> None:
        folder = pool.store.folder.root
        shutil.copy(folder / "head00.png", folder / "head04.png")
        pool.store.refresh()
        assert pool.next(None) == "head03"


class TestLeases:
    def test_two_clients_never_get_the_same_image(self, pool: Pool) -> None:
        got: list[str | None] = []
        threads = [
            threading.Thread(target=lambda n=n: got.append(pool.next(f"client {n}")))
            for n in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(map(str, got)) == [f"head{number:02}" for number in range(5)]
        assert pool.next("one more") is None

    def test_when_all_are_taken_one_gets_ones_own_again(self, pool: Pool) -> None:
        for client in "abcde":
            pool.next(client)
        assert pool.next("b") == "head03"

    def test_a_client_without_a_name_takes_none_and_gets_no_taken_one(self, pool: Pool) -> None:
        assert pool.next("a") == "head04"
        assert pool.next(None) == pool.next(None) == "head03"

    def test_a_lease_ends_by_itself(self, pool: Pool) -> None:
        pool.next("a")
        pool.clock.time += LEASE_SECONDS
        assert pool.next("b") == "head04"

    def test_a_renewed_lease_lasts_longer(self, pool: Pool) -> None:
        pool.next("a")
        pool.clock.time += LEASE_SECONDS - 1
        lease = pool.leases.renew("head04", "a")
        assert lease.expires_at == pool.clock.time + LEASE_SECONDS
        pool.clock.time += 2
        assert pool.next("b") == "head03"

    def test_another_clients_lease_is_neither_renewed_nor_released(self, pool: Pool) -> None:
        pool.next("a")
        with pytest.raises(ConflictError, match="'a'"):
            pool.leases.renew("head04", "b")
        with pytest.raises(ConflictError, match="'a'"):
            pool.leases.release("head04", "b")

    def test_a_released_image_is_offered_again(self, pool: Pool) -> None:
        pool.next("a")
        pool.leases.release("head04", "a")
        assert pool.next("b") == "head04"

    def test_no_image(self, pool: Pool) -> None:
        with pytest.raises(UnknownNameError, match="nobody"):
            pool.leases.renew("nobody", "a")


class TestStates:
    def test_labelled_and_set_aside_images_are_not_offered(self, pool: Pool, mask: Path) -> None:
        pool.store.save_label("head04", str(mask), "final", {})
        pool.store.set_aside("head03", "skipped", "dark")
        pool.store.set_aside("head02", "flagged", "no head")
        assert pool.next("a") == "head01"

    def test_saving_and_setting_aside_end_the_lease(self, pool: Pool, mask: Path) -> None:
        pool.next("a")
        pool.store.save_label("head04", str(mask), "final", {})
        pool.next("a")
        pool.store.set_aside("head03", "skipped", "")
        with pool.store.index.read() as db:
            assert db.execute("SELECT count(*) FROM leases").fetchone()[0] == 0

    def test_an_empty_pool_is_a_value(self, pool: Pool, mask: Path) -> None:
        for number in range(5):
            pool.store.save_label(f"head{number:02}", str(mask), "final", {})
        assert pool.next("a") is None
        assert pool.next("a", RANDOM) is None

    def test_the_listing_shows_all_states(self, pool: Pool, mask: Path) -> None:
        pool.next("ann")
        pool.store.save_label("head03", str(mask), "final", {})
        pool.store.set_aside("head02", "skipped", "dark")
        pool.score({"head01": "it is no picture"})
        listing = pool.queue.listing(EPISTEMIC, CHECKPOINT, 10)
        shown = {item.id: (item.state, item.owner, item.note) for item in listing.items}
        assert shown == {
            "head04": ("leased", "ann", None),
            "head03": ("labelled", None, None),
            "head02": ("skipped", None, "dark"),
            "head01": ("unreadable", None, "it is no picture"),
            "head00": ("open", None, None),
        }
        assert [item.id for item in listing.items][:2] == ["head04", "head00"]
        assert listing.counts == {state: 1 for state, _, _ in shown.values()}
        assert next(item.version for item in listing.items if item.id == "head03") == 1

    def test_the_tallies_are_what_counting_gives(self, pool: Pool, mask: Path) -> None:
        pool.store.save_label("head04", str(mask), "final", {})
        pool.store.save_label("head04", str(mask), "final", {})
        pool.store.set_aside("head03", "skipped", "")
        pool.store.set_aside("head03", None, "")
        pool.store.save_label("head02", str(mask), "final", {})
        pool.store.remove_label("head02", "final")
        pool.store.remove_image("head01")
        assert pool.store.status() == {"total": 4, "completed": 1, "label_tags": {"final": 1}}
        with pool.store.index.read() as db:
            kept = dict(db.execute("SELECT name, n FROM tallies WHERE name LIKE 'ranked%'"))
            counted = dict(db.execute("SELECT name, sum(open) FROM ranking GROUP BY name"))
        assert kept == {f"ranked 1 {name}": n for name, n in counted.items()}
        assert counted[SCORE] == 3
