"""Limits of one request: bytes on the wire, time on the way, and memory once they are decoded.

Nothing of a body is read before the caller is known, but the few bytes of a sign-in.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import tempfile
import time

from monailabel.endpoints.user.auth import User
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEBIBYTE = 2**20
DEFAULT_UPLOAD_MIB = 512
"""A cine loop as DICOM may have hundreds; everything else is far smaller."""

MAX_JSON_BYTES = MEBIBYTE
"""Of a body that is no upload: as Python objects, JSON takes many times its length."""

MAX_SIGN_IN_BYTES = 4096
"""Of a body whose sender is not known yet: a user name and a token."""

BODY_SECONDS = 30.0
"""For the start of a body, and for each pause in it."""

MIN_BYTES_PER_SECOND = 16 * 1024
"""Of a body beyond its first `BODY_SECONDS`, on average: a 512 MiB loop may take nine hours."""

UPLOADS = (
    ("POST", "/infer/"),
    ("PUT", "/datastore/"),
    ("PUT", "/session/"),
    ("PUT", "/model/"),
)
"""Method and start of the path of what takes files; a content type alone makes no upload."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a write that does not fit."""

_NO_ROOM_MESSAGE = (
    "the server's disk has no room for what was sent; nothing was changed; make room on it, or "
    "ask the server's administrator to"
)


def no_room() -> HTTPException:
    """The answer when something does not fit on the disk."""
    return HTTPException(507, _NO_ROOM_MESSAGE)


class BodyLimit:
    """Refuses a body that is too long or too slow, before or while it arrives.

    Args:
        app: What answers the others.
        upload_bytes: Of a form with files; other bodies get `MAX_JSON_BYTES`, and those of an
            unknown sender `MAX_SIGN_IN_BYTES`.
    """

    def __init__(self, app: ASGIApp, upload_bytes: int) -> None:
        self._app = app
        self._upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit(scope, headers)
        length = headers.get("content-length", "")
        announced = int(length) if length.isascii() and length.isdigit() else 0
        start = time.monotonic()
        received, complete = 0, False

        async def limited() -> Message:
            nonlocal received, complete
            if complete:  # the wait for the end of the connection, which takes as long as it takes
                return await receive()
            _check_length(max(announced, received), limit)
            _check_room(announced if limit > MAX_JSON_BYTES else 0)
            deadline = start + BODY_SECONDS + received / MIN_BYTES_PER_SECOND
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(
                    408,
                    f"the body arrived at less than {MIN_BYTES_PER_SECOND} bytes per second; "
                    "send it over a faster connection",
                ) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            # Also with a Content-Length: the parser of another server may take another one.
            _check_length(received, limit)
            return message

        await self._app(scope, limited, send)

    def _limit(self, scope: Scope, headers: Headers) -> int:
        user: User | None = scope.get("state", {}).get("user")
        if user is None or not user.roles:
            return MAX_SIGN_IN_BYTES
        method, path = scope["method"], scope["path"]
        takes_files = any(method == m and path.startswith(start) for m, start in UPLOADS)
        is_form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        return self._upload_bytes if takes_files and is_form else MAX_JSON_BYTES


def _check_length(length: int, limit: int) -> None:
    if length > limit:
        raise HTTPException(413, f"expected a body of at most {limit} bytes; got more")


def _check_room(length: int) -> None:
    """Refuse an upload that does not fit, with its copy, before its first byte is read."""
    try:
        if length and shutil.disk_usage(tempfile.gettempdir()).free < 2 * length:
            raise no_room()
    except FileNotFoundError as error:  # no folder in which a file can be made
        raise no_room() from error
