"""Sessions of a few users: how many, how much, how long, and torn ones."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from monailabel_app.lib import sessions
from monailabel_app.lib.sessions import MAX_SESSIONS, LimitedSessions, owner_of, public


@pytest.fixture
def kept(tmp_path: Path) -> LimitedSessions:
    """No sessions yet."""
    return LimitedSessions(str(tmp_path / "sessions"), 3600)


def add(kept: LimitedSessions, folder: Path, user: str, size: int = 10, expiry: int = 0) -> str:
    file = folder / "upload.png"
    file.write_bytes(bytes(size))
    return kept.add_user_session(file, expiry, user)[0]


def test_ids_cannot_be_guessed(kept: LimitedSessions, tmp_path: Path) -> None:
    ids = {add(kept, tmp_path, "ann") for _ in range(10)}
    assert len(ids) == 10
    assert all(len(one) == 32 for one in ids)


def test_the_least_recently_used_goes_first(kept: LimitedSessions, tmp_path: Path) -> None:
    first, second = add(kept, tmp_path, "ann"), add(kept, tmp_path, "ann")
    others = add(kept, tmp_path, "eve")
    for _ in range(MAX_SESSIONS - 2):
        add(kept, tmp_path, "ann")
    assert kept.get_session(first) is not None
    last = add(kept, tmp_path, "ann")
    found = {one: kept.get_session(one) is not None for one in (first, second, others, last)}
    assert found == {first: True, second: False, others: True, last: True}


def test_all_of_one_user_take_limited_room(
    kept: LimitedSessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSION_BYTES", 1000)
    ids = [add(kept, tmp_path, "ann", size=400) for _ in range(4)]
    assert [kept.get_session(one) is not None for one in ids] == [False, False, True, True]


def test_an_expired_one_and_a_torn_one_are_removed(kept: LimitedSessions, tmp_path: Path) -> None:
    expired = add(kept, tmp_path, "ann", expiry=1)
    torn, sound = add(kept, tmp_path, "ann"), add(kept, tmp_path, "ann")
    info = kept.get_session(expired)
    assert info is not None
    info.last_access_ts = int(time.time()) - 10
    (tmp_path / "sessions" / torn / "meta.info").write_text('{"name": ')
    (tmp_path / "sessions" / "empty").mkdir()
    again = LimitedSessions(str(tmp_path / "sessions"), 3600)
    again[expired] = info
    assert again.remove_expired() == 3
    assert os.listdir(tmp_path / "sessions") == [sound]


def test_they_survive_a_restart_with_their_owner(kept: LimitedSessions, tmp_path: Path) -> None:
    session_id = add(kept, tmp_path, "ann")
    info = LimitedSessions(str(tmp_path / "sessions"), 3600).get_session(session_id)
    assert info is not None
    assert owner_of(info) == "ann"


def test_a_client_learns_no_path(kept: LimitedSessions, tmp_path: Path) -> None:
    info = kept.get_session(add(kept, tmp_path, "ann"))
    assert info is not None
    assert str(tmp_path) not in str(public(info))
