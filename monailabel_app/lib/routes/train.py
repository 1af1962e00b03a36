"""Training: MONAI Label's addresses, and ours for the whole status."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.interfaces.utils.app import app_instance

from lfusion.protocol import MODEL_NAME, TrainingStatus
from monailabel_app.lib.errors import UnknownNameError
from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.routes.common import Admin, AnyUser, JsonParams, known

router = APIRouter(tags=["Train"])


def _jobs() -> TrainingJobs:
    jobs: TrainingJobs = app_instance().training
    return jobs


@router.get("/training/")
def training_status(user: AnyUser) -> TrainingStatus:
    """How far the current or last training is."""
    return _jobs().record().public()


@router.get("/train/")
def train_task(user: AnyUser, all: bool = False, check_if_running: bool = False) -> Any:
    """The current or last training as a task of MONAI Label; 404 when there is none."""
    record = _jobs().record()
    if record.status == "idle" or (check_if_running and record.status != "running"):
        raise UnknownNameError("no training is running" if check_if_running else "no training yet")
    return [record.task()] if all else record.task()


@router.post("/train/", include_in_schema=False)
def train_all(user: Admin, params: JsonParams = None) -> dict[str, Any]:
    """Start the one training, as MONAI Label starts all of its."""
    given = (params or {}).get(MODEL_NAME)
    record = _jobs().start(given if isinstance(given, dict) else {}, app_instance().datastore())
    return {MODEL_NAME: {"result": record.task(), "detail": None}}


@router.post("/train/{model}")
def run_training(user: Admin, model: str, params: JsonParams = None) -> dict[str, Any]:
    """Start the training, in a process of its own; refused while one runs."""
    known("trainers", model)
    return _jobs().start(params or {}, app_instance().datastore()).task()


@router.delete("/train/")
def stop_training(user: Admin) -> dict[str, Any] | None:
    """End the training at once; the served model stays. `null` when none was running."""
    record = _jobs().stop()
    return None if record is None else record.task()
