"""Inference."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, UploadFile
from fastapi.responses import JSONResponse, Response
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from pydicom import dcmread
from urllib3 import encode_multipart_formdata
from urllib3.fields import RequestField

from lfusion.image import read_mask
from lfusion.image.decode import open_image
from lfusion.image.formats import Format
from monailabel_app.lib.capacity import predictions
from monailabel_app.lib.dicomweb.segmentation import write_segmentation
from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.infer.request import frame_asked
from monailabel_app.lib.routes.common import AnyUser, Params, json_object, received
from monailabel_app.lib.routes.session import known_session

router = APIRouter(tags=["Infer"])

_OURS = ("model", "image", "image_id", "session")
"""Keys of an inference request that say what is read; `params` may not set them."""


@router.post("/infer/{model}")
async def infer(
    user: AnyUser,
    model: str,
    image: str = "",
    session_id: str = "",
    params: Params = "{}",
    file: Annotated[UploadFile | None, File()] = None,
    output: Literal["image", "json", "all", "dicom_seg"] | None = None,
) -> Response:
    """Predict an image of the datastore, of a session, or one sent along."""
    work = partial(_infer, user, model, image, session_id, params, file, output)
    return await asyncio.get_running_loop().run_in_executor(predictions, work)


def _infer(
    user: User,
    model: str,
    image: str,
    session_id: str,
    params: str,
    file: UploadFile | None,
    output: str | None,
) -> Response:
    given = {key: value for key, value in json_object(params).items() if key not in _OURS}
    if output == "dicom_seg":
        return _dicom_seg(model, image, given)
    with _source(user, image, session_id, file) as source:
        result = app_instance().infer({**given, "model": model, "image": source})
    return _infer_response(Path(result["file"]), result["params"], output)


def _dicom_seg(model: str, image: str, given: dict[str, Any]) -> Response:
    """The mask of one DICOM frame as a DICOM SEG; of a cine the middle one unless one is named."""
    store = app_instance().datastore()
    path = Path(store.get_image_uri(image))
    if not path.is_file():
        raise UnknownNameError(f"there is no image {image[:80]!r} in the datastore")
    with open_image(path) as opened:
        frames = opened.layout.frames
        if opened.format != Format.DICOM:
            raise RequestError(
                f"expected the id of a DICOM image for a DICOM SEG; got {image[:80]!r}"
            )
    frame = frames // 2 if given.get("frame") is None else frame_asked(given)
    asked = {**given, "frame": frame, "result_extension": ".png"}
    result = app_instance().infer({**asked, "model": model, "image": image})
    file = Path(result["file"])
    try:
        mask = read_mask(file)
    finally:
        file.unlink()
    header = dcmread(path, stop_before_pixels=True)
    labels = result["params"]["label_names"]
    written = write_segmentation(header, mask, labels, frame if frames > 1 else None)
    buffer = BytesIO()
    written.save_as(buffer, write_like_original=False)
    return Response(buffer.getvalue(), media_type="application/dicom")


@contextmanager
def _source(
    user: User, image: str, session_id: str, file: UploadFile | None
) -> Iterator[str | Path]:
    """What to predict: an id, or the path of a file that this server received itself."""
    if file is not None:
        with received(file) as sent:
            yield sent
    elif session_id:
        yield Path(known_session(session_id, user, update_ts=True).image)
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
