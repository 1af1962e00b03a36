"""Who calls: tokens and roles, or, without tokens, only programs of this machine.

Everything is refused unless the gate lets it in; what an annotator may do is then said at each
route by MONAI Label's own role check, which gets its user from here instead of from a JWT.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from fastapi import Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import DEFAULT_USER, User
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lfusion._hosts import is_loopback
from lfusion.protocol import ErrorBody
from monailabel_app.lib.errors import ForbiddenError, RequestError, UnauthenticatedError
from monailabel_app.lib.tokens import Role, TokenFileError, Tokens

logger = logging.getLogger(__name__)

PUBLIC = frozenset(
    {("GET", "/health"), ("GET", "/ready"), ("GET", "/auth/"), ("POST", "/auth/token")}
)
"""What answers without a token: nothing of the studies."""


class Admission(Protocol):
    """Decides about a request before anything else sees it."""

    def admit(self, method: str, path: str, headers: Headers) -> User:
        """Let a request in.

        Args:
            method: Of the request.
            path: Of the address.
            headers: Of the request.

        Returns:
            Who calls.

        Raises:
            RequestError: The request is refused.
        """


@dataclass(frozen=True)
class TokenAdmission:
    """Everybody with a known token.

    Attributes:
        tokens: The known ones.
    """

    tokens: Tokens

    def admit(self, method: str, path: str, headers: Headers) -> User:
        """See `Admission`."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        account = self.tokens.account(token.strip()) if scheme.lower() == "bearer" else None
        if account is not None:
            return account.user
        if (method, path) in PUBLIC:
            return User(username="", roles=[])
        raise UnauthenticatedError(
            "expected the header `Authorization: Bearer TOKEN` with a token of this server; ask "
            "its administrator for one"
        )


@dataclass(frozen=True)
class LocalAdmission:
    """Programs of this machine, but no web page that its browser happens to show.

    A page of another site can send requests to 127.0.0.1, and by a name of its own that resolves
    to 127.0.0.1 even read the answers. The browser says so in `Origin` and `Host`.
    """

    def admit(self, method: str, path: str, headers: Headers) -> User:
        """See `Admission`."""
        host = headers.get("host", "")
        if not is_loopback(_split(f"//{host}").hostname or ""):
            raise ForbiddenError(
                f"expected a request to localhost; got one to {host[:80]!r}; to serve other names "
                "start with --token-file"
            )
        origin = headers.get("origin")
        if origin is not None and _split(origin).netloc != host:
            raise ForbiddenError("expected a request of a program or of this server's own pages")
        return DEFAULT_USER


def _split(address: str) -> SplitResult:
    """The parts of an address; none when it is no address."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


class Gate:
    """Stands before all routes, also those that check nothing themselves.

    Args:
        app: What answers those who are let in.
        admission: Who is.
    """

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            user = self._admission.admit(
                scope.get("method", "GET"), scope["path"], Headers(scope=scope)
            )
        except RequestError as error:
            logger.warning("refused %s: %s", scope["path"][:80].encode(), error.code)
            await _refusal(error.status, error.code, str(error))(scope, receive, send)
        except TokenFileError as error:
            logger.error("%s", error)
            await _refusal(503, "failed", "the server's token file is damaged; its log says more")(
                scope, receive, send
            )
        else:
            scope.setdefault("state", {})["user"] = user
            await self._app(scope, receive, send)


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(ErrorBody(code=code, message=message).model_dump(), status, headers)


async def current_user(request: Request) -> User:
    """Who was let in; takes the place of MONAI Label's reading of a JWT.

    It waits for nothing; a plain `def` would need a thread for each request.

    Args:
        request: Of the user.

    Returns:
        The user with MONAI Label's role names.
    """
    user: User = request.state.user
    return user


def role_of(user: User) -> Role:
    """What a user may do."""
    return "admin" if settings.MONAI_LABEL_AUTH_ROLE_ADMIN in user.roles else "annotator"
