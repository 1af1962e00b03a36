"""A session on the demonstration, from the connection to the submission, and what goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from lfusion.image import read_mask
from lfusion.protocol import (
    Alternative,
    Clicks,
    Lease,
    Queue,
    ScoringStatus,
    TrainingStatus,
)
from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.controller.asking import Choice
from napari_lfusion.controller.pointing import Click
from napari_lfusion.core import session
from napari_lfusion.core.case import Correction, Offer, Proposal, Saved
from napari_lfusion.core.correction import make_correction, read_correction
from napari_lfusion.core.effort import EffortRecord
from napari_lfusion.core.errors import (
    BackendError,
    BusyError,
    ConflictError,
    ForbiddenError,
    RefusedError,
    UnauthenticatedError,
    UnreachableError,
)
from napari_lfusion.core.journal import Recovery
from napari_lfusion.core.loading import open_case
from napari_lfusion.core.session import Disconnected, Editing, Idle
from napari_lfusion.demo import DemoBackend
from napari_lfusion.layers import KEY


class Moody(DemoBackend):
    """The demonstration, failing where a test wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.next_fails: BackendError | None = None
        self.submit_fails: BackendError | None = None
        self.skip_fails: BackendError | None = None
        self.renew_fails: BackendError | None = None
        self.empty = False
        self.received: list[Correction] = []
        self.renewed = 0

    def next_case(self, strategy: str) -> Offer | None:
        if self.next_fails is not None:
            raise self.next_fails
        return None if self.empty else super().next_case(strategy)

    def submit(self, correction: Correction) -> Saved:
        if self.submit_fails is not None:
            raise self.submit_fails
        self.received.append(correction)
        return super().submit(correction)

    def skip(self, image_id: str, reason: str) -> None:
        if self.skip_fails is not None:
            raise self.skip_fails
        super().skip(image_id, reason)

    def renew(self, image_id: str) -> Lease:
        self.renewed += 1
        if self.renew_fails is not None:
            raise self.renew_fails
        return super().renew(image_id)

    def follow(self, image_id: str, clicks: Clicks) -> Proposal:
        """A disc around the first click."""
        proposal = self.propose(image_id)
        (column, row), *_ = next(iter(clicks.labels.values()))
        mask = proposal.mask.copy()
        mask[int(row) : int(row) + 4, int(column) : int(column) + 4] = 1
        return Proposal(image_id, mask)


@pytest.fixture
def server() -> Moody:
    return Moody()


@pytest.fixture
def failures(annotator: Annotator) -> list[str]:
    told: list[str] = []
    annotator.link.failed.connect(told.append)
    return told


@pytest.fixture
def connected(annotator: Annotator, server: Moody) -> Annotator:
    annotator.connect(lambda: server)
    return annotator


@pytest.fixture
def editing(connected: Annotator) -> Annotator:
    connected.session.next_case()
    assert connected.editing
    return connected


def paint(annotator: Annotator) -> None:
    layer = annotator.case.stack.labels
    with layer.block_history():
        layer.paint((5, 5), 1)


def test_the_first_case_is_the_top_of_the_queue(connected: Annotator) -> None:
    queue = connected.queue.latest
    assert isinstance(queue, Queue)
    assert len(connected.queue.thumbnails) == len(queue.items)
    connected.session.next_case()
    case = connected.case.case
    assert case is not None
    assert case.offer.image_id == queue.items[0].id
    assert connected.status == f"Demo · {case.offer.image_id}, unchanged"


def test_a_submission_is_the_mask_on_screen(editing: Annotator, server: Moody) -> None:
    paint(editing)
    assert editing.status.endswith("changed")
    mask, case = editing.case.mask.copy(), editing.case.case
    assert case is not None
    editing.finisher.submit()
    saved = server.label(case.offer.image_id)
    assert saved is not None
    assert np.array_equal(saved, mask)
    assert editing.idle
    assert editing.case.case is None
    workspace = editing.link.workspace
    assert workspace is not None
    assert workspace.journal.recover().cases == ()
    (line,) = workspace.log.read_bytes().splitlines()
    record = EffortRecord.model_validate_json(line)
    assert (record.outcome, record.effort.strokes) == ("submitted", 1)
    assert record.edited_px == np.count_nonzero(mask != case.proposal.mask)


def test_the_next_case_opens_by_itself_and_was_fetched_ahead(editing: Annotator) -> None:
    first = editing.case.case
    editing.advance = True
    editing.finisher.skip("later")
    second = editing.case.case
    assert first is not None
    assert second is not None
    assert second.offer.image_id != first.offer.image_id


def test_an_empty_pool_is_a_state_and_no_failure(
    connected: Annotator, server: Moody, failures: list[str]
) -> None:
    server.empty = True
    connected.session.next_case()
    assert connected.link.state == Idle(server.info(), pool_empty=True)
    assert "everything is labelled" in connected.status
    assert failures == []


@pytest.mark.parametrize(
    "error",
    [
        ForbiddenError("403: ask for a role"),
        ConflictError("409: taken"),
        BusyError("429: come back", 5),
        UnreachableError("nobody listens"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_is_told_once_and_leaves_the_session_usable(
    connected: Annotator, server: Moody, failures: list[str], error: BackendError
) -> None:
    server.next_fails = error
    connected.session.next_case()
    assert failures == [str(error)]
    assert connected.idle
    server.next_fails = None
    connected.session.next_case()
    assert connected.editing


def test_a_token_that_expired_leads_back_to_the_connection(
    editing: Annotator, server: Moody, failures: list[str]
) -> None:
    paint(editing)
    mask, case = editing.case.mask.copy(), editing.case.case
    editing._journal.finish()
    server.next_fails = UnauthenticatedError("401: expired")
    editing.finisher.skip("later")
    editing.session.next_case()
    assert failures == ["401: expired"]
    assert isinstance(editing.link.state, Disconnected)
    assert case is not None
    assert mask.any()


def test_while_the_server_is_away_corrections_wait(
    editing: Annotator, server: Moody, clock: Any, failures: list[str]
) -> None:
    server.submit_fails = UnreachableError("nobody listens")
    paint(editing)
    editing.finisher.submit()
    assert editing.idle
    assert "1 waiting to be sent" in editing.status
    assert len(failures) == 1
    editing.tick()
    assert server.received == []
    server.submit_fails = None
    clock.now += 61
    editing.tick()
    assert len(server.received) == 1
    assert "waiting" not in editing.status


@pytest.fixture
def refused(editing: Annotator, server: Moody, clock: Any, failures: list[str]) -> Annotator:
    """A correction waited for the server, which then did not take it."""
    server.submit_fails = UnreachableError("nobody listens")
    paint(editing)
    editing.finisher.submit()
    failures.clear()
    server.submit_fails = RefusedError("another grid")
    clock.now += 61
    editing.tick()
    return editing


def test_what_is_refused_later_is_told_then_and_at_each_connection(
    refused: Annotator, server: Moody, clock: Any, failures: list[str]
) -> None:
    (waiting,) = refused.postman.refused
    sentence = f"refused by the server, and kept here: {waiting.correction.image_id}: another grid"
    assert failures == [sentence]
    assert refused.status.endswith("ready · 1 refused")
    refused.disconnect()
    assert refused.postman.refused == ()
    refused.connect(lambda: server)
    clock.now += 61
    refused.tick()
    assert failures == [sentence, sentence]


def test_a_refused_correction_is_sent_again_by_the_annotators_wish(
    refused: Annotator, server: Moody, failures: list[str]
) -> None:
    server.submit_fails = None
    (waiting,) = refused.postman.refused
    refused.postman.retry(waiting)
    assert "1 waiting to be sent" in refused.status
    refused.tick()
    assert server.received == [waiting.correction]
    assert refused.status.endswith("ready")


def test_a_correction_that_is_given_up_leaves_its_mask(
    refused: Annotator, server: Moody, failures: list[str]
) -> None:
    told: list[str] = []
    refused.link.told.connect(told.append)
    (waiting,) = refused.postman.refused
    refused.postman.give_up(waiting)
    refused.tick()
    assert refused.postman.refused == ()
    assert server.received == []
    kept = Path(told[-1].partition(" is kept in ")[2])
    assert np.array_equal(read_mask(kept), read_correction(waiting.correction))


def test_a_refusal_of_an_earlier_one_does_not_close_over_the_open_case(
    editing: Annotator, server: Moody, failures: list[str]
) -> None:
    server.submit_fails = UnreachableError("nobody listens")
    editing.finisher.submit()
    editing.session.take(server.queue("epistemic", 2).items[1].id)
    case = editing.case.case
    assert case is not None
    failures.clear()
    server.submit_fails = RefusedError("another grid")
    editing.finisher.submit()
    assert editing.editing
    (earlier,) = editing.postman.refused
    assert earlier.correction.image_id != case.offer.image_id
    assert [earlier.correction.image_id in said for said in failures] == [True, False]


def test_strokes_are_kept_in_a_viewer_that_shows_masks_already(
    viewer: ViewerModel, runner: Any, clock: Any, tmp_path: Path
) -> None:
    result = viewer.add_labels(np.ones((7, 9), np.uint8), metadata={KEY: {"role": "mask"}})
    made: list[Annotator] = []
    before = list(viewer.mouse_move_callbacks), list(viewer.mouse_drag_callbacks)
    for number in (1, 2):
        one = Annotator(viewer, runner, tmp_path / str(number), clock)
        one.connect(DemoBackend)
        one.session.next_case()
        paint(one)
        assert one.case.effort.strokes == 1
        assert one.link.workspace is not None
        (kept,) = one.link.workspace.journal.recover().cases
        assert np.array_equal(kept.mask, one.case.mask)
        made.append(one)
        one.shut_down()  # its layers stay
    assert result.data.shape == (7, 9)
    assert result.data.all()
    for one in made:
        one.leave()
    assert list(viewer.layers) == [result]
    after = list(viewer.mouse_move_callbacks), list(viewer.mouse_drag_callbacks)
    assert after == before


def test_a_refused_correction_stays_open(
    editing: Annotator, server: Moody, failures: list[str]
) -> None:
    server.submit_fails = RefusedError("another grid")
    paint(editing)
    mask = editing.case.mask.copy()
    editing.finisher.submit()
    assert isinstance(editing.link.state, Editing)
    assert np.array_equal(editing.case.mask, mask)
    assert editing.postman.waiting == 0
    assert failures == ["another grid"]


@pytest.mark.parametrize("way", ["submit", "skip"])
def test_a_case_on_its_way_out_takes_no_edits(
    editing: Annotator, server: Moody, runner: Any, way: str
) -> None:
    server.submit_fails = RefusedError("another grid")
    server.skip_fails = UnreachableError("nobody listens")
    paint(editing)
    layer, mask, start = editing.case.stack.labels, editing.case.mask.copy(), editing.case.case
    assert start is not None
    runner.held = True
    if way == "submit":
        editing.finisher.submit()
    else:
        editing.finisher.skip("later")
    with layer.block_history():
        layer.paint((30, 30), 2)
    layer.paint_polygon([(40, 40), (40, 60), (60, 60)], 2)
    assert np.array_equal(editing.case.mask, mask)
    layer.undo()  # by napari's own key
    assert not editing.case.editor.write(np.ones_like(mask))
    assert np.array_equal(editing.case.mask, mask)
    assert editing.case.effort.strokes == 1
    runner.held = False
    runner.go_on()
    assert editing.editing
    assert np.array_equal(editing.case.mask, mask)
    editing.case.undo()
    assert np.array_equal(editing.case.mask, start.start)
    with layer.block_history():
        layer.paint((30, 30), 2)
    assert editing.case.mask[30, 30] == 2


def test_what_is_saved_is_what_was_on_screen_to_the_end(
    editing: Annotator, server: Moody, runner: Any
) -> None:
    paint(editing)
    case, layer = editing.case.case, editing.case.stack.labels
    assert case is not None
    runner.held = True
    editing.finisher.submit()
    with layer.block_history():
        layer.paint((30, 30), 2)
    seen = editing.case.mask.copy()
    runner.held = False
    runner.go_on()
    assert editing.idle
    saved = server.label(case.offer.image_id)
    assert saved is not None
    assert np.array_equal(saved, seen)


def test_an_answer_to_clicks_waits_for_a_case_that_comes_back(
    editing: Annotator, server: Moody, runner: Any
) -> None:
    server.submit_fails = RefusedError("another grid")
    mask = editing.case.mask.copy()
    runner.held = True
    editing.case.pointer.label = "fetal head"
    editing.case.pointer.replace((Click(3, 2, "fetal head"),))
    editing.case.pointer.added.emit()
    editing.finisher.submit()
    runner.step()
    assert np.array_equal(editing.case.mask, mask)
    runner.held = False
    runner.go_on()
    assert editing.editing
    assert (editing.case.mask[3:7, 2:6] == 1).all()


def test_the_lease_is_renewed_at_half_time(editing: Annotator, server: Moody, clock: Any) -> None:
    case = editing.case.case
    assert case is not None
    assert case.offer.lease is not None
    half = case.offer.lease.seconds_left / 2
    clock.now += half - 5
    editing.tick()
    assert server.renewed == 0
    clock.now += 10
    editing.tick()
    editing.tick()
    assert server.renewed == 1


def test_a_lost_lease_is_told_and_the_work_stays(
    editing: Annotator, server: Moody, clock: Any, failures: list[str]
) -> None:
    server.renew_fails = ConflictError("eva holds it now")
    paint(editing)
    clock.now += 10_000
    editing.tick()
    assert failures == ["eva holds it now"]
    assert editing.editing
    assert editing.case.editor.dirty


def test_clicks_go_to_the_model_and_come_back_as_one_step(editing: Annotator) -> None:
    start = editing.case.mask.copy()
    editing.case.pointer.label = "fetal head"
    editing.case.pointer.replace((Click(3, 2, "fetal head"),))
    editing.case.pointer.added.emit()
    assert (editing.case.mask[3:7, 2:6] == 1).all()
    editing.case.undo()
    assert np.array_equal(editing.case.mask, start)


def test_only_the_newest_alternative_is_shown(editing: Annotator, runner: Any) -> None:
    runner.held = True
    editing.asker.choose(Choice(0, 1.0))
    editing.asker.choose(Choice(0, 3.0))
    runner.go_on()
    backend, case = editing.link.backend, editing.case.case
    assert backend is not None
    assert case is not None
    wanted = backend.alternative(case.offer.image_id, Alternative(mode=0, t=3.0)).mask
    shown = editing.case.alternative
    assert shown is not None
    assert np.array_equal(shown, wanted)
    assert editing.asker.adopt()
    assert np.array_equal(editing.case.mask, wanted)


def test_an_answer_for_a_case_that_is_gone_is_dropped(editing: Annotator, runner: Any) -> None:
    runner.held = True
    editing.asker.choose(Choice(0, 3.0))
    late = runner.waiting.popleft()
    editing.finisher.skip("later")
    runner.go_on()
    editing.session.next_case()
    runner.go_on()
    runner.waiting.append(late)
    runner.go_on()
    assert editing.case.alternative is None


def test_a_training_that_ends_ranks_the_queue_anew(
    connected: Annotator, server: Moody, monkeypatch: pytest.MonkeyPatch, clock: Any
) -> None:
    states = [TrainingStatus(status="running"), TrainingStatus(status="done", checkpoint_id="new")]
    monkeypatch.setattr(server, "train", lambda: None, raising=False)
    monkeypatch.setattr(server, "training", lambda: states.pop(0), raising=False)
    done = ScoringStatus(status="done", checkpoint_id="new")
    monkeypatch.setattr(server, "score", lambda: done, raising=False)
    told: list[str] = []
    connected.link.told.connect(told.append)
    connected.training.start()
    assert connected.training.latest.status == "running"
    clock.now += 5
    connected.tick()
    assert told == ["the queue is ranked anew by model new"]


def test_every_few_submissions_the_model_learns(
    connected: Annotator, server: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(server, "train", lambda: asked.append("train"), raising=False)
    monkeypatch.setattr(server, "training", TrainingStatus, raising=False)
    info = replace(server.info(), trainable=True)
    connected.link.state = session.refreshed(connected.link.state, info)
    connected.training.every = 2
    for _ in range(3):
        connected.session.next_case()
        connected.finisher.submit()
    assert asked == ["train"]


def test_unfinished_work_goes_on_whichever_way_its_image_comes(
    editing: Annotator, server: Moody
) -> None:
    paint(editing)
    mask, first = editing.case.mask.copy(), editing.case.case
    assert first is not None
    told: list[str] = []
    editing.link.told.connect(told.append)
    editing.connect(lambda: server)  # and "Later" to what is offered
    editing.session.next_case()
    again = editing.case.case
    assert again is not None
    assert again.offer.image_id == first.offer.image_id
    assert np.array_equal(editing.case.mask, mask)
    assert "after 1 stroke" in told[-1]
    layer = editing.case.stack.labels
    with layer.block_history():
        layer.paint((30, 30), 2)
    workspace = editing.link.workspace
    assert workspace is not None
    (kept,) = workspace.journal.recover().cases
    assert np.array_equal(kept.mask, editing.case.mask)
    assert (kept.mask[mask == 1] == 1).all()
    editing.finisher.release()
    editing.session.take(first.offer.image_id)
    assert not editing.case.editor.dirty


def test_discarded_work_does_not_come_back(editing: Annotator, server: Moody) -> None:
    found: list[Recovery] = []
    editing.session.recoverable.connect(found.append)
    paint(editing)
    editing.connect(lambda: server)
    editing.discard(found[0].cases[0])
    editing.session.next_case()
    assert not editing.case.editor.dirty


def test_a_case_that_nobody_edited_is_not_unfinished(editing: Annotator, server: Moody) -> None:
    found: list[Recovery] = []
    editing.session.recoverable.connect(found.append)
    editing.connect(lambda: server)
    assert editing.idle
    assert found == []


def test_what_was_saved_before_a_recovery_is_told_as_a_conflict(
    editing: Annotator, server: Moody, failures: list[str]
) -> None:
    paint(editing)
    mask, case, info = editing.case.mask.copy(), editing.case.case, server.info()
    assert case is not None
    image_id = case.offer.image_id
    editing.disconnect()
    theirs = open_case(server, server.take(image_id))
    server.submit(make_correction(theirs, theirs.start, info.labels))
    for _ in range(2):  # also when the recovered case is left and recovered again
        editing.connect(lambda: server)
        editing.session.take(image_id)
        paint(editing)
    assert np.array_equal(editing.case.mask, mask)
    editing.finisher.submit()
    assert "somebody saved version 1" in failures[-1]
    assert [(kept.version, kept.base_version) for kept in server.versions(image_id)] == [
        (1, 0),
        (2, 0),
    ]


PAINTER = """
import sys, threading
from pathlib import Path
from napari.components import ViewerModel
from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.demo import DemoBackend

class AtOnce:
    def start(self, work, finished):
        finished(work(), None)

annotator = Annotator(ViewerModel(), AtOnce(), Path(sys.argv[1]))
annotator.connect(DemoBackend)
annotator.session.next_case()
layer = annotator.case.stack.labels
layer.brush_size = 9
with layer.block_history():
    layer.paint((20, 30), 1)
print("painted", annotator.case.case.offer.image_id, flush=True)
threading.Event().wait()
"""


def test_after_a_kill_the_stroke_is_there(viewer: ViewerModel, runner: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", PAINTER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as painter:
        assert painter.stdout is not None
        painted, image_id = painter.stdout.readline().split()
        painter.send_signal(signal.SIGKILL)
    assert painted == "painted"
    annotator = Annotator(viewer, runner, tmp_path)
    found: list[Recovery] = []
    annotator.session.recoverable.connect(found.append)
    annotator.connect(DemoBackend)
    (recovery,) = found
    annotator.recover(recovery.cases[0])
    case = annotator.case.case
    assert case is not None
    assert case.offer.image_id == image_id
    assert annotator.case.mask[20, 30] == 1
    assert annotator.case.editor.dirty
    assert annotator.case.effort.strokes == 1
    annotator.shut_down()
