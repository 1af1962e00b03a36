"""Who labels which image next, and why."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lfusion.protocol.message import Message


class Lease(Message):
    """The exclusive right of one client to label an image, for a while.

    Attributes:
        image: Image id.
        client_id: Who holds it.
        expires_at: When it ends without renewal, seconds since 1970 UTC by the server's clock.
        seconds_left: The same, for clients whose clock is wrong.
    """

    image: str
    client_id: str
    expires_at: float
    seconds_left: float


class Why(Message):
    """Why an image comes next.

    Attributes:
        strategy: Which asked for it.
        score_name: Image score that it sorts by, or None for a random choice.
        score: Its value.
        percentile: Share (0 to 100) of the pool that scores lower.
        parts: All stored scores of the image.
        sentence: The same for people.
    """

    strategy: str
    score_name: str | None = None
    score: float | None = None
    percentile: float | None = None
    parts: dict[str, float] = Field(default_factory=dict)
    sentence: str = ""


class QueueItem(Message):
    """One image of the queue.

    Attributes:
        id: Image id.
        state: `unscored` until the served checkpoint has scored it.
        owner: `client_id` of the lease, or None.
        why: Score and reason; None for `unscored` and `unreadable`.
        note: Reason of a skip, a flag or of being unreadable.
        version: Version of its final label, 0 without one.
        label_problem: Path below the studies folder of a label file that cannot be used, and the
            reason; None without one.
    """

    id: str
    state: Literal["open", "leased", "labelled", "skipped", "flagged", "unscored", "unreadable"]
    owner: str | None = None
    why: Why | None = None
    note: str | None = None
    version: int = 0
    label_problem: str | None = None


class Queue(Message):
    """The pool in the order of a strategy; labelled, skipped and flagged images come last.

    Attributes:
        strategy: The order.
        checkpoint_id: The checkpoint that scored it.
        items: At most as many as asked for.
        counts: Number of images of the whole pool by state.
    """

    strategy: str
    checkpoint_id: str
    items: list[QueueItem]
    counts: dict[str, int]


class Aside(Message):
    """A skip (`POST /skip`: not now, not by me) or a flag (`POST /flag`: someone should look).

    Attributes:
        image: Image id.
        client_id: Who says so; its lease on the image ends.
        reason: Free text.
    """

    image: str
    client_id: str
    reason: str = ""
