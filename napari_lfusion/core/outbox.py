"""Corrections on their way: on disk before they are sent, gone from it when the server has them."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from lfusion.image.write import atomic_path, sync_folder
from napari_lfusion.core.backend import Backend
from napari_lfusion.core.case import Correction, Saved
from napari_lfusion.core.errors import (
    BackendError,
    BadAnswerError,
    ForbiddenError,
    UnauthenticatedError,
    WorkspaceError,
)

MAX_DELAY_S = 60.0
"""Longest pause between two attempts."""
_GIVEN_UP = "given-up"
"""Folder of the masks that will not be sent."""


@dataclass(frozen=True)
class Waiting:
    """A correction that the server does not have yet.

    Attributes:
        correction: What is to be sent.
        refusal: Why the server will never take it as it is; None while it only waits.
    """

    correction: Correction
    refusal: str | None = None


@dataclass(frozen=True)
class Delivery:
    """What became of one attempt.

    Attributes:
        correction: What was sent.
        saved: The server's answer, None when it has not got it.
        error: Why not, None when it has.
        kept: Whether it will be tried again; False with an error means refused.
    """

    correction: Correction
    saved: Saved | None = None
    error: BackendError | None = None
    kept: bool = False


class _Stored(BaseModel):
    """One file of the outbox."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    correction: Correction
    refusal: str | None = None


_STORED = TypeAdapter(_Stored)


class Outbox:
    """The corrections of one user for one server, the oldest first.

    Safe to use from several threads; one process at a time, which `Workspace` sees to.

    Args:
        folder: Belongs to this outbox alone; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()

    def put(self, correction: Correction) -> None:
        """Keep a correction until the server has it; it is on disk afterwards.

        Raises:
            WorkspaceError: It could not be written.
        """
        name = f"{time.time_ns():020d}-{correction.idempotency_key}.json"
        self._write(self._folder / name, Waiting(correction))

    def waiting(self) -> tuple[Waiting, ...]:
        """Everything that the server does not have yet, refused corrections too."""
        return tuple(found for path in self._files() if (found := _read(path)) is not None)

    def damaged(self) -> tuple[str, ...]:
        """One sentence for each file that cannot be read; it stays and holds up no other."""
        return tuple(
            f"the correction in {path} is damaged and cannot be sent; keep the file"
            for path in self._files()
            if _read(path) is None and path.exists()
        )

    def flush(self, backend: Backend) -> list[Delivery]:
        """Send what waits, in order; blocks.

        The first error that may pass, or that concerns all of them (a token that expired), ends
        the attempt, so that a later correction never overtakes an earlier one. A refused one is
        kept with its reason and does not hold up the others.

        Args:
            backend: Where to.

        Returns:
            What became of each one that was tried.
        """
        deliveries = []
        with self._lock:
            for path in self._files():
                waiting = _read(path)
                if waiting is None or waiting.refusal is not None:
                    continue
                delivery = self._deliver(path, waiting, backend)
                deliveries.append(delivery)
                if delivery.kept:
                    break
        return deliveries

    def retry(self, idempotency_key: str) -> None:
        """Let a refused correction be tried again."""
        for path in self._files(idempotency_key):
            if (waiting := _read(path)) is not None:
                self._write(path, replace(waiting, refusal=None))

    def discard(self, idempotency_key: str) -> None:
        """Forget a correction whose mask is on screen again."""
        for path in self._files(idempotency_key):
            path.unlink(missing_ok=True)
        sync_folder(self._folder)

    def give_up(self, idempotency_key: str) -> Path | None:
        """Let a correction go, by the user's wish only; its mask stays as a file of its own.

        Returns:
            The file; None when nothing of that key waits.

        Raises:
            WorkspaceError: It could not be written; the correction still waits.
        """
        kept = None
        for path in self._files(idempotency_key):
            if (waiting := _read(path)) is not None:
                kept = self._keep(waiting.correction)
                path.unlink(missing_ok=True)
        sync_folder(self._folder)
        return kept

    def _deliver(self, path: Path, waiting: Waiting, backend: Backend) -> Delivery:
        correction = waiting.correction
        try:
            saved = backend.submit(correction)
        except BackendError as error:
            kept = error.passing or isinstance(
                error, UnauthenticatedError | ForbiddenError | BadAnswerError
            )
            if not kept:
                self._write(path, replace(waiting, refusal=str(error)))
            return Delivery(correction, error=error, kept=kept)
        path.unlink(missing_ok=True)
        sync_folder(self._folder)
        return Delivery(correction, saved)

    def _files(self, idempotency_key: str = "*") -> list[Path]:
        return sorted(self._folder.glob(f"*-{idempotency_key}.json"))

    def _keep(self, correction: Correction) -> Path:
        readable = re.sub(r"[^A-Za-z0-9.-]+", "-", correction.image_id).strip("-.")[:60]
        name = f"{readable}-{correction.idempotency_key}-{correction.file_name}"
        target = self._folder / _GIVEN_UP / name
        try:
            target.parent.mkdir(exist_ok=True)
            with atomic_path(target) as temporary:
                temporary.write_bytes(correction.content)
            sync_folder(target.parent)
        except OSError as error:
            raise WorkspaceError(f"expected room for {target}; {error}; free some") from error
        return target

    def _write(self, path: Path, waiting: Waiting) -> None:
        stored = _Stored(correction=waiting.correction, refusal=waiting.refusal)
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(_STORED.dump_json(stored))
            sync_folder(self._folder)
        except OSError as error:
            raise WorkspaceError(
                f"expected room for a correction in {self._folder}; {error}; free some and "
                "submit again"
            ) from error


def retry_delay(attempts: int, error: BackendError) -> float:
    """Seconds to wait before the next attempt: as the server asks, else 1, 2, 4, … up to 60.

    Args:
        attempts: How many failed in a row, from 1.
        error: The last failure.
    """
    asked = getattr(error, "retry_after_s", None)
    delay = 2.0 ** min(attempts - 1, 10) if asked is None else float(asked)
    return min(delay, MAX_DELAY_S)


def _read(path: Path) -> Waiting | None:
    """The content of a file; None when it is damaged, or was sent meanwhile."""
    try:
        stored = _STORED.validate_json(path.read_bytes())
    except (ValueError, FileNotFoundError):
        return None
    return Waiting(stored.correction, stored.refusal)
