"""Routes for those who run the server: alive, ready, and figures for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from lfusion.protocol import ErrorBody
from monailabel_app.lib.readiness import Readiness
from monailabel_app.lib.routes.common import AnyUser


def monitoring_router(readiness: Readiness, registry: CollectorRegistry) -> APIRouter:
    """The routes over what is checked and counted.

    Args:
        readiness: Checks disk, index and model.
        registry: Counts and figures.
    """
    router = APIRouter(tags=["Monitoring"])

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Say that the server answers; needs no token, and waits for nothing."""
        return {"status": "ok"}

    @router.get("/ready", response_model=None)
    def ready() -> JSONResponse:
        """Say whether disk, index and model can be used; needs no token."""
        problems = readiness.problems()
        if not problems:
            return JSONResponse({"status": "ready"})
        body = ErrorBody(code="not_ready", message="; ".join(problems))
        return JSONResponse(body.model_dump(), status_code=503)

    @router.get("/metrics")
    def metrics(user: AnyUser) -> Response:
        """Figures in the text format of Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router
