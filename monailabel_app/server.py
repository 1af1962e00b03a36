"""MONAI Label's server with our routes for its own, guarded, and errors that clients can read."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.app import app as monai_app
from monailabel.config import settings
from monailabel.endpoints.user.auth import get_current_user
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelException,
)
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException
from starlette.types import Lifespan

from lfusion.errors import CheckpointError, DatasetError, ImageError, LFusionError
from lfusion.protocol import ErrorBody
from monailabel_app.lib.auth import Gate, LocalAdmission, TokenAdmission, current_user
from monailabel_app.lib.capacity import share_cores
from monailabel_app.lib.errors import RequestError, storage_error
from monailabel_app.lib.limits import DEFAULT_UPLOAD_MIB, MEBIBYTE, BodyLimit
from monailabel_app.lib.routes import router
from monailabel_app.lib.routes.auth import auth_router
from monailabel_app.lib.tokens import Tokens

logger = logging.getLogger(__name__)

_CODES = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    429: "too_many",
}

_KEPT = ("/", "/openapi.json", "/docs", "/favicon.ico", "/static")
"""MONAI Label's own addresses that are served as they are: files and the list of routes."""


def _answer(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse(ErrorBody(code=code, message=message).model_dump(), status_code=status)


def _on_ours(error: LFusionError) -> JSONResponse:
    if isinstance(error, RequestError):
        return _answer(error.status, error.code, str(error))
    if isinstance(error, (ImageError, DatasetError)):
        return _answer(400, "bad_image", str(error))
    logger.error("request failed: %s", error)
    return _answer(503 if isinstance(error, CheckpointError) else 500, "failed", str(error))


def _on_invalid(error: RequestValidationError) -> JSONResponse:
    problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return _answer(422, "bad_request", "; ".join(problems))


def _on_http(error: HTTPException) -> JSONResponse:
    code = "internal" if error.status_code >= 500 else "bad_request"
    answer = _answer(error.status_code, _CODES.get(error.status_code, code), str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


_HANDLERS: dict[type[Exception], Callable[[Any], JSONResponse]] = {
    LFusionError: _on_ours,
    RequestValidationError: _on_invalid,
    HTTPException: _on_http,
    ImageNotFoundException: lambda error: _answer(404, "not_found", error.msg),
    LabelNotFoundException: lambda error: _answer(404, "not_found", error.msg),
    MONAILabelException: lambda error: _answer(400, "bad_request", error.msg),
    sqlite3.OperationalError: lambda error: _on_ours(
        storage_error("the studies could not be changed", error)
    ),
    # The traceback goes to the server's log alone.
    Exception: lambda _: _answer(500, "internal", "the server failed; its log says why"),
}


def _extended(app: FastAPI, conf: Mapping[str, Any]) -> FastAPI:
    """The app with our routes instead of its own, our error answers, and closed to strangers."""
    app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", None) in _KEPT]
    app.include_router(router)
    token_file = conf.get("token_file")
    tokens = Tokens(Path(token_file)) if token_file else None
    if tokens is not None:
        app.include_router(auth_router(tokens))
    app.dependency_overrides[get_current_user] = current_user
    # MONAI Label lets every page that a browser shows read the images.
    app.user_middleware.clear()
    upload_mib = int(conf.get("max_upload_mib", DEFAULT_UPLOAD_MIB))
    app.add_middleware(BodyLimit, upload_bytes=upload_mib * MEBIBYTE)
    app.add_middleware(Gate, admission=TokenAdmission(tokens) if tokens else LocalAdmission())
    app.router.lifespan_context = _lifespan(app.router.lifespan_context)
    for kind, handle in _HANDLERS.items():

        def respond(
            request: Request, error: Exception, handle: Callable[[Any], JSONResponse] = handle
        ) -> JSONResponse:
            return handle(error)

        app.add_exception_handler(kind, respond)
    return app


def _lifespan(theirs: Lifespan[FastAPI]) -> Lifespan[FastAPI]:
    """MONAI Label's start and end; a training does not outlive the server."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with theirs(app) as state:
            yield state
        app_instance().training.close("the server was shut down")

    return lifespan


app = _extended(monai_app, settings.MONAI_LABEL_APP_CONF)


def ready_app() -> FastAPI:
    """The same app with its model loaded, so that a bad checkpoint is told before serving.

    Raises:
        LFusionError: The model or the studies cannot be used.
    """
    share_cores()
    app_instance()
    return app
