"""Training: MONAI Label's addresses, and ours for the whole status."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints.user.auth import User
from monailabel.interfaces.utils.app import app_instance

from lfusion.protocol import MODEL_NAME, TrainingStatus
from monailabel_app.lib.datastore.journal import TrainingEntry
from monailabel_app.lib.errors import UnknownNameError
from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.routes.common import Admin, AnyUser, JsonParams, author_of, known
from monailabel_app.lib.training_state import TrainingRecord

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
    record = _started(given if isinstance(given, dict) else {}, user)
    return {MODEL_NAME: {"result": record.task(), "detail": None}}


@router.post("/train/{model}")
def run_training(user: Admin, model: str, params: JsonParams = None) -> dict[str, Any]:
    """Start the training, in a process of its own; refused while one runs."""
    known("trainers", model)
    return _started(params or {}, user).task()


@router.delete("/train/")
def stop_training(user: Admin) -> dict[str, Any] | None:
    """End the training at once; the served model stays. `null` when none was running."""
    record = _jobs().stop()
    if record is None:
        return None
    _record("stop requested", record, user)
    return record.task()


def _started(params: dict[str, Any], user: User) -> TrainingRecord:
    """Start the training, and put that into the journal."""
    record = _jobs().start(params, app_instance().datastore())
    _record("started", record, user)
    return record


def _record(action: str, record: TrainingRecord, user: User) -> None:
    entry = TrainingEntry(
        action=action, training=record.id, detail=record.mode or "", author=author_of(user)
    )
    app_instance().datastore().record(entry)
