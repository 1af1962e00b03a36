"""One folder for each server and user, held by one window at a time."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout
from platformdirs import user_data_path

from napari_lfusion.core.errors import WorkspaceError, WorkspaceInUseError
from napari_lfusion.core.journal import Journal
from napari_lfusion.core.outbox import Outbox


class Workspace:
    """Journal, outbox and effort log of one user on one server.

    The lock ends with the process, however that ends.

    Args:
        server: Address of the server, or another name of the backend.
        user: As `Backend.client_id`.
        root: Folder of all workspaces; by default the system's place for a user's data.

    Raises:
        WorkspaceInUseError: Another window holds it.
        WorkspaceError: The folder cannot be made.
    """

    journal: Journal
    outbox: Outbox
    log: Path
    """The effort log, see `napari_lfusion.core.effort`."""

    def __init__(self, server: str, user: str, root: Path | None = None) -> None:
        top = user_data_path("lfusion", appauthor=False) / "napari" if root is None else root
        folder = top / _folder_name(server, user)
        # Opened by a worker, closed by the window: the lock is the window's, not the thread's.
        self._lock = FileLock(folder / "lock", thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise WorkspaceInUseError(
                f"expected to be the only window of {user!r} on {server}; another one is open; "
                "close it or use another user name"
            ) from error
        except OSError as error:
            raise WorkspaceError(
                f"expected a folder that can be written at {folder}; {error}"
            ) from error
        self.journal = Journal(folder / "journal")
        self.outbox = Outbox(folder / "outbox")
        self.log = folder / "effort.jsonl"

    def close(self) -> None:
        """Let another window have it."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _folder_name(server: str, user: str) -> str:
    """Readable, and different for different servers and users whatever they are called."""
    digest = hashlib.sha256(f"{server}\n{user}".encode()).hexdigest()[:12]
    readable = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{server}-{user}").strip("-.")[:60]
    return f"{readable}-{digest}"
