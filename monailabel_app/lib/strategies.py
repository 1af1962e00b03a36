"""Which image to label next: strategies that sort stored scores."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from lfusion.acquisition import random_score
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.planning import BatchPlanning
from monailabel_app.lib.queue import LabellingQueue, Offer
from monailabel_app.lib.scoring import PoolScoring
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.why import Order

USER_KEY = "lfusion_user"
"""In the request of a strategy: the signed-in user, or None without tokens."""

_MAX_CLIENT_ID = 200

_PLANNED_DESCRIPTIONS = {
    "epistemic_spread": "What the model knows least about and that looks unlike what is labelled",
    "information_gain": "The batch whose labels together tell the weights of the model's head most",
    "egad": "Of the most uncertain images those least like the labelled ones",
    "coreset": "The open image that looks least like the labelled ones; needs no model that works",
    "typiclust": "A typical image of the largest group without a label; for the first labels",
    "stratified_random": "At random, but from each kind of image in proportion",
}


class QueueStrategy(Strategy):  # type: ignore[misc]  # MONAI Label has no types
    """Offers the first image of the queue in one order.

    Args:
        order: Of the queue.
        queue: The pool.
        served: The model whose scores count.
        scoring: Makes scores that are missing, after a retraining or for new images.
        planning: Makes the batches of an order that is planned.
    """

    def __init__(
        self,
        order: Order,
        queue: LabellingQueue,
        served: ServedModel,
        scoring: PoolScoring,
        planning: BatchPlanning,
    ) -> None:
        super().__init__(_description(order))
        self.order = order
        self._queue = queue
        self._served = served
        self._scoring = scoring
        self._planning = planning

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Offer an image, and lease it to the client.

        It does not wait for the pool to be scored. Only when no image that could be offered has a
        score, a few are scored first.

        Args:
            request: `USER_KEY`, which only our route sets; `client_id`, without which there is
                no lease; and for `random` `seed`, an integer that makes the choice repeatable.
            datastore: Ignored; MONAI Label passes it.

        Returns:
            `id`, `score`, `pool` (how many images are open), `why`, `lease` and `base_version`,
            or None when nothing is left to label.

        Raises:
            RequestError: The client's id is no short text.
            LFusionError: Scores were missing and could not be made.
        """
        client_id = checked_client_id(request.get("client_id"))
        complete = self.ensure()
        offer = self._offer(request, client_id)
        while offer is None and not complete and self._scoring.score_first():
            offer = self._offer(request, client_id)
        if offer is None:
            return None
        why = offer.why
        if not complete and self.order.score_name is not None:
            status = self._scoring.status
            progress = f" Scoring goes on ({status.done} of {status.total} images)."
            why = why.model_copy(update={"sentence": why.sentence + progress})
        if unlearned := self._served.unlearned():
            known = f" The model has not learned {', '.join(unlearned)} yet."
            why = why.model_copy(update={"sentence": why.sentence + known})
        answer = {
            "id": offer.id,
            "pool": offer.pool,
            "why": why.model_dump(),
            "base_version": offer.base_version,
        }
        if why.score is not None:
            answer["score"] = why.score
        if offer.lease is not None:
            answer["lease"] = offer.lease.model_dump()
        return answer

    def ensure(self) -> bool:
        """See to it that the pool is scored and, where the order asks for it, planned.

        Returns:
            Whether all of it is scored.
        """
        complete = self._scoring.ensure()
        if self.order.planned:
            self._planning.ensure(self.order.strategy)
        return complete

    def _offer(self, request: Mapping[str, Any], client_id: str | None) -> Offer | None:
        seed, user = request.get("seed"), request.get(USER_KEY)
        start = random_score("", seed if isinstance(seed, int) else secrets.randbits(32))
        return self._queue.offer(self.order, self._served.checkpoint_id, client_id, start, user)


def _description(order: Order) -> str:
    if order.planned:
        return _PLANNED_DESCRIPTIONS[order.strategy]
    if order.score_name is None:
        return "An open image at random; repeatable with a `seed`"
    return f"The open image with the highest {order.score_name}"


def checked_client_id(client_id: object) -> str | None:
    """The name that a client gave itself, if it gave one.

    Args:
        client_id: As the client sent it.

    Raises:
        RequestError: It is no short text.
    """
    if client_id is None or client_id == "":
        return None
    if not isinstance(client_id, str) or len(client_id) > _MAX_CLIENT_ID:
        raise RequestError(
            f"expected client_id as a text of at most {_MAX_CLIENT_ID} characters; got "
            f"{str(client_id)[:80]!r}"
        )
    return client_id
