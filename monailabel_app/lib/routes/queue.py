"""Which image comes next, and for whom."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from monailabel.interfaces.utils.app import app_instance

from lfusion.protocol import Aside, Lease
from lfusion.protocol import Queue as QueueMessage
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.routes.common import (
    Annotator,
    AnyUser,
    JsonParams,
    author_of,
    for_client,
    known,
)
from monailabel_app.lib.strategies import USER_KEY, checked_client_id

router = APIRouter(tags=["ActiveLearning"])

_MAX_LISTED = 1000


@router.post("/activelearning/{strategy}")
def next_sample(user: AnyUser, strategy: str, params: JsonParams = None) -> Any:
    """Offer the next image to label; `{}` when nothing is left."""
    known("strategies", strategy)
    instance = app_instance()
    sample = instance.next_sample(
        {**(params or {}), "strategy": strategy, USER_KEY: author_of(user)}
    )
    if not sample:
        return {}
    return for_client({**instance.datastore().get_image_info(sample["id"]), **sample}, user)


@router.get("/queue")
def queue(
    user: AnyUser,
    strategy: str = "",
    limit: Annotated[int, Query(ge=1, le=_MAX_LISTED)] = 50,
) -> QueueMessage:
    """The pool in the order of a strategy, by default the first one."""
    instance = app_instance()
    strategies = instance.strategies()
    name = strategy or next(iter(strategies))
    known("strategies", name)
    strategies[name].ensure()
    listing: QueueMessage = instance.queue.listing(
        strategies[name].order, instance.served.checkpoint_id, limit
    )
    return listing


@router.put("/lease")
def renew_lease(user: Annotator, image: str, client_id: str) -> Lease:
    """Begin the time of a lease anew."""
    lease: Lease = app_instance().leases.renew(image, _named(client_id), author_of(user))
    return lease


@router.delete("/lease")
def release_lease(user: Annotator, image: str, client_id: str) -> dict[str, str]:
    """Give an image back."""
    app_instance().leases.release(image, _named(client_id), author_of(user))
    return {}


@router.post("/skip")
def skip(user: Annotator, aside: Aside) -> dict[str, str]:
    """Set an image aside: not now, not by me."""
    app_instance().datastore().set_aside(
        aside.image, "skipped", aside.reason, aside.client_id, author_of(user)
    )
    return {}


@router.delete("/skip")
def undo_skip(user: Annotator, image: str, client_id: str = "") -> dict[str, str]:
    """Take a skipped image back into the pool."""
    app_instance().datastore().take_back(
        image, "skipped", checked_client_id(client_id), author_of(user)
    )
    return {}


@router.post("/flag")
def flag(user: Annotator, aside: Aside) -> dict[str, str]:
    """Set an image aside: someone should look."""
    app_instance().datastore().set_aside(
        aside.image, "flagged", aside.reason, aside.client_id, author_of(user)
    )
    return {}


@router.delete("/flag")
def undo_flag(user: Annotator, image: str, client_id: str = "") -> dict[str, str]:
    """Take a flagged image back into the pool."""
    app_instance().datastore().take_back(
        image, "flagged", checked_client_id(client_id), author_of(user)
    )
    return {}


def _named(client_id: str) -> str:
    """The client's id, which these requests need."""
    checked = checked_client_id(client_id)
    if checked is None:
        raise RequestError("expected client_id to say whose lease it is; got none")
    return checked
