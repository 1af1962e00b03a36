"""Everything together: what the widget shows and what its buttons do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_lfusion.controller.asking import Asker
from napari_lfusion.controller.case import CaseController
from napari_lfusion.controller.delivery import Postman
from napari_lfusion.controller.finishing import Finisher
from napari_lfusion.controller.journaling import JournalWriter
from napari_lfusion.controller.link import Link
from napari_lfusion.controller.queue import QueueController
from napari_lfusion.controller.requests import Requests, Runner
from napari_lfusion.controller.sentences import resumed_line, status_line
from napari_lfusion.controller.session import SessionController
from napari_lfusion.controller.training import TrainingController
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.case import OpenCase
from napari_lfusion.core.journal import JournalEntry, Unfinished
from napari_lfusion.core.session import Disconnected, Editing, Idle

if TYPE_CHECKING:
    from napari.components import ViewerModel


class Annotator:
    """One annotator at one viewer.

    Args:
        viewer: napari's viewer, or its model.
        runner: Runs what blocks.
        root: Folder of journals and outboxes; None for the system's place.
        clock: Seconds, monotonic.
    """

    status_changed = Signal(str)
    """The one line that is always true."""

    def __init__(
        self,
        viewer: ViewerModel,
        runner: Runner,
        root: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.requests = Requests(runner)
        self.link = Link(self.requests)
        self.case = CaseController(viewer, self.requests, clock)
        self.session = SessionController(self.link, root, clock)
        self.postman = Postman(self.link, clock)
        self.finisher = Finisher(self.link, self.case, self.postman, clock)
        self.queue = QueueController(self.link, self.session)
        self.training = TrainingController(self.link, clock)
        self.asker = Asker(self.link, self.case)
        self.advance = True
        """Whether the next case opens when one was submitted, skipped or flagged."""
        self._journal = JournalWriter(self.requests, self.link.fail)
        self._connect()

    def _connect(self) -> None:
        self.session.connected.connect(self._on_connected)
        self.session.disconnected.connect(self._on_disconnected)
        self.session.loaded.connect(self._on_loaded)
        self.session.lost.connect(self.link.failed.emit)
        self.case.edited.connect(self._on_edited)
        self.finisher.ended.connect(self._on_ended)
        self.queue.changed.connect(self.training.check)
        self.training.reranked.connect(self._on_reranked)
        self.link.refused.connect(self._on_refused)
        self.link.state_changed.connect(self._say)
        self.postman.changed.connect(self._say)
        self.postman.back.connect(self.queue.refresh)

    @property
    def status(self) -> str:
        """Where everything stands, in one line."""
        postman, dirty = self.postman, self.case.editor.dirty
        return status_line(self.link.state, dirty, postman.waiting, len(postman.refused))

    @property
    def editing(self) -> bool:
        """Whether a case is open to edits."""
        return isinstance(self.link.state, Editing)

    @property
    def idle(self) -> bool:
        """Whether a case could be taken."""
        return isinstance(self.link.state, Idle)

    def connect(self, make: Callable[[], Backend]) -> None:
        """Connect to a server, or to the demonstration.

        Args:
            make: Makes the backend; runs on another thread.
        """
        if not isinstance(self.link.state, Disconnected):
            self.disconnect()
        self.session.connect(make)

    def disconnect(self, reason: str | None = None) -> None:
        """End the connection; what was painted stays in the journal and is offered again.

        Args:
            reason: Why, when it was not the user's wish.
        """
        if self.case.editor.dirty:
            self._record()
        self._journal.finish()
        if self.case.case is not None:
            self.case.close()
        self.session.disconnect(reason)

    def leave(self) -> None:
        """The dock is gone and the viewer stays: end the session, and leave nothing there."""
        if not isinstance(self.link.state, Disconnected):
            self.disconnect()
        self.case.leave()

    def shut_down(self) -> None:
        """The window is gone: what was painted is put on disk; nothing is drawn any more."""
        self._journal.finish()
        self.session.disconnect()

    def take(self, image_id: str) -> None:
        """Open an image of the queue; nothing happens while another one is open.

        Args:
            image_id: Which.
        """
        if self.idle:
            self.session.take(image_id)

    def recover(self, unfinished: Unfinished) -> None:
        """Go on with a case that was open when the program ended.

        Args:
            unfinished: Of the journal.
        """
        if self.idle:
            self.session.take(unfinished.entry.image_id)

    def discard(self, unfinished: Unfinished) -> None:
        """Forget a case that was open when the program ended, by the user's wish.

        Args:
            unfinished: Of the journal.
        """
        self.session.forget(unfinished.entry.image_id)
        self._journal.forget(unfinished.entry.image_id)

    def tick(self) -> None:
        """Whatever has its time: leases, retries, trainings. Called every second or so."""
        self.session.tick()
        self.postman.tick()
        self.training.tick()

    def _on_connected(self) -> None:
        workspace = self.link.workspace
        self._journal.begin(None if workspace is None else workspace.journal)
        self.queue.refresh()
        self.postman.begin()
        self.training.begin()

    def _on_disconnected(self) -> None:
        self._journal.begin(None)
        self.postman.count()
        self.queue.clear()
        self.training.clear()

    def _on_loaded(self, case: OpenCase, unfinished: Unfinished | None) -> None:
        info = self.link.info
        assert info is not None, "a case is opened while connected"
        if unfinished is None:
            self.case.open(case, info)
        elif unfinished.mask.shape != case.image.pixels.shape:
            self.case.open(case, info)
            self.link.failed.emit(
                f"expected the recovered mask of {case.offer.image_id} on the image's grid; the "
                "image was replaced on the server, so the case begins anew"
            )
        else:
            self.case.open(case, info, unfinished.mask, unfinished.entry.effort.resumed())
            self.link.told.emit(resumed_line(unfinished))
        self.queue.refresh()
        self._say()

    def _on_edited(self) -> None:
        self._record()
        self._say()

    def _record(self) -> None:
        case, info = self.case.case, self.case.info
        if case is None or info is None:
            return
        entry = JournalEntry(
            image_id=case.offer.image_id,
            base_version=case.offer.base_version,
            checkpoint_id=case.proposal.checkpoint_id,
            labels=dict(info.labels),
            effort=self.case.effort,
        )
        self._journal.record(entry, self.case.mask)

    def _on_ended(self, image_id: str, outcome: str) -> None:
        self._journal.forget(image_id)
        self.session.ended(image_id)
        if outcome == "submitted":
            self.training.count_submission()
        self._say()
        if self.postman.away:  # that was told already
            return
        if self.advance and outcome != "released":
            self.session.next_case()
        else:
            self.queue.refresh()

    def _on_reranked(self, checkpoint_id: str) -> None:
        self.queue.refresh()
        self.link.told.emit(f"the queue is ranked anew by model {checkpoint_id[:8]}")

    def _on_refused(self) -> None:
        self.disconnect("the token is no longer good; connect again")

    def _say(self, *_: object) -> None:
        self.status_changed.emit(self.status)
