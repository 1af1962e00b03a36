"""Images that a client brings along for a while, without adding them to the pool."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from monailabel.utils.sessions import SessionInfo

from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.names import check_image_id
from monailabel_app.lib.routes.common import AnyUser, received
from monailabel_app.lib.sessions import LimitedSessions, owner_of, public

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
        session_id, info = _sessions().add_user_session(sent, expiry, user.username)
    return {"session_id": session_id, "session_info": public(info)}


@router.get("/{session_id}")
def get_session(
    user: AnyUser, session_id: str, update_ts: bool = False, image: bool = False
) -> Any:
    """What is known of a session, or its image."""
    info = known_session(session_id, user, update_ts)
    if image:
        return FileResponse(info.image, media_type=get_mime_type(info.image))
    return public(info)


@router.delete("/{session_id}")
def remove_session(user: AnyUser, session_id: str) -> Any:
    """Forget a session and its image."""
    info = known_session(session_id, user)
    _sessions().remove_session(session_id)
    return public(info)


def _sessions() -> LimitedSessions:
    sessions: LimitedSessions = app_instance().sessions()
    return sessions


def known_session(session_id: str, user: User, update_ts: bool = False) -> SessionInfo:
    """A session of the user who asks.

    Args:
        session_id: As the client sent it.
        user: Who asks.
        update_ts: Whether the time until it expires begins again.

    Raises:
        InvalidNameError: The id cannot be a name.
        UnknownNameError: This user has no such session.
    """
    info = _sessions().get_session(check_image_id(session_id), update_ts=update_ts)
    if info is None or owner_of(info) != user.username:
        raise UnknownNameError(f"there is no session {session_id[:80]!r}")
    return info
