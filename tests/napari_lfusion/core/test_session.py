"""Which steps a session allows, and which it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from napari_lfusion.core import session
from napari_lfusion.core.case import BackendInfo, Offer, OpenCase
from napari_lfusion.core.errors import IllegalTransitionError
from napari_lfusion.core.session import (
    Connecting,
    Disconnected,
    Editing,
    Idle,
    Leasing,
    Leaving,
    Loading,
    State,
    Submitting,
)

INFO = BackendInfo("test", {"fetal head": 1}, ("epistemic",), None, False)


def states(case: OpenCase) -> list[State]:
    return [
        Disconnected(),
        Connecting(),
        Idle(INFO),
        Leasing(INFO),
        Loading(INFO, case.offer),
        Editing(INFO, case),
        Submitting(INFO, case),
        Leaving(INFO, case),
    ]


def test_a_case_goes_all_the_way(case: OpenCase) -> None:
    state: State = Disconnected()
    state = session.connected(session.connecting(state), INFO)
    state = session.offered(session.leasing(state), case.offer)
    state = session.loaded(state, case)
    assert isinstance(state, Editing)
    assert state.case is case
    assert session.submitted(session.submitting(state)) == Idle(INFO)
    assert session.left(session.leaving(state)) == Idle(INFO)


def test_an_empty_pool_is_a_state() -> None:
    assert session.offered(Leasing(INFO), None) == Idle(INFO, pool_empty=True)


@pytest.mark.parametrize(
    ("step", "allowed"),
    [
        (session.connecting, Disconnected),
        (lambda state: session.connected(state, INFO), Connecting),
        (session.leasing, Idle),
        (lambda state: session.offered(state, None), Leasing),
        (session.submitting, Editing),
        (session.submitted, Submitting),
        (session.leaving, Editing),
        (session.left, Leaving),
    ],
)
def test_every_other_state_refuses_the_step(
    step: Callable[[State], State], allowed: type[State], case: OpenCase
) -> None:
    for state in states(case):
        if isinstance(state, allowed):
            step(state)
        else:
            with pytest.raises(IllegalTransitionError, match=type(state).__name__.lower()):
                step(state)


def test_an_answer_that_comes_too_late_opens_nothing(case: OpenCase) -> None:
    with pytest.raises(IllegalTransitionError, match="too late"):
        session.loaded(Loading(INFO, Offer("another")), case)


def test_a_failure_leads_back_to_where_one_can_try_again(case: OpenCase) -> None:
    back = {
        type(state): session.failed(state, "no answer")
        for state in states(case)
        if not isinstance(state, Disconnected | Idle | Editing)
    }
    assert back[Connecting] == Disconnected("no answer")
    assert back[Leasing] == back[Loading] == Idle(INFO)
    for waiting in (Submitting, Leaving):
        again = back[waiting]
        assert isinstance(again, Editing)
        assert again.case is case


def test_nothing_fails_that_was_not_asked() -> None:
    with pytest.raises(IllegalTransitionError):
        session.failed(Idle(INFO), "no answer")


def test_new_information_keeps_the_case(case: OpenCase) -> None:
    new = BackendInfo("test", {"fetal head": 1}, ("random",), None, True)
    state = session.refreshed(Editing(INFO, case), new)
    assert isinstance(state, Editing)
    assert state.info is new
    assert state.case is case


def test_the_connection_may_end_anywhere(case: OpenCase) -> None:
    for state in states(case):
        assert session.disconnected(state, "gone") == Disconnected("gone")
