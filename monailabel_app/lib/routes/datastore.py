"""The images, and the listing of all that is there."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Query, UploadFile
from fastapi.responses import FileResponse, Response
from monailabel.endpoints.user.auth import DEFAULT_USER, User
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import file_checksum

from monailabel_app.lib.capacity import decodings
from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.names import check_image_id
from monailabel_app.lib.routes.common import (
    Admin,
    Annotator,
    AnyUser,
    Params,
    author_of,
    file_answer,
    for_client,
    json_object,
    received,
    split_name,
)
from monailabel_app.lib.thumbnails import FileStamp, thumbnail_png

router = APIRouter(tags=["Datastore"])

_CHECKSUMS = ("SHA256", "SHA512", "MD5")


@router.get("/datastore/")
def listing(user: AnyUser, output: Literal["train", "stats", "all"] = "stats") -> Response:
    """How much is there; every image with its labels; or the pairs to train with."""
    store = app_instance().datastore()
    read = {"all": store.json, "train": partial(_pairs, user), "stats": store.status}[output]
    # Plain JSON already: the framework's own encoder would take seconds for a large pool.
    return Response(json.dumps(read()), media_type="application/json")


def _pairs(user: User) -> list[dict[str, str]]:
    """The pairs to train with, as paths for programs of this machine, else inside the studies."""
    store = app_instance().datastore()
    pairs: list[dict[str, str]] = store.datalist()
    if user == DEFAULT_USER:
        return pairs
    root = store.folder.root
    return [
        {key: str(Path(path).relative_to(root)) for key, path in pair.items()} for pair in pairs
    ]


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
        return {"image": store.add_image(check_image_id(name), str(sent), info, author_of(user))}


@router.delete("/datastore/", include_in_schema=False)
@router.delete("/datastore/image")
def remove_image(user: Admin, id: str) -> dict[str, str]:
    """Delete an image with its labels and their versions."""
    app_instance().datastore().remove_image(id, author_of(user))
    return {}


@router.get("/datastore/image")
def download_image(user: AnyUser, image: str) -> FileResponse:
    """The file of an image."""
    return file_answer(str(app_instance().datastore().image_path(image)))


@router.head("/datastore/image")
def check_image(user: AnyUser, image: str, check_sum: str = "") -> None:
    """Whether there is an image, and its file is the one that the client knows."""
    path = app_instance().datastore().image_path(image)
    algorithm, _, digest = check_sum.rpartition(":")
    algorithm = algorithm or _CHECKSUMS[0]
    if algorithm not in _CHECKSUMS:
        raise RequestError(
            f"expected a checksum ALGORITHM:DIGEST with one of {', '.join(_CHECKSUMS)}; got "
            f"{check_sum[:80]!r}"
        )
    if not path.is_file() or (digest and file_checksum(path, algorithm) != f"{algorithm}:{digest}"):
        raise UnknownNameError(f"there is no image {image[:80]!r} with this content")


@router.get("/datastore/image/info")
def image_info(user: AnyUser, image: str) -> dict[str, Any]:
    """What clients stored with an image, its path and its score."""
    info: dict[str, Any] = app_instance().datastore().get_image_info(image)
    if not info:
        raise UnknownNameError(f"there is no image {image[:80]!r} in the datastore")
    return for_client(info, user)


@router.put("/datastore/image/info")
def update_image_info(user: Annotator, image: str, info: Params = "{}") -> None:
    """Store more with an image."""
    author = author_of(user)
    given = {**json_object(info, "info"), **({} if author is None else {"user": author})}
    app_instance().datastore().update_image_info(image, given, author)


@router.get("/thumbnail")
async def thumbnail(
    user: AnyUser, image: str, size: Annotated[int, Query(ge=16, le=512)] = 128
) -> Response:
    """Draw a small PNG of an image; its longer side has `size` pixels."""
    work = partial(_thumbnail, image, size)
    return await asyncio.get_running_loop().run_in_executor(decodings, work)


def _thumbnail(image: str, size: int) -> Response:
    path = app_instance().datastore().image_path(image)
    try:
        stamp = FileStamp.of(path)
    except FileNotFoundError as error:
        raise UnknownNameError(f"the file of image {image[:80]!r} is no longer there") from error
    content = thumbnail_png(path, stamp, size)
    headers = {"cache-control": "private, max-age=300"}
    return Response(content, media_type="image/png", headers=headers)
