"""Images and labels."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, File, Query, UploadFile
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance

from lfusion.protocol import MAP_TAGS
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.names import check_image_id
from monailabel_app.lib.routes.common import (
    Annotator,
    Params,
    json_object,
    received,
    split_name,
)

router = APIRouter(tags=["Datastore"])


@router.put("/datastore/label")
def save_label(
    user: Annotator,
    image: str,
    label: Annotated[UploadFile, File()],
    params: Params = "{}",
    tag: str = "",
) -> dict[str, Any]:
    """Keep a label: checked against its image, and replaced as a whole or not at all."""
    if tag in MAP_TAGS:
        raise RequestError(f"expected the tag of a label; {tag!r} is a map that inference writes")
    instance = app_instance()
    info = {**json_object(params), "user": user.username}
    with received(label) as sent:
        saved = instance.datastore().save_label(
            image, str(sent), tag or DefaultLabelTag.FINAL.value, info
        )
    instance.on_save_label(image, saved)
    return {"image": image, "label": saved}


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
