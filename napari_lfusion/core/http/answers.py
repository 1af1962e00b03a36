"""Answers that have no name of their own in the protocol."""

from __future__ import annotations

from pydantic import BaseModel

from lfusion.protocol import Lease, Why


class Sample(BaseModel):
    """The answer of `/activelearning/`; `{}` when the pool is empty."""

    id: str | None = None
    base_version: int | None = None
    lease: Lease | None = None
    why: Why | None = None


class SavedAnswer(BaseModel):
    """The answer to a saved label; a plain server has no versions."""

    image: str
    version: int | None = None
    conflict_with: int | None = None
