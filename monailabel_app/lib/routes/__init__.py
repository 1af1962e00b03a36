"""Our routes, placed ahead of MONAI Label's under the same addresses, one topic a module.

Each is a plain `def`, so that the web framework runs it in a thread: MONAI
Label's own are `async def` around synchronous work, and one slow inference
holds up every other request.
"""

from fastapi import APIRouter

from monailabel_app.lib.routes import datastore, infer, queue, scoring, train

router = APIRouter()
for _topic in (infer, queue, scoring, train, datastore):
    router.include_router(_topic.router)

__all__ = ["router"]
