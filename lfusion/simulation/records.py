"""What one round of a simulation found, kept line by line so that a stopped run goes on."""

from __future__ import annotations

import json
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
    """Records of one data set in a file of JSON lines; several processes may append to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def read(self) -> dict[Cell, Record]:
        """Return all complete records; a line that a crash cut off is left out.

        Raises:
            DatasetError: a line is no record.
        """
        if not self._path.is_file():
            return {}
        *lines, cut_off = self._path.read_text(encoding="utf-8").split("\n")
        del cut_off
        try:
            records = [_record(json.loads(line)) for line in lines]
        except (ValueError, TypeError, KeyError) as error:
            raise DatasetError(
                f"expected records of a simulation in {self._path}, got something else ({error}); "
                "move it away or choose another folder"
            ) from error
        return {record.cell: record for record in records}

    def append(self, record: Record) -> None:
        """Add one record."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record), sort_keys=True) + "\n")


def _record(values: dict[str, Any]) -> Record:
    return Record(**{**values, "cell": Cell(**values["cell"]), "chosen": tuple(values["chosen"])})
