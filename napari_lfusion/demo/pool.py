"""The queue of the demonstration, in memory and for one annotator."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from lfusion.protocol import LabelVersion, Lease, Queue, QueueItem, Why
from lfusion.types import LabelMap
from napari_lfusion.core.case import Offer, Saved
from napari_lfusion.core.errors import UnknownIdError
from napari_lfusion.demo.stored import DemoCase, DemoIndex

LEASE_SECONDS = 3600.0
_LATE = {"open": 0, "leased": 0, "labelled": 1, "skipped": 2, "flagged": 2}


@dataclass
class _Entry:
    """What happened to one image."""

    case: DemoCase
    state: Literal["open", "leased", "labelled", "skipped", "flagged"] = "open"
    note: str | None = None
    versions: list[LabelVersion] = field(default_factory=list)
    label: LabelMap | None = None


class DemoPool:
    """Which images are open, leased, labelled or put aside.

    Args:
        index: The sample images.
        client_id: The annotator.
    """

    def __init__(self, index: DemoIndex, client_id: str) -> None:
        self._index = index
        self._client_id = client_id
        self._entries = {case.id: _Entry(case) for case in index.cases}
        self._answers: dict[str, Saved] = {}
        self._lock = threading.RLock()

    def case(self, image_id: str) -> DemoCase:
        """The sample image of a name.

        Raises:
            UnknownIdError: There is none.
        """
        return self._entry(image_id).case

    def queue(self, strategy: str, limit: int) -> Queue:
        """The images in the order of a strategy; those that are done come last."""
        with self._lock:
            items = [self._item(entry, strategy) for entry in self._entries.values()]
        items.sort(key=lambda item: (_LATE[item.state], -_score(item)))
        counts = dict(Counter(str(item.state) for item in items))
        checkpoint_id = self._index.cases[0].result.checkpoint_id
        return Queue(
            strategy=strategy, checkpoint_id=checkpoint_id, items=items[:limit], counts=counts
        )

    def next_case(self, strategy: str) -> Offer | None:
        """Lease the first that is open."""
        with self._lock:
            for item in self.queue(strategy, len(self._entries)).items:
                if item.state in ("open", "leased"):
                    return self.take(item.id, item.why)
        return None

    def take(self, image_id: str, why: Why | None = None) -> Offer:
        """Lease one image."""
        with self._lock:
            entry = self._entry(image_id)
            entry.state = "leased"
            return Offer(image_id, len(entry.versions), self.renew(image_id), why)

    def renew(self, image_id: str) -> Lease:
        """Nobody else is here to take it."""
        self._entry(image_id)
        return Lease(
            image=image_id,
            client_id=self._client_id,
            expires_at=time.time() + LEASE_SECONDS,
            seconds_left=LEASE_SECONDS,
        )

    def release(self, image_id: str) -> None:
        """Back to what it was before it was leased."""
        with self._lock:
            entry = self._entry(image_id)
            if entry.state == "leased":
                entry.state = "labelled" if entry.versions else "open"

    def put_aside(self, image_id: str, state: Literal["skipped", "flagged"], reason: str) -> None:
        """Skip or flag an image."""
        with self._lock:
            entry = self._entry(image_id)
            entry.state, entry.note = state, reason

    def label(self, image_id: str) -> LabelMap | None:
        """The current label."""
        return self._entry(image_id).label

    def versions(self, image_id: str) -> list[LabelVersion]:
        """All versions, the oldest first."""
        return list(self._entry(image_id).versions)

    def save(self, key: str, version: LabelVersion, image_id: str, label: LabelMap) -> Saved:
        """Keep a label as the next version; a key that was used answers as the first time."""
        with self._lock:
            if key in self._answers:
                return self._answers[key]
            entry = self._entry(image_id)
            number = len(entry.versions)
            stale = version.base_version is not None and version.base_version != number
            entry.versions = [kept.model_copy(update={"current": False}) for kept in entry.versions]
            entry.versions.append(version.model_copy(update={"version": number + 1}))
            entry.label, entry.state, entry.note = label, "labelled", None
            self._answers[key] = Saved(image_id, number + 1, number if stale else None)
            return self._answers[key]

    def _entry(self, image_id: str) -> _Entry:
        try:
            return self._entries[image_id]
        except KeyError:
            raise UnknownIdError(
                f"expected one of {', '.join(self._entries)}; got {image_id!r}"
            ) from None

    def _item(self, entry: _Entry, strategy: str) -> QueueItem:
        return QueueItem(
            id=entry.case.id,
            state=entry.state,
            owner=self._client_id if entry.state == "leased" else None,
            why=self._why(entry.case, strategy),
            note=entry.note,
            version=len(entry.versions),
        )

    def _why(self, case: DemoCase, strategy: str) -> Why:
        name = self._index.strategies[strategy]
        score = case.result.scores[name]
        others = [other.result.scores[name] for other in self._index.cases if other is not case]
        lower = sum(value < score for value in others)
        return Why(
            strategy=strategy,
            score_name=name,
            score=score,
            percentile=100 * lower / max(1, len(others)),
            parts=case.result.scores,
            sentence=f"{strategy} score {score:.3g}, above {lower} of {len(others)} other images",
        )


def _score(item: QueueItem) -> float:
    return 0.0 if item.why is None or item.why.score is None else item.why.score
