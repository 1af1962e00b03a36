"""What a client can do wrong, each with the HTTP status and code that say so."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import ClassVar

from lfusion.errors import ImageError, LFusionError

_PATH = re.compile(r"(?<![\w.:/])/[^\s'\",;:)]+")


def client_message(error: Exception) -> str:
    """Word an error for a client: a file of this server by its name, never by its path.

    Args:
        error: Of an image its reason is taken, of the operating system its text.
    """
    if isinstance(error, ImageError):
        message = error.reason
    elif isinstance(error, OSError):
        message = error.strerror or type(error).__name__
    else:
        message = str(error)
    return _PATH.sub(_file_name, message)


def _file_name(found: re.Match[str]) -> str:
    """The last part of a path of this disk; a route such as `/infer/lfusion` is left as it is."""
    path = Path(found[0])
    on_disk = any(parent.is_dir() for parent in path.parents if parent != Path("/"))
    return path.name if on_disk else found[0]


class RequestError(LFusionError):
    """A request cannot be carried out as it was sent."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"


class InvalidNameError(RequestError):
    """An image id or a label tag cannot be a file name."""


class LabelError(RequestError):
    """A file is no label of its image: another size or unknown classes."""

    code = "bad_label"


class UnknownNameError(RequestError):
    """There is no image, model, strategy or scoring method of this name."""

    status = 404
    code = "not_found"


class ConflictError(RequestError):
    """The request would replace something that is in use."""

    status = 409
    code = "conflict"


class UnauthenticatedError(RequestError):
    """A request came without a token that is known."""

    status = 401
    code = "unauthenticated"


class ForbiddenError(RequestError):
    """The caller may not do this, or nobody may."""

    status = 403
    code = "forbidden"


class StorageError(RequestError):
    """What was sent could not be put on disk, and nothing of it was."""

    status = 507
    code = "failed"


class BusyError(RequestError):
    """Another process writes to the studies; the same request works a moment later."""

    status = 503
    code = "busy"


_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_NO_ROOM = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
)


def storage_error(failure: str, error: OSError | sqlite3.Error) -> BusyError | StorageError:
    """Tell a disk without room from an index that another process uses.

    Args:
        failure: What failed.
        error: Why.

    Returns:
        The error to raise.

    Raises:
        sqlite3.Error: The same error, when it is neither.
    """
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            return BusyError(f"{failure}: another process writes to the studies; try again")
        if code not in _NO_ROOM:
            raise error
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StorageError(f"{failure}: {reason}; make room on the server's disk and try again")
