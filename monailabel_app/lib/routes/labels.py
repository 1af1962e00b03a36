"""Labels: saved, read, described and removed."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, File, UploadFile
from fastapi.responses import Response
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from PIL import Image
from pydantic import ValidationError

from lfusion.protocol import MAP_TAGS, LabelVersion, SavedLabel, Submission
from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.labels import read_label
from monailabel_app.lib.routes.common import (
    Admin,
    Annotator,
    AnyUser,
    Params,
    author_of,
    file_answer,
    json_object,
    received,
)

router = APIRouter(tags=["Datastore"])

_ON_IMAGE = {"content-disposition": 'attachment; filename="label.png"'}


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
    author = author_of(user)
    instance = app_instance()
    with received(label) as sent:
        saved: SavedLabel = instance.datastore().saver.save(
            image, sent, tag or DefaultLabelTag.FINAL.value, submission, author
        )
    instance.on_save_label(image, saved.label)
    if saved.tag == DefaultLabelTag.FINAL:
        instance.automatic.note_saved(instance.datastore())
    return saved


@router.get("/datastore/label")
def download_label(
    user: AnyUser, label: str, tag: str, version: int | None = None, on_image: bool = False
) -> Response:
    """The file of a label or map; of a final label also an older version.

    With `on_image` a label comes as PNG in class numbers of the model, on the pixels of its image,
    of a cine its middle frame: whatever format, orientation and order of segments was saved.
    """
    if on_image and tag not in MAP_TAGS and version is None:
        return Response(_on_image(label, tag), media_type="image/png", headers=_ON_IMAGE)
    if version is None:
        return file_answer(_label_file(label, tag))
    if tag != DefaultLabelTag.FINAL:
        raise RequestError(f"expected the tag final for a version of a label; got {tag[:80]!r}")
    return file_answer(app_instance().datastore().saver.version_file(label, version))


@router.head("/datastore/label")
def check_label(user: AnyUser, image: str, tag: str) -> None:
    """Whether an image has a label of this tag."""
    _label_file(image, tag)


@router.delete("/datastore/label")
def remove_label(user: Admin, id: str, tag: str) -> dict[str, str]:
    """Delete a label; its versions are kept."""
    app_instance().datastore().remove_label(id, tag, author_of(user))
    return {}


@router.get("/datastore/label/info")
def label_info(user: AnyUser, label: str, tag: str) -> dict[str, Any]:
    """What clients stored with a label."""
    info: dict[str, Any] = app_instance().datastore().get_label_info(label, tag)
    if not info:
        raise _unknown(label, tag)
    return info


@router.put("/datastore/label/info")
def update_label_info(user: Annotator, label: str, tag: str, info: Params = "{}") -> None:
    """Store more with a label."""
    author = author_of(user)
    given = {**json_object(info, "info"), **({} if author is None else {"user": author})}
    app_instance().datastore().update_label_info(label, tag, given, author)


@router.put("/datastore/updatelabelinfo", include_in_schema=False)
def update_label_info_as_before(
    user: Annotator, label: str, tag: str, params: Params = "{}"
) -> None:
    """The same, as older clients of MONAI Label ask for it."""
    update_label_info(user, label, tag, params)


@router.get("/versions")
def label_versions(user: AnyUser, image: str) -> list[LabelVersion]:
    """The versions of the final label of an image, the oldest first."""
    versions: list[LabelVersion] = app_instance().datastore().saver.versions(image)
    return versions


def _on_image(image_id: str, tag: str) -> bytes:
    """A label as PNG on the pixels of its image."""
    store, file = app_instance().datastore(), Path(_label_file(image_id, tag))
    info = store.get_label_info(image_id, tag).get("label_info")
    mask = read_label(file, store.image_path(image_id), info, app_instance().served.labels())
    content = BytesIO()
    Image.fromarray(mask).save(content, "PNG")
    return content.getvalue()


def _label_file(image_id: str, tag: str) -> str:
    path: str = app_instance().datastore().get_label_uri(image_id, tag)
    if not path:
        raise _unknown(image_id, tag)
    return path


def _unknown(image_id: str, tag: str) -> UnknownNameError:
    return UnknownNameError(f"there is no label {tag[:80]!r} of an image {image_id[:80]!r}")
