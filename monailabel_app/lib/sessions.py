"""Images that clients bring along for a while: few for each user, and none for long."""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import SessionInfo, Sessions

logger = logging.getLogger(__name__)

MAX_SESSIONS = 16
"""Of one user; an older one is removed for a new one."""

MAX_SESSION_BYTES = 2**30
"""Of all sessions of one user, but for the newest."""

_USER = "user"


class LimitedSessions(Sessions):  # type: ignore[misc]  # MONAI Label has no types
    """MONAI Label's sessions with limits for each user, and ids that nobody can guess.

    Args:
        store_path: Folder that holds one folder for each session.
        expiry: Seconds after its last use at which a session is removed.
    """

    def __init__(self, store_path: str, expiry: int) -> None:
        super().__init__(store_path, expiry)
        self._changing = threading.RLock()

    def add_user_session(self, data_file: Path, expiry: int, user: str) -> tuple[str, SessionInfo]:
        """Take a file for a session; it is moved.

        Args:
            data_file: The image.
            expiry: Seconds, or 0 for as long as possible.
            user: Who sent it.

        Returns:
            The id, and what is known of the session.

        Raises:
            OSError: It does not fit on the disk; nothing of it is kept.
        """
        with self._changing:
            self.remove_expired()
            self._make_room(user, data_file.stat().st_size)
            session_id = secrets.token_hex(16)
            try:
                _, info = self.add_session(str(data_file), expiry, session_id=session_id)
                info.meta = {_USER: user}
                self._write_meta_info(session_id, info)
            except OSError:
                self.remove_session(session_id)
                raise
            return session_id, info

    def get_session(
        self, session_id: str, update_ts: bool = True, fetch_cache: bool = True
    ) -> SessionInfo | None:
        """What is known of a session; None when it is unknown or torn."""
        try:
            return super().get_session(session_id, update_ts, fetch_cache)
        except json.JSONDecodeError:
            logger.warning("session %s was cut off while it was written; removed", session_id)
            self.remove_session(session_id)
            return None

    def remove_expired(self) -> int:
        """Remove the sessions that nobody used for their time, and what is left of torn ones."""
        removed = 0
        with self._changing:
            for session_id, info in self._all().items():
                if info is None or info.last_access_ts + info.expiry < time.time():
                    self.remove_session(session_id)
                    removed += 1
        return removed

    def _all(self) -> dict[str, SessionInfo | None]:
        """Every session of the folder, None for a torn one."""
        folder = Path(self.store_path)
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return {name: self.get_session(name, update_ts=False) for name in names}

    def _make_room(self, user: str, size: int) -> None:
        """Remove this user's sessions that were not used for longest, until a new one fits."""
        mine: list[tuple[int, str, int]] = []
        for session_id, info in self._all().items():
            if info is not None and owner_of(info) == user:
                mine.append((self._last_use(session_id), session_id, _size(Path(info.image))))
        mine.sort()
        while mine and (
            len(mine) >= MAX_SESSIONS or sum(one[2] for one in mine) + size > MAX_SESSION_BYTES
        ):
            _, session_id, _ = mine.pop(0)
            self.remove_session(session_id)

    def _last_use(self, session_id: str) -> int:
        """Nanoseconds; `last_access_ts` has whole seconds, in which many sessions fit."""
        try:
            return (Path(self.store_path) / session_id / "meta.info").stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def remove_session(self, session_id: str) -> None:
        """Forget a session and its image."""
        with self._changing:
            self.pop(session_id, None)
            shutil.rmtree(Path(self.store_path) / session_id, ignore_errors=True)


def owner_of(info: SessionInfo) -> str:
    """The user who made a session."""
    return str((info.meta or {}).get(_USER, ""))


def public(info: SessionInfo) -> dict[str, Any]:
    """What a client may know of a session: nothing of the server's folders."""
    return {
        "name": info.name,
        "create_ts": info.create_ts,
        "last_access_ts": info.last_access_ts,
        "expiry": info.expiry,
    }


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
