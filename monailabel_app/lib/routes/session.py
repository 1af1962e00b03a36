"""Images that a client brings along for a while, without adding them to the pool."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type

from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.names import check_image_id
from monailabel_app.lib.routes.common import AnyUser, received

router = APIRouter(prefix="/session", tags=["Session"])


@router.put("/")
def create_session(
    user: AnyUser,
    files: Annotated[list[UploadFile], File()],
    uncompress: bool = False,
    expiry: Annotated[int, Query(ge=0, le=settings.MONAI_LABEL_SESSION_EXPIRY)] = 0,
) -> dict[str, Any]:
    """Keep one image for this session."""
    if uncompress or len(files) != 1:
        raise RequestError(
            f"expected one image file that is no archive; got {len(files)}; send each image alone"
        )
    with received(files[0]) as sent:
        session_id, info = app_instance().sessions().add_session(str(sent), expiry)
    return {"session_id": session_id, "session_info": info.to_json()}


@router.get("/{session_id}")
def get_session(
    user: AnyUser, session_id: str, update_ts: bool = False, image: bool = False
) -> Any:
    """What is known of a session, or its image."""
    info = _known(session_id, update_ts)
    if image:
        return FileResponse(info.image, media_type=get_mime_type(info.image))
    return info.to_json()


@router.delete("/{session_id}")
def remove_session(user: AnyUser, session_id: str) -> Any:
    """Forget a session and its image."""
    info = _known(session_id)
    app_instance().sessions().remove_session(session_id)
    return info.to_json()


def _known(session_id: str, update_ts: bool = False) -> Any:
    """The session of an id that is no path."""
    info = app_instance().sessions().get_session(check_image_id(session_id), update_ts=update_ts)
    if info is None:
        raise UnknownNameError(f"there is no session {session_id[:80]!r}")
    return info
