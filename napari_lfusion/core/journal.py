"""Nothing that was painted is lost: each stroke is on disk before the next.

A case has a folder with `case.json` and two masks that take turns. The mask that `case.json` does
not name is written first; replacing `case.json` is the one step that makes it count. A crash at any
moment therefore leaves a whole pair, the one before or the one after.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from lfusion.errors import ImageError
from lfusion.image import read_mask
from lfusion.image.write import atomic_path, sync_folder
from lfusion.types import LabelMap
from napari_lfusion.core.effort import Effort
from napari_lfusion.core.errors import WorkspaceError

_CASE = "case.json"
_Turn = Literal["mask-0.png", "mask-1.png"]


class JournalEntry(BaseModel):
    """What is kept of an open case beside its mask.

    Attributes:
        image_id: Of the image.
        base_version: Version of the final label that it began from, None when not known.
        checkpoint_id: Checkpoint whose proposal is being corrected, None when not known.
        labels: Class number by name.
        effort: Work so far.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    image_id: str
    base_version: int | None = None
    checkpoint_id: str | None = None
    labels: dict[str, int] = Field(default_factory=dict)
    effort: Effort = Effort()


class _Stored(BaseModel):
    """`case.json`; `format` grows when older code could not read it."""

    format: Literal[1] = 1
    entry: JournalEntry
    mask: _Turn
    saved_at: float


@dataclass(frozen=True, eq=False)
class Unfinished:
    """A case that was open when the program ended.

    Attributes:
        entry: What was kept beside the mask.
        mask: As after the last recorded stroke.
        saved_at: When that was, seconds since 1970 UTC.
    """

    entry: JournalEntry
    mask: LabelMap
    saved_at: float


@dataclass(frozen=True, eq=False)
class Recovery:
    """What a journal holds at start.

    Attributes:
        cases: The last one worked on first.
        damaged: One sentence for each case that cannot be read; its folder stays.
    """

    cases: tuple[Unfinished, ...] = ()
    damaged: tuple[str, ...] = field(default_factory=tuple)


class Journal:
    """The open cases of one user on one server.

    Args:
        folder: Belongs to this journal alone; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def record(self, entry: JournalEntry, mask: LabelMap) -> None:
        """Put the state of a case on disk, after a stroke.

        Args:
            entry: Of the case.
            mask: [height, width] class numbers on screen.

        Raises:
            WorkspaceError: It could not be written; what was recorded before is still there.
        """
        folder = self._case_folder(entry.image_id)
        try:
            new = not folder.is_dir()
            folder.mkdir(exist_ok=True)
            turn = _turn(folder)
            _write_synced(folder / turn, _png(mask))
            stored = _Stored(entry=entry, mask=turn, saved_at=time.time())
            with atomic_path(folder / _CASE) as temporary:
                temporary.write_text(stored.model_dump_json(), encoding="utf-8")
            sync_folder(folder)
            if new:
                sync_folder(self._folder)
        except OSError as error:
            raise WorkspaceError(
                f"expected room for the journal in {self._folder}; {error}; free some, then paint "
                "one stroke to have everything recorded again"
            ) from error

    def close(self, image_id: str) -> None:
        """Forget a case: it was submitted, skipped, flagged or given up."""
        folder = self._case_folder(image_id)
        # First what makes it count, so that a crash in between leaves no case without a mask.
        (folder / _CASE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def recover(self) -> Recovery:
        """All cases that were not closed."""
        cases, damaged = [], []
        for folder in sorted(path.parent for path in self._folder.glob(f"*/{_CASE}")):
            try:
                stored = _Stored.model_validate_json((folder / _CASE).read_bytes())
                mask = read_mask(folder / stored.mask)
            except (OSError, ValueError, ImageError) as error:
                damaged.append(f"the journal of a case in {folder} cannot be read: {error}")
            else:
                cases.append(Unfinished(stored.entry, mask, stored.saved_at))
        cases.sort(key=lambda case: case.saved_at, reverse=True)
        return Recovery(tuple(cases), tuple(damaged))

    def _case_folder(self, image_id: str) -> Path:
        # An id may hold what a file name cannot; the entry says which image it is.
        return self._folder / hashlib.sha256(image_id.encode()).hexdigest()[:24]


def _turn(folder: Path) -> _Turn:
    """The mask that `case.json` does not name: the one that may be overwritten."""
    try:
        named = _Stored.model_validate_json((folder / _CASE).read_bytes()).mask
    except (OSError, ValueError):  # there is none yet, or nobody can read it any more
        return "mask-0.png"
    return "mask-1.png" if named == "mask-0.png" else "mask-0.png"


def _png(mask: LabelMap) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
