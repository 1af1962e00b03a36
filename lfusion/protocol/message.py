"""The base of all messages."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Base of all messages: immutable, and never NaN or infinity on the wire."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)
