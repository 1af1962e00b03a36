"""Images and labels."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import Response
from monailabel.endpoints.user.auth import DEFAULT_USER
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from pydantic import ValidationError

from lfusion.protocol import MAP_TAGS, LabelVersion, SavedLabel, Submission
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.names import check_image_id
from monailabel_app.lib.routes.common import (
    Annotator,
    AnyUser,
    Params,
    json_object,
    received,
    split_name,
)
from monailabel_app.lib.thumbnails import thumbnail_png

router = APIRouter(tags=["Datastore"])


@router.put("/datastore/label")
def save_label(
    user: Annotator,
    image: str,
    label: Annotated[UploadFile, File()],
    params: Params = "{}",
    tag: str = "",
) -> SavedLabel:
    """Keep a label: checked against its image, versioned, and acknowledged when it is on disk."""
    if tag in MAP_TAGS:
        raise RequestError(f"expected the tag of a label; {tag!r} is a map that inference writes")
    try:
        submission = Submission.model_validate(json_object(params))
    except ValidationError as error:
        raise RequestError(f"expected params of a label; {error.errors()[0]['msg']}") from error
    author = None if user == DEFAULT_USER else user.username
    instance = app_instance()
    with received(label) as sent:
        saved: SavedLabel = instance.datastore().saver.save(
            image, sent, tag or DefaultLabelTag.FINAL.value, submission, author
        )
    instance.on_save_label(image, saved.label)
    return saved


@router.get("/versions")
def label_versions(user: AnyUser, image: str) -> list[LabelVersion]:
    """The versions of the final label of an image, the oldest first."""
    versions: list[LabelVersion] = app_instance().datastore().saver.versions(image)
    return versions


@router.get("/thumbnail")
def thumbnail(
    user: AnyUser, image: str, size: Annotated[int, Query(ge=16, le=512)] = 128
) -> Response:
    """A small PNG of an image; its longer side has `size` pixels."""
    path = app_instance().datastore().image_path(image)
    content = thumbnail_png(path, path.stat().st_mtime_ns, size)
    headers = {"cache-control": "private, max-age=300"}
    return Response(content, media_type="image/png", headers=headers)


@router.put("/datastore/", include_in_schema=False)
@router.put("/datastore/image")
def add_image(
    user: Annotator,
    file: Annotated[UploadFile, File()],
    image: Annotated[str | None, Query()] = None,
    params: Params = "{}",
) -> dict[str, str]:
    """Add an image to the pool."""
    info = json_object(params)
    store = app_instance().datastore()
    name = image or split_name(file.filename)[0]
    with received(file) as sent:
        return {"image": store.add_image(check_image_id(name), str(sent), info)}
