"""What MONAI Label offers and this server does not, each with the reason.

Its routes are left out altogether; these answers are for those who look for them.
"""

from __future__ import annotations

from fastapi import APIRouter

from monailabel_app.lib.errors import ForbiddenError
from monailabel_app.lib.routes.common import AnyUser

router = APIRouter(include_in_schema=False)

_REASONS = {
    "/reload": "it would forget what runs; restart the server",
    "/logs/{path:path}": "the log goes to where the server was started",
    "/batch/{path:path}": "score the pool with POST /scoring/epistemic, which predicts each image",
    "/infer/wsi/{path:path}": "whole-slide inference is not for ultrasound; use /infer/lfusion",
    "/infer/wsi_v2/{path:path}": "whole-slide inference is not for ultrasound; use /infer/lfusion",
    "/datastore/dataset": "it would pack all studies into memory; copy the studies folder",
}
_METHODS = ["GET", "PUT", "POST", "DELETE"]


def _close(path: str, reason: str) -> None:
    def closed(user: AnyUser) -> None:
        raise ForbiddenError(f"this server does not offer {path.partition('{')[0]}: {reason}")

    router.add_api_route(path, closed, methods=_METHODS)


for _path, _reason in _REASONS.items():
    _close(_path, _reason)
