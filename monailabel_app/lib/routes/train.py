"""Training."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints import train
from monailabel.interfaces.utils.app import app_instance

from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.routes.common import Admin, JsonParams, known
from monailabel_app.lib.train import training_settings

router = APIRouter(tags=["Train"])


@router.post("/train/{model}")
def run_training(user: Admin, model: str, params: JsonParams = None, run_sync: bool = False) -> Any:
    """Start the training, in a process of its own; refused while one runs."""
    known("trainers", model)
    store = app_instance().datastore()
    if not store.get_labeled_images():
        raise RequestError("expected final labels to learn from; there is none; save one first")
    # MONAI Label also reads `bundle_path` and `gpus` from here, as paths and environment.
    given = training_settings(params or {})
    return train.run_model(model, given, run_sync, enqueue=False)
