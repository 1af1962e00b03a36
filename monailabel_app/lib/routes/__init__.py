"""Our routes in place of MONAI Label's, under the same addresses, one topic a module.

Each runs in a thread: as a plain `def` in one of the web framework's, inference
in one of its own (see `capacity`). MONAI Label's own are `async def` around
synchronous work, and one slow inference holds up every other request.
"""

from fastapi import APIRouter

from monailabel_app.lib.routes import (
    closed,
    datastore,
    infer,
    info,
    labels,
    model,
    ohif,
    proxy,
    queue,
    scoring,
    session,
    train,
)

router = APIRouter()
for _topic in (
    info,
    infer,
    queue,
    scoring,
    train,
    model,
    datastore,
    labels,
    session,
    ohif,
    proxy,
    closed,
):
    router.include_router(_topic.router)

__all__ = ["router"]
