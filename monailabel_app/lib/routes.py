"""Our routes, placed ahead of MONAI Label's under the same addresses.

Each is a plain `def`, so that the web framework runs it in a thread: MONAI
Label's own are `async def` around synchronous work, and one slow inference
holds up every other request.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, File, Form, Query, UploadFile
from fastapi.responses import JSONResponse, Response
from monailabel.config import settings
from monailabel.endpoints import activelearning, train
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from urllib3 import encode_multipart_formdata
from urllib3.fields import RequestField

from lfusion.image.formats import IMAGE_SUFFIXES, stem_of, suffix_of
from lfusion.protocol import MAP_TAGS, ScoringStatus
from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.names import check_image_id
from monailabel_app.lib.train import training_settings

router = APIRouter()

AnyUser = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
Annotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]
Admin = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]
Params = Annotated[str, Form()]
JsonParams = Annotated[dict[str, Any] | None, Body()]

_OURS = ("model", "image", "image_id", "session")
"""Keys of an inference request that say what is read; `params` may not set them."""


@router.post("/infer/{model}", tags=["Infer"])
def infer(
    user: AnyUser,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Params = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    output: Literal["image", "json", "all", "dicom_seg"] | None = None,
) -> Response:
    """Predict an image of the datastore, of a session, or one sent along."""
    if output == "dicom_seg":
        raise RequestError("expected output image, json or all; a folder store has no DICOM SEG")
    given = {key: value for key, value in _json_object(params).items() if key not in _OURS}
    with _source(image, session_id, file) as source:
        result = app_instance().infer({**given, "model": model, "image": source})
    return _infer_response(Path(result["file"]), result["params"], output)


@router.post("/activelearning/{strategy}", tags=["ActiveLearning"])
def next_sample(user: AnyUser, strategy: str, params: JsonParams = None) -> Any:
    """Offer the next image to label; `{}` when nothing is left."""
    _known("strategies", strategy)
    return activelearning.sample(strategy, params, user.username)


@router.get("/scoring/", tags=["Scoring"])
def scoring_status(user: AnyUser, check_if_running: bool = False) -> ScoringStatus:
    """How far the scoring of the pool is."""
    status: ScoringStatus = app_instance().pool_scoring.status
    if check_if_running and status.status != "running":
        raise UnknownNameError("no scoring is running")
    return status


@router.post("/scoring/{method}", tags=["Scoring"])
def run_scoring(user: Annotator, method: str, run_sync: bool = False) -> ScoringStatus:
    """Score the pool in this process: in the background, or waiting with `run_sync`."""
    _known("scoring", method)
    instance = app_instance()
    if run_sync:
        instance.scoring({"method": method})
    else:
        instance.pool_scoring.start(instance.datastore())
    status: ScoringStatus = instance.pool_scoring.status
    return status


@router.post("/train/{model}", tags=["Train"])
def run_training(user: Admin, model: str, params: JsonParams = None, run_sync: bool = False) -> Any:
    """Start the training, in a process of its own; refused while one runs."""
    _known("trainers", model)
    store = app_instance().datastore()
    if not store.get_labeled_images():
        raise RequestError("expected final labels to learn from; there is none; save one first")
    # MONAI Label also reads `bundle_path` and `gpus` from here, as paths and environment.
    given = training_settings(params or {})
    return train.run_model(model, given, run_sync, enqueue=False)


@router.put("/datastore/label", tags=["Datastore"])
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
    info = {**_json_object(params), "user": user.username}
    with _received(label) as received:
        saved = instance.datastore().save_label(
            image, str(received), tag or DefaultLabelTag.FINAL.value, info
        )
    instance.on_save_label(image, saved)
    return {"image": image, "label": saved}


@router.put("/datastore/", tags=["Datastore"], include_in_schema=False)
@router.put("/datastore/image", tags=["Datastore"])
def add_image(
    user: Annotator,
    file: Annotated[UploadFile, File()],
    image: Annotated[str | None, Query()] = None,
    params: Params = "{}",
) -> dict[str, str]:
    """Add an image to the pool."""
    info = _json_object(params)
    store = app_instance().datastore()
    name = image or _split(file.filename)[0]
    with _received(file) as received:
        return {"image": store.add_image(check_image_id(name), str(received), info)}


def _known(kind: str, name: str) -> None:
    """Refuse the name of a strategy, scoring method or trainer that does not exist."""
    names = app_instance().info()[kind]
    if name not in names:
        raise UnknownNameError(f"expected one of {', '.join(names)}; got {name[:80]!r}")


def _json_object(text: str) -> dict[str, Any]:
    """The form field `params`."""
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise RequestError(f"expected params as a JSON object; {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"expected params as a JSON object; got {text[:80]!r}")
    return value


def _split(filename: str | None) -> tuple[str, str]:
    """Stem and suffix of an upload, the suffix one that we can read."""
    path = Path(filename or "")
    suffix = suffix_of(path)
    if suffix not in IMAGE_SUFFIXES:
        raise RequestError(
            f"expected a file named with one of {', '.join(IMAGE_SUFFIXES)}; got {path.name[:80]!r}"
        )
    return stem_of(path), suffix


@contextmanager
def _received(upload: UploadFile) -> Iterator[Path]:
    """The upload as a file, for as long as the block runs."""
    suffix = _split(upload.filename)[1]
    with tempfile.TemporaryDirectory(prefix="lfusion-upload-") as folder:
        received = Path(folder) / f"upload{suffix}"
        with received.open("wb") as target:
            shutil.copyfileobj(upload.file, target)
        yield received


@contextmanager
def _source(image: str, session_id: str, file: UploadFile | None) -> Iterator[str | Path]:
    """What to predict: an id, or the path of a file that this server received itself."""
    if file is not None:
        with _received(file) as received:
            yield received
    elif session_id:
        session = app_instance().sessions().get_session(check_image_id(session_id))
        if session is None:
            raise UnknownNameError(f"there is no session {session_id[:80]!r}")
        yield Path(session.image)
    else:
        yield image


def _infer_response(mask: Path, params: dict[str, Any], output: str | None) -> Response:
    """MONAI Label's three forms of an answer; the mask file is gone afterwards."""
    content = mask.read_bytes()
    mask.unlink()
    kind = get_mime_type(mask.name)
    if output == "json":
        return JSONResponse(params)
    if output == "image":
        disposition = f'attachment; filename="{mask.name}"'
        return Response(content, media_type=kind, headers={"content-disposition": disposition})
    scalars = RequestField("params", json.dumps(params))
    scalars.make_multipart(content_type="application/json")
    body, form = encode_multipart_formdata([scalars, ("image", (mask.name, content, kind))])
    return Response(body, media_type=form)
