"""What a server says of itself and of its errors."""

from __future__ import annotations

from typing import Literal

from lfusion.protocol.message import Message
from lfusion.protocol.names import MAP_TAGS


class Capabilities(Message):
    """What a server offers beyond MONAI Label.

    Attributes:
        version: Of this package on the server.
        checkpoint_id: The checkpoint that is served.
        maps: Tags of the maps that inference stores.
        epistemic_scale: Upper end of the epistemic map's colour scale, nats: the largest value
            that is usual on calibration images; None without calibration.
        leases: Whether next samples are leased.
        lease_seconds: How long a lease lasts without renewal.
        interactive: Infer model that follows clicks, or None.
        counterfactual: Infer model that returns alternatives, or None.
        strategies: Names that `POST /activelearning/{strategy}` takes, the default first.
        unlearned: Structures that no label has shown the model yet; their masks are empty.
        role: What the caller may do: `admin` also trains and changes the model.
    """

    version: str
    checkpoint_id: str
    maps: tuple[str, ...] = MAP_TAGS
    epistemic_scale: float | None = None
    leases: bool = True
    lease_seconds: float
    interactive: str | None = None
    counterfactual: str | None = None
    strategies: tuple[str, ...]
    unlearned: tuple[str, ...] = ()
    role: Literal["annotator", "admin"] = "admin"


class ErrorBody(Message):
    """The JSON body of every answer with a status of 400 or more.

    Attributes:
        code: For programs: `not_found`, `bad_request`, `bad_image`, `bad_label`,
            `conflict`, `unauthenticated`, `forbidden`, `too_large`, `too_many`, `too_slow`, `busy`,
            `not_ready`, `failed` (the model, its checkpoint or the disk), `internal`.
        message: For people: what was expected, what came, what to do.
    """

    code: str
    message: str
