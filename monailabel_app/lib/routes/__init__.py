"""Our routes, placed ahead of MONAI Label's under the same addresses, one topic a module.

Each is a plain `def`, so that the web framework runs it in a thread: MONAI
Label's own are `async def` around synchronous work, and one slow inference
holds up every other request.
"""

from fastapi import APIRouter

from monailabel_app.lib.routes import (
    closed,
    datastore,
    infer,
    info,
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
    session,
    ohif,
    proxy,
    closed,
):
    router.include_router(_topic.router)

__all__ = ["router"]
