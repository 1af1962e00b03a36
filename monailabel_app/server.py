"""MONAI Label's server with our routes ahead of its own, and errors that clients can read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from monailabel.app import app as monai_app
from monailabel.interfaces.exception import (
    ImageNotFoundException,
    LabelNotFoundException,
    MONAILabelException,
)
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException

from lfusion.errors import CheckpointError, DatasetError, ImageError, LFusionError
from lfusion.protocol import ErrorBody
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.routes import router

logger = logging.getLogger(__name__)

_CODES = {404: "not_found", 409: "conflict", 429: "conflict"}


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
    # The traceback goes to the server's log alone.
    Exception: lambda _: _answer(500, "internal", "the server failed; its log says why"),
}


def _extended(app: FastAPI) -> FastAPI:
    """The app with our routes first, our error answers, and closed to other web pages."""
    theirs = len(app.router.routes)
    app.include_router(router)
    app.router.routes[:] = app.router.routes[theirs:] + app.router.routes[:theirs]
    # MONAI Label lets every page that a browser shows read the images. (Its setting for this
    # cannot be used: with it, the training process fails to print its own settings.)
    kept = [entry for entry in app.user_middleware if cast(object, entry.cls) != CORSMiddleware]
    app.user_middleware[:] = kept
    for kind, handle in _HANDLERS.items():

        def respond(
            request: Request, error: Exception, handle: Callable[[Any], JSONResponse] = handle
        ) -> JSONResponse:
            return handle(error)

        app.add_exception_handler(kind, respond)
    return app


app = _extended(monai_app)


def ready_app() -> FastAPI:
    """The same app with its model loaded, so that a bad checkpoint is told before serving.

    Raises:
        LFusionError: The model or the studies cannot be used.
    """
    app_instance()
    return app
