"""Labels and their versions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from lfusion.protocol.message import Message


class Submission(BaseModel):
    """What `PUT /datastore/label` reads from `params`; other keys are kept with the label.

    Attributes:
        client_id: Who submits; its lease on the image ends.
        base_version: Version of the final label that was on screen (0: none). When another one
            was saved since, both are kept and the answer says so. None: not known.
        idempotency_key: A second submission with the same key and image answers as the first and
            saves nothing, so that a client may retry.
        checkpoint_id: Checkpoint whose proposal was corrected.
        label_info: `[{"name": ..., "idx": ...}]`; the classes by list order, as 3D Slicer sends.
    """

    model_config = ConfigDict(extra="allow")

    client_id: str | None = None
    base_version: int | None = Field(default=None, ge=0, lt=2**63)
    idempotency_key: str | None = None
    checkpoint_id: str | None = None
    label_info: list[dict[str, Any]] = []


class SavedLabel(Message):
    """The answer to a saved label: it is on disk and in the index.

    Attributes:
        image: Image id.
        label: Label id, as MONAI Label names it.
        tag: `final` or `original`.
        version: Of this label, from 1.
        conflict_with: Version that somebody saved since the client's `base_version`; both are
            kept, this one is current. None without a conflict.
    """

    image: str
    label: str
    tag: str
    version: int
    conflict_with: int | None = None


class LabelVersion(Message):
    """One version of a label.

    Attributes:
        version: From 1.
        author: User name by the server's authentication, or None without it.
        client_id: Client that saved it.
        checkpoint_id: Checkpoint whose proposal was corrected.
        base_version: Version that it was made from.
        time: Seconds since 1970 UTC.
        sha256: Of the file.
        current: Whether it is the one that clients and training get.
    """

    version: int
    author: str | None = None
    client_id: str | None = None
    checkpoint_id: str | None = None
    base_version: int | None = None
    time: float
    sha256: str
    current: bool
