"""How a case ends: submitted, skipped, flagged or given back."""

from __future__ import annotations

import time
from collections.abc import Callable

from psygnal import Signal

from lfusion.errors import LFusionError
from lfusion.types import LabelMap
from napari_lfusion.controller.case import CaseController
from napari_lfusion.controller.delivery import Postman
from napari_lfusion.controller.link import Link
from napari_lfusion.core import session as steps
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.case import Correction, OpenCase
from napari_lfusion.core.correction import make_correction
from napari_lfusion.core.effort import Effort, EffortRecord, Outcome, append_record, edit_distance
from napari_lfusion.core.errors import WorkspaceError
from napari_lfusion.core.outbox import Delivery, Outbox

_TOPIC = "case"


class Finisher:
    """Ends the open case; it stays open when that fails.

    Args:
        link: The connection.
        case: The open case.
        postman: Keeps trying when the server is away.
        clock: Seconds, monotonic.
    """

    ended = Signal(str, str)
    """Image id and outcome; the case is closed."""

    def __init__(
        self,
        link: Link,
        case: CaseController,
        postman: Postman,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._case = case
        self._postman = postman
        self._clock = clock

    def submit(self) -> None:
        """Save the mask as the final label; safe on disk before it is sent."""
        workspace = self._link.workspace
        self._link.state = steps.submitting(self._link.state)
        self._case.freeze(True)
        case, info, mask = self._case.case, self._case.info, self._case.mask.copy()
        assert case is not None, "the session is editing"
        assert info is not None, "a case is open"
        assert workspace is not None, "the session is connected"
        self._link.ask(
            _TOPIC,
            lambda backend: _send(backend, workspace.outbox, case, mask, dict(info.labels)),
            lambda sent: self._on_sent(case, mask, *sent),
            self._reopen,
        )

    def skip(self, reason: str) -> None:
        """Not now, not by me.

        Args:
            reason: Free text.
        """
        self._leave("skipped", lambda backend, image_id: backend.skip(image_id, reason))

    def flag(self, reason: str) -> None:
        """Someone should look at it.

        Args:
            reason: Free text.
        """
        self._leave("flagged", lambda backend, image_id: backend.flag(image_id, reason))

    def release(self) -> None:
        """Give it back untouched; what was painted is gone."""
        self._leave("released", lambda backend, image_id: backend.release(image_id))

    def _leave(self, outcome: Outcome, tell: Callable[[Backend, str], None]) -> None:
        self._link.state = steps.leaving(self._link.state)
        self._case.freeze(True)
        case, mask = self._case.case, self._case.mask.copy()
        assert case is not None, "it is open"
        image_id = case.offer.image_id

        def left(_: None) -> None:
            self._link.state = steps.left(self._link.state)
            self._end(case, mask, outcome)

        self._link.ask(_TOPIC, lambda backend: tell(backend, image_id), left, self._reopen)

    def _on_sent(
        self, case: OpenCase, mask: LabelMap, correction: Correction, deliveries: list[Delivery]
    ) -> None:
        key = correction.idempotency_key
        own = [one for one in deliveries if one.correction.idempotency_key == key]
        mine = own[0] if own else None
        if mine is not None and mine.error is not None and not mine.kept:
            self._refused(mine.error, correction, [one for one in deliveries if one is not mine])
            return
        self._postman.delivered(deliveries)
        self._link.state = steps.submitted(self._link.state)
        self._tell(case, mine)
        self._end(case, mask, "submitted")

    def _refused(self, error: LFusionError, correction: Correction, others: list[Delivery]) -> None:
        """The server will never take this one: back to the annotator, and out of the outbox."""
        workspace = self._link.workspace
        assert workspace is not None, "it was sent from there"
        workspace.outbox.discard(correction.idempotency_key)
        self._postman.delivered(others)
        self._reopen(error)
        self._link.fail(error)

    def _tell(self, case: OpenCase, delivery: Delivery | None) -> None:
        image_id = case.offer.image_id
        if delivery is None or delivery.saved is None:
            reason = "an earlier correction" if delivery is None else str(delivery.error)
            self._link.failed.emit(f"kept {image_id} here, to be sent later: {reason}")
        elif delivery.saved.conflict_with is not None:
            self._link.failed.emit(
                f"somebody saved version {delivery.saved.conflict_with} of {image_id} meanwhile; "
                "both are kept, yours is current"
            )
        else:
            self._link.told.emit(f"saved {image_id}")

    def _reopen(self, error: LFusionError) -> None:
        self._link.state = steps.failed(self._link.state, str(error))
        self._case.freeze(False)

    def _end(self, case: OpenCase, mask: LabelMap, outcome: Outcome) -> None:
        self._log(case, mask, outcome, self._case.effort.active(self._clock()))
        self._case.close()
        self.ended.emit(case.offer.image_id, outcome)

    def _log(self, case: OpenCase, mask: LabelMap, outcome: Outcome, effort: Effort) -> None:
        workspace, backend = self._link.workspace, self._link.backend
        assert workspace is not None, "the session is connected"
        assert backend is not None, "the session is connected"
        edited, dice = edit_distance(mask, case.proposal.mask)
        record = EffortRecord(
            image_id=case.offer.image_id,
            client_id=backend.client_id,
            checkpoint_id=case.proposal.checkpoint_id,
            strategy=case.offer.why.strategy if case.offer.why else None,
            outcome=outcome,
            ended_at=time.time(),
            effort=effort,
            edited_px=edited,
            dice_to_proposal=dice,
        )
        try:
            append_record(workspace.log, record)
        except OSError as error:
            self._link.fail(WorkspaceError(f"expected room for the log {workspace.log}; {error}"))


def _send(
    backend: Backend, outbox: Outbox, case: OpenCase, mask: LabelMap, labels: dict[str, int]
) -> tuple[Correction, list[Delivery]]:
    correction = make_correction(case, mask, labels)
    outbox.put(correction)
    return correction, outbox.flush(backend)
