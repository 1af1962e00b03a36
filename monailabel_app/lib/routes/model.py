"""The served checkpoint as a file, and the way back to the one before."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, UploadFile
from fastapi.responses import FileResponse
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance

from lfusion.checkpoint import Checkpoint
from lfusion.errors import CheckpointError
from lfusion.protocol import MODEL_NAME
from monailabel_app.lib.datastore.journal import ModelEntry
from monailabel_app.lib.errors import RequestError, UnknownNameError, client_message
from monailabel_app.lib.routes.common import Admin, author_of, received_as
from monailabel_app.lib.served import ServedModel

router = APIRouter(prefix="/model", tags=["Model"])


def _served(model: str = MODEL_NAME) -> ServedModel:
    if model != MODEL_NAME:
        raise UnknownNameError(f"expected the model {MODEL_NAME}; got {model[:80]!r}")
    served: ServedModel = app_instance().served
    return served


@router.post("/rollback")
def rollback(user: Admin) -> dict[str, str]:
    """Serve the checkpoint before the present one; a second call takes it back."""
    return _recorded("rolled back", _served().rollback(), user)


@router.get("/info/{model}")
def model_info(user: Admin, model: str) -> dict[str, Any]:
    """Which checkpoint is served, and since when its file is there."""
    served = _served(model)
    return {
        "checkpoint_id": served.checkpoint_id,
        "modified_time": int(served.path.stat().st_mtime),
    }


@router.get("/{model}")
def download_model(user: Admin, model: str) -> FileResponse:
    """The served checkpoint, one safetensors file."""
    served = _served(model)
    name = f"{model}-{served.checkpoint_id}.safetensors"
    return FileResponse(served.path, media_type="application/octet-stream", filename=name)


@router.put("/{model}")
def upload_model(user: Admin, model: str, file: Annotated[UploadFile, File()]) -> dict[str, str]:
    """Serve a checkpoint made elsewhere, once it has been read and found to fit."""
    served = _served(model)
    with received_as(file, ".safetensors") as sent:
        try:
            checkpoint = Checkpoint.load(sent)
        except CheckpointError as error:
            raise RequestError(client_message(error)) from error
    if dict(checkpoint.labels) != dict(served.labels()):
        raise RequestError(
            f"expected a model of {dict(served.labels())}; got one of {dict(checkpoint.labels)}; "
            "the saved labels would not fit it"
        )
    return _recorded("uploaded", served.publish(checkpoint), user)


def _recorded(
    action: Literal["uploaded", "rolled back"], checkpoint_id: str, user: User
) -> dict[str, str]:
    """Put a change of the served model into the journal."""
    entry = ModelEntry(action=action, checkpoint_id=checkpoint_id, author=author_of(user))
    app_instance().datastore().record(entry)
    return {"checkpoint_id": checkpoint_id}
