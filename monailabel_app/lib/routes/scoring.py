"""Scoring of the pool."""

from __future__ import annotations

from fastapi import APIRouter
from monailabel.interfaces.utils.app import app_instance

from lfusion.protocol import ScoringStatus
from monailabel_app.lib.errors import UnknownNameError
from monailabel_app.lib.routes.common import Annotator, AnyUser, known

router = APIRouter(tags=["Scoring"])


@router.get("/scoring/")
def scoring_status(user: AnyUser, check_if_running: bool = False) -> ScoringStatus:
    """How far the scoring of the pool is."""
    status: ScoringStatus = app_instance().pool_scoring.status
    if check_if_running and status.status != "running":
        raise UnknownNameError("no scoring is running")
    return status


@router.post("/scoring/{method}")
def run_scoring(user: Annotator, method: str, run_sync: bool = False) -> ScoringStatus:
    """Score the pool in this process: in the background, or waiting with `run_sync`."""
    known("scoring", method)
    instance = app_instance()
    if run_sync:
        instance.scoring({"method": method})
    else:
        instance.pool_scoring.start()
    status: ScoringStatus = instance.pool_scoring.status
    return status
