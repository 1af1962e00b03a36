"""What can go wrong between the annotator and the server, one type per thing to do about it."""

from __future__ import annotations

from typing import ClassVar

from lfusion.errors import LFusionError


class BackendError(LFusionError):
    """Base of everything that a backend raises.

    Attributes:
        passing: Whether the same request may succeed later without anybody changing anything.
    """

    passing: ClassVar[bool] = False


class UnreachableError(BackendError):
    """No answer: nobody listens there, the connection broke, or TLS failed."""

    passing = True


class TimedOutError(UnreachableError):
    """The server did not answer in time; what was asked may have been done all the same."""


class UnauthenticatedError(BackendError):
    """401: the token is missing, wrong or expired; connect again with another."""


class ForbiddenError(BackendError):
    """403: the token is good, but not for this."""


class UnknownIdError(BackendError):
    """404: the server has no such image, label, model or route."""


class ConflictError(BackendError):
    """409: somebody else holds the image, or the thing asked for is going on already."""


class BusyError(BackendError):
    """429: the server asks to come back later.

    Attributes:
        retry_after_s: When, in seconds from now; None when it does not say.
    """

    passing = True

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RefusedError(BackendError):
    """400, 413 or 422: the server understands the request and will never grant it as it is."""


class ServerFailedError(BackendError):
    """5xx: the server failed; its log says why."""

    passing = True


class BadAnswerError(BackendError):
    """The answer is not what the protocol promises: another program, or a broken proxy."""


class NotOfferedError(BackendError):
    """This backend cannot do that; `BackendInfo` said so beforehand."""


class IllegalTransitionError(LFusionError):
    """The session is in a state from which this step is not possible."""


class WorkspaceError(LFusionError):
    """The folder of journal, outbox and log cannot be used."""


class WorkspaceInUseError(WorkspaceError):
    """Another window of this user works on the same server."""
