"""Trainings and scorings of the server, followed to the new ranking."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lfusion.protocol import Queue, ScoringStatus, TrainingStatus
from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.core.case import BackendInfo
from napari_lfusion.demo import DemoBackend


class Learning(DemoBackend):
    """The demonstration, with trainings and scorings that a test moves on."""

    def __init__(self) -> None:
        super().__init__()
        self.trained, self.scored = TrainingStatus(), ScoringStatus(status="done")
        self.served = super().info().capabilities
        self.looks = 0

    def info(self) -> BackendInfo:
        return replace(super().info(), trainable=True, capabilities=self.served)

    def queue(self, strategy: str, limit: int) -> Queue:
        assert self.served is not None
        by = {"checkpoint_id": self.served.checkpoint_id}
        return super().queue(strategy, limit).model_copy(update=by)

    def train(self) -> None:
        self.trained = TrainingStatus(status="running")

    def training(self) -> TrainingStatus:
        self.looks += 1
        return self.trained

    def score(self) -> ScoringStatus:
        self.scored = ScoringStatus(status="running")
        return self.scored

    def scoring(self) -> ScoringStatus:
        return self.scored

    def serve(self, checkpoint_id: str) -> None:
        """A training ended well, whoever began it."""
        assert self.served is not None
        self.served = self.served.model_copy(update={"checkpoint_id": checkpoint_id})
        self.trained = TrainingStatus(status="done", checkpoint_id=checkpoint_id)

    def rank(self) -> None:
        """The pool is scored by what is served."""
        assert self.served is not None
        self.scored = ScoringStatus(status="done", checkpoint_id=self.served.checkpoint_id)


@pytest.fixture
def learning(annotator: Annotator) -> Learning:
    server = Learning()
    annotator.connect(lambda: server)
    return server


def pass_time(annotator: Annotator, clock: Any, seconds: int) -> None:
    for _ in range(seconds):
        clock.now += 1.1
        annotator.tick()


def test_a_training_that_began_while_the_pool_is_scored_is_followed_to_its_end(
    annotator: Annotator, learning: Learning, clock: Any
) -> None:
    told: list[str] = []
    annotator.link.told.connect(told.append)
    annotator.training.start()
    learning.serve("first")
    pass_time(annotator, clock, 1)
    assert annotator.training.scoring.status == "running"
    annotator.training.start()
    assert annotator.training.latest.status == "running"
    learning.rank()
    pass_time(annotator, clock, 1)
    assert told == ["the queue is ranked anew by model first"]
    learning.serve("second")
    pass_time(annotator, clock, 1)
    learning.rank()
    pass_time(annotator, clock, 1)
    assert told[1:] == ["the queue is ranked anew by model second"]


@pytest.mark.parametrize("seen", [True, False], ids=["long", "between two looks"])
def test_a_training_that_the_server_began_is_noticed(
    annotator: Annotator, learning: Learning, clock: Any, seen: bool
) -> None:
    told: list[str] = []
    annotator.link.told.connect(told.append)
    annotator.session.next_case()
    looks = learning.looks
    if seen:
        learning.train()
        pass_time(annotator, clock, 15)
        assert annotator.training.latest.status == "running"
        assert learning.looks - looks <= 3
    learning.serve("new")
    pass_time(annotator, clock, 15)
    learning.rank()
    pass_time(annotator, clock, 15)
    info = annotator.link.info
    assert info is not None
    assert info.capabilities == learning.served
    assert told == ["the queue is ranked anew by model new"]
    assert learning.looks - looks <= 6


def test_the_queue_tells_that_another_checkpoint_is_served(
    annotator: Annotator, learning: Learning, clock: Any
) -> None:
    before = learning.trained
    learning.serve("put there by hand")
    learning.trained = before
    annotator.queue.refresh()
    info = annotator.link.info
    assert info is not None
    assert info.capabilities == learning.served
