"""The parts of a dataset folder as plain data: its files by id, `meta.csv`, `labels.json`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lfusion.errors import DatasetError, ImageError
from lfusion.image.formats import stem_of, suffix_of
from lfusion.image.image import to_pixel_size
from lfusion.types import PixelSize

_GROUP_COLUMNS = ("group", "exam", "patient")


@dataclass(frozen=True)
class MetaRow:
    """One row of `meta.csv`; None where it says nothing, other columns as text in `meta`."""

    split: str | None = None
    group: str | None = None
    pixel_size_mm: PixelSize | None = None
    meta: Mapping[str, str] = field(default_factory=dict)


def files_by_id(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by name without suffix; hidden files and other suffixes left out.

    Args:
        folder: An existing folder.
        suffixes: The suffixes that count.

    Returns:
        Paths by id, sorted.

    Raises:
        DatasetError: If two files have the same id.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or suffix_of(path) not in suffixes or not path.is_file():
            continue
        name = stem_of(path)
        if name in found:
            raise DatasetError(
                f"{folder}: expected one file for each id, got {found[name].name} and "
                f"{path.name}; remove or rename one"
            )
        found[name] = path
    return dict(sorted(found.items()))


def read_meta(path: Path) -> dict[str, MetaRow]:
    """Read `meta.csv`: columns `id`, `split`, `group` (or `exam`, `patient`), `pixel_size_mm`.

    Args:
        path: A comma-separated UTF-8 file with a header line. A pixel size is one number in
            mm, or two (row column) with a space between.

    Returns:
        Rows by id.

    Raises:
        DatasetError: If it cannot be read, an id is missing or twice, or a number is none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", restval="", strict=True)
            columns = reader.fieldnames or ()
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path}: expected comma-separated UTF-8 text, got {error}; save it as CSV (UTF-8)"
        ) from error
    if "id" not in columns:
        raise DatasetError(
            f"{path}: expected a comma-separated header with the column id, "
            f"got {', '.join(columns) or 'an empty file'}"
        )
    found: dict[str, MetaRow] = {}
    for line, row in enumerate(rows, start=2):
        if "" in row:
            raise DatasetError(f"{path}, row {line}: more values than columns in the header")
        name = row.pop("id").strip()
        if not name or name in found:
            raise DatasetError(
                f"{path}, row {line}: expected each id once, got "
                f"{f'{name} again' if name else 'no id'}"
            )
        found[name] = _to_meta_row(row, f"{path}, row {line} ({name})")
    return found


def read_labels(path: Path) -> dict[str, int]:
    """Read `labels.json`: class names and their numbers in the masks.

    Args:
        path: A JSON file such as `{"fetal head": 1}`.

    Returns:
        Numbers by name, ordered by number.

    Raises:
        DatasetError: If it is anything else.
    """
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(f"{path}: expected a JSON object, got {error}") from error
    if not isinstance(labels, dict) or not labels:
        raise DatasetError(f'{path}: expected class numbers by name, such as {{"fetal head": 1}}')
    numbers = list(labels.values())
    valid = all(type(number) is int and 1 <= number <= 255 for number in numbers)
    if not valid or len(set(numbers)) != len(numbers):
        raise DatasetError(
            f"{path}: expected a different whole number from 1 to 255 for each class, got {labels}"
        )
    return dict(sorted(labels.items(), key=lambda item: item[1]))


def _to_meta_row(row: dict[str, str], where: str) -> MetaRow:
    values = {column: value.strip() for column, value in row.items()}
    split = values.pop("split", "")
    size = values.pop("pixel_size_mm", "")
    group_column = next((column for column in _GROUP_COLUMNS if column in values), "")
    return MetaRow(
        split=split or None,
        group=values.pop(group_column, "") or None,
        pixel_size_mm=_to_pixel_size(size, where) if size else None,
        meta=values,
    )


def _to_pixel_size(text: str, where: str) -> PixelSize:
    try:
        numbers = [float(part) for part in text.split()]
        row, column = numbers * 2 if len(numbers) == 1 else numbers
        return to_pixel_size((row, column))
    except (ValueError, ImageError) as error:
        raise DatasetError(
            f"{where}: expected pixel_size_mm as one or two positive numbers in mm, got {text!r}"
        ) from error
