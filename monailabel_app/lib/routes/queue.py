"""Which image comes next, and for whom."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from monailabel.endpoints import activelearning

from monailabel_app.lib.routes.common import AnyUser, JsonParams, known

router = APIRouter(tags=["ActiveLearning"])


@router.post("/activelearning/{strategy}")
def next_sample(user: AnyUser, strategy: str, params: JsonParams = None) -> Any:
    """Offer the next image to label; `{}` when nothing is left."""
    known("strategies", strategy)
    return activelearning.sample(strategy, params, user.username)
