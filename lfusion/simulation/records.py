"""What one round of a simulation found, kept line by line so that a stopped run goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lfusion.errors import DatasetError


@dataclass(frozen=True)
class Cell:
    """Which round it is.

    Attributes:
        start: labels at the beginning.
        query: labels per round.
        seed: of first labels, first weights, training and draws; shared by all strategies.
        strategy: that chose the labels.
        round: 0 for the first labels, which no strategy chose.
    """

    start: int
    query: int
    seed: int
    strategy: str
    round: int

    @property
    def labels(self) -> int:
        """Number of labels in this round."""
        return self.start + self.query * self.round


@dataclass(frozen=True)
class Record:
    """A round and what was measured.

    Attributes:
        cell: which round.
        chosen: ids of all labels, in the order in which they were chosen.
        dice: mean over the held-out images.
        dice_p05: 5th percentile over them.
        hc_mae_mm: mean absolute error of the circumferences; None where there are none.
        hc_refused: images whose circumference could not be measured.
        training_s: seconds of the training.
        choosing_s: seconds to score the pool and choose these labels; None in round 0.
    """

    cell: Cell
    chosen: tuple[str, ...]
    dice: float
    dice_p05: float
    hc_mae_mm: float | None
    hc_refused: int
    training_s: float
    choosing_s: float | None


class RecordFile:
    """Records of one data set in a file of JSON lines; several processes may append to it.

    Args:
        path: of the file; its folder is made.
        settings: what all its records share, JSON-ready. They are kept beside it.

    Raises:
        DatasetError: the file was begun with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any] | None = None) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if settings is not None:
            keep_settings(path, settings)

    def read(self) -> dict[Cell, Record]:
        """Return all complete records; a line that a crash cut off is left out.

        Raises:
            DatasetError: a line is no record.
        """
        try:
            records = [_record(values) for values in read_lines(self._path)]
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(
                f"expected records of a simulation in {self._path}, got something else ({error}); "
                "move it away or choose another folder"
            ) from error
        return {record.cell: record for record in records}

    def append(self, record: Record) -> None:
        """Add one record."""
        append_line(self._path, asdict(record))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines, none where there is no file.

    A line that a crash cut off is left out.

    Raises:
        ValueError: a line was never the beginning of an object.
    """
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            if not line.startswith("{"):
                raise
    return found


def append_line(path: Path, values: Mapping[str, Any]) -> None:
    """Add an object to a file of JSON lines, on a line of its own also behind one cut off."""
    line = json.dumps(values, sort_keys=True).encode() + b"\n"
    with path.open("ab+", buffering=0) as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)  # at the end, wherever that is by now


def keep_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Keep what all lines of a file share beside it, in `NAME.settings.json`.

    Lines that were there before any settings were kept are taken as they are.

    Args:
        path: of the lines.
        settings: JSON-ready.

    Raises:
        DatasetError: the lines were begun with other settings.
    """
    kept = path.with_suffix(".settings.json")
    if not kept.is_file():
        if not path.is_file():
            kept.write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        return
    before, now = json.loads(kept.read_text(encoding="utf-8")), json.loads(json.dumps(settings))
    changed = [name for name in now if name in before and before[name] != now[name]]
    if changed:
        was, got = (", ".join(f"{n} = {v[n]}" for n in changed) for v in (before, now))
        raise DatasetError(
            f"expected the settings that {path} was begun with, {was}, got {got}; go on with "
            "those, or choose another folder"
        )


def _record(values: dict[str, Any]) -> Record:
    return Record(**{**values, "cell": Cell(**values["cell"]), "chosen": tuple(values["chosen"])})
