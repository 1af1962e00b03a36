"""What a client can do wrong, each with the HTTP status and code that say so."""

from __future__ import annotations

from typing import ClassVar

from lfusion.errors import ImageError, LFusionError


def client_message(error: Exception) -> str:
    """The text of an error for a client: without the path of a file of this server."""
    if isinstance(error, ImageError):
        return error.reason
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


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
