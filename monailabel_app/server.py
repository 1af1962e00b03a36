"""MONAI Label's server with our routes for its own, guarded, and errors that clients can read."""

from __future__ import annotations

import logging
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
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

from lfusion.errors import (
    CheckpointError,
    DatasetError,
    ImageError,
    ImageWriteError,
    LFusionError,
    TooLargeError,
)
from lfusion.protocol import ErrorBody
from monailabel_app.lib.auth import Gate, LocalAdmission, TokenAdmission, current_user
from monailabel_app.lib.capacity import share_cores
from monailabel_app.lib.datastore import STATE_FOLDER
from monailabel_app.lib.dicomweb import is_remote
from monailabel_app.lib.errors import RequestError, StorageError, client_message, storage_error
from monailabel_app.lib.limits import (
    DEFAULT_UPLOAD_MIB,
    MAX_JSON_BYTES,
    MEBIBYTE,
    NO_ROOM,
    BodyLimit,
    no_room,
)
from monailabel_app.lib.monitoring import Monitoring, make_registry
from monailabel_app.lib.readiness import Readiness
from monailabel_app.lib.routes import router
from monailabel_app.lib.routes.auth import auth_router
from monailabel_app.lib.routes.monitoring import monitoring_router
from monailabel_app.lib.tokens import Tokens, check_place

logger = logging.getLogger(__name__)

_CODES = {
    401: "unauthenticated",
    408: "too_slow",
    403: "forbidden",
    404: "not_found",
    409: "conflict",
    413: "too_large",
    429: "too_many",
    507: "failed",
}

_KEPT = ("/", "/openapi.json", "/docs", "/favicon.ico", "/static")
"""MONAI Label's own addresses that are served as they are: files and the list of routes."""


def _on_os(error: OSError) -> JSONResponse:
    logger.error("request failed", exc_info=error)
    if error.errno in NO_ROOM:
        return _on_http(no_room())
    return _answer(500, "internal", "the server failed; its log says why")


def _answer(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse(ErrorBody(code=code, message=message).model_dump(), status_code=status)


def _on_ours(error: LFusionError) -> JSONResponse:
    message = client_message(error)
    if isinstance(error, RequestError):
        return _answer(error.status, error.code, message)
    if isinstance(error, ImageWriteError):
        logger.error("request failed: %s", error)
        return _answer(507, "failed", f"the server cannot write the result: {message}")
    if isinstance(error, TooLargeError):
        return _answer(413, "too_large", message)
    if isinstance(error, (ImageError, DatasetError)):
        return _answer(400, "bad_image", message)
    logger.error("request failed: %s", error)
    return _answer(503 if isinstance(error, CheckpointError) else 500, "failed", message)


def _on_invalid(error: RequestValidationError) -> JSONResponse:
    problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return _answer(422, "bad_request", "; ".join(problems))


def _on_http(error: HTTPException) -> JSONResponse:
    # FastAPI turns every error of a form that is being received into a 400.
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in NO_ROOM:
        error = no_room()
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
    OSError: _on_os,
    # The traceback goes to the server's log alone.
    Exception: lambda _: _answer(500, "internal", "the server failed; its log says why"),
}


def _folders(conf: Mapping[str, Any]) -> dict[str, Path]:
    """The folders that need room, by the name that people know them by.

    Raises:
        StorageError: No folder for temporary files can be written to.
    """
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise StorageError(
            "no folder for temporary files can be written to; make room in it, or name another "
            "one by the environment variable TMPDIR"
        ) from error
    state = Path(conf.get("state") or Path(settings.MONAI_LABEL_STUDIES, STATE_FOLDER))
    studies = state if is_remote(settings.MONAI_LABEL_STUDIES) else settings.MONAI_LABEL_STUDIES
    return {
        "studies": Path(studies).resolve(),
        "state": state.resolve(),
        "temporary files": temporary,
    }


def _extended(app: FastAPI, conf: Mapping[str, Any]) -> FastAPI:
    """The app with our routes instead of its own, our error answers, and closed to strangers."""
    app.router.routes[:] = [r for r in app.router.routes if getattr(r, "path", None) in _KEPT]
    folders = _folders(conf)
    registry = make_registry(folders)
    # Of one form: its one file goes to the disk, its fields stay in memory.
    routes = APIRouter(
        form_limits={"max_files": 1, "max_fields": 8, "max_part_size": MAX_JSON_BYTES}
    )
    routes.include_router(router)
    routes.include_router(monitoring_router(Readiness(folders), registry))
    token_file = conf.get("token_file")
    tokens = None
    if token_file:
        check_place(Path(token_file), [folders["studies"], folders["state"]])
        tokens = Tokens(Path(token_file))
        routes.include_router(auth_router(tokens))
    app.include_router(routes)
    app.dependency_overrides[get_current_user] = current_user
    # MONAI Label lets every page that a browser shows read the images.
    app.user_middleware.clear()
    upload_mib = int(conf.get("max_upload_mib", DEFAULT_UPLOAD_MIB))
    app.add_middleware(BodyLimit, upload_bytes=upload_mib * MEBIBYTE)
    app.add_middleware(Gate, admission=TokenAdmission(tokens) if tokens else LocalAdmission())
    access_log = conf.get("access_log") == "true"
    app.add_middleware(Monitoring, registry=registry, access_log=access_log)
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
