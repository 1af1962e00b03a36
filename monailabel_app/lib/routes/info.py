"""What the server is and how far it is: asked for every few seconds by every client."""

from __future__ import annotations

import json
from functools import partial

from anyio import to_thread
from fastapi import APIRouter
from fastapi.responses import Response
from monailabel.interfaces.utils.app import app_instance

from lfusion.protocol import INFO_KEY
from monailabel_app.lib.auth import role_of
from monailabel_app.lib.routes.common import AnyUser
from monailabel_app.lib.tokens import Role

router = APIRouter(tags=["App"])


@router.get("/info/")
async def info(user: AnyUser) -> Response:
    """Models, strategies, labels and how far the work is, and what is beyond MONAI Label."""
    content = partial(_info, role_of(user))
    # Reads of what is in memory: for a thread it would wait longer, behind the predictions.
    if app_instance().served.is_loaded():
        return content()
    return await to_thread.run_sync(content)


def _info(role: Role) -> Response:
    app = app_instance()
    capabilities = app.capabilities(role).model_dump(mode="json")
    # Plain JSON already: the framework's own encoder would take longer than all the rest.
    content = json.dumps({**app.info(), INFO_KEY: capabilities}, default=str)
    return Response(content, media_type="application/json")
