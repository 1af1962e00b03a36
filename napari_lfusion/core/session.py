"""The session as a state machine: immutable states, and one function per legal step.

    Disconnected -> Connecting -> Idle -> Leasing -> Loading -> Editing -> Submitting -> Idle
                                                                Editing -> Leaving    -> Idle

`failed` leads back from every waiting state, `disconnected` from every state. A step that the
state does not allow raises `IllegalTransitionError`, so that two workers who answer at once can
never open two cases or submit one twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

from napari_lfusion.core.case import BackendInfo, Offer, OpenCase
from napari_lfusion.core.errors import IllegalTransitionError


@dataclass(frozen=True)
class Disconnected:
    """Nothing is connected; `reason` says why when it was not the user's wish."""

    reason: str | None = None


@dataclass(frozen=True)
class Connecting:
    """`Backend.info` was asked."""


@dataclass(frozen=True)
class Idle:
    """Connected, no case open; `pool_empty` when the last next case found none."""

    info: BackendInfo
    pool_empty: bool = False


@dataclass(frozen=True)
class Leasing:
    """`Backend.next_case` or `Backend.take` was asked."""

    info: BackendInfo


@dataclass(frozen=True)
class Loading:
    """The image is ours; its pixels and the proposal are on the way."""

    info: BackendInfo
    offer: Offer


@dataclass(frozen=True, eq=False)
class Editing:
    """A case is open."""

    info: BackendInfo
    case: OpenCase


@dataclass(frozen=True, eq=False)
class Submitting:
    """The correction is in the outbox and on its way; the case is closed to edits."""

    info: BackendInfo
    case: OpenCase


@dataclass(frozen=True, eq=False)
class Leaving:
    """The case is being skipped, flagged or released."""

    info: BackendInfo
    case: OpenCase


State: TypeAlias = (
    Disconnected | Connecting | Idle | Leasing | Loading | Editing | Submitting | Leaving
)
_S = TypeVar("_S", bound=State)


def connecting(state: State) -> Connecting:
    """The user wants to connect."""
    _expect(state, Disconnected, "connect")
    return Connecting()


def connected(state: State, info: BackendInfo) -> Idle:
    """The backend said what it offers."""
    _expect(state, Connecting, "finish connecting")
    return Idle(info)


def leasing(state: State) -> Leasing:
    """The user wants a case: the next one, one of the queue, or one recovered."""
    return Leasing(_expect(state, Idle, "take a case").info)


def offered(state: State, offer: Offer | None) -> Loading | Idle:
    """The backend offered an image, or None: the pool is empty."""
    info = _expect(state, Leasing, "get an image").info
    return Idle(info, pool_empty=True) if offer is None else Loading(info, offer)


def loaded(state: State, case: OpenCase) -> Editing:
    """Pixels and proposal are there."""
    loading = _expect(state, Loading, "open a case")
    if case.offer.image_id != loading.offer.image_id:
        raise IllegalTransitionError(
            f"expected the case {loading.offer.image_id!r}, got {case.offer.image_id!r}; "
            "an answer came too late"
        )
    return Editing(loading.info, case)


def submitting(state: State) -> Submitting:
    """The user submits; the correction is in the outbox before this."""
    editing = _expect(state, Editing, "submit")
    return Submitting(editing.info, editing.case)


def submitted(state: State) -> Idle:
    """The server has the correction, or the outbox keeps it until it can be sent."""
    return Idle(_expect(state, Submitting, "finish submitting").info)


def leaving(state: State) -> Leaving:
    """The user skips, flags or releases the case."""
    editing = _expect(state, Editing, "leave the case")
    return Leaving(editing.info, editing.case)


def left(state: State) -> Idle:
    """The server knows that the case was left."""
    return Idle(_expect(state, Leaving, "finish leaving").info)


def failed(state: State, reason: str) -> Disconnected | Idle | Editing:
    """What was waited for failed: back to where the user can try again.

    After `Loading` the image is still leased: the caller releases it.
    """
    match state:
        case Connecting():
            return Disconnected(reason)
        case Leasing(info) | Loading(info):
            return Idle(info)
        case Submitting(info, case) | Leaving(info, case):
            return Editing(info, case)
        case _:
            raise IllegalTransitionError(
                f"expected a request on its way when it fails, the session is {_name(state)}"
            )


def refreshed(state: State, info: BackendInfo) -> State:
    """The backend says anew what it offers, such as after a training."""
    if isinstance(state, Disconnected | Connecting):
        raise IllegalTransitionError(f"expected a connection, the session is {_name(state)}")
    return replace(state, info=info)


def disconnected(state: State, reason: str | None = None) -> Disconnected:
    """The connection ended, wherever the session was; the journal keeps an open case."""
    return Disconnected(reason)


def _expect(state: State, kind: type[_S], step: str) -> _S:
    if not isinstance(state, kind):
        raise IllegalTransitionError(
            f"cannot {step}: the session is {_name(state)}, and would have to be "
            f"{kind.__name__.lower()}"
        )
    return state


def _name(state: State) -> str:
    return type(state).__name__.lower()
