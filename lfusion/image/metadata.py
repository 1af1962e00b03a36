"""The parts of a dataset folder as plain data: `meta.csv` and `labels.json`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lfusion.errors import DatasetError, ImageError
from lfusion.image.formats import IMAGE_SUFFIXES, stem_of, suffix_of
from lfusion.image.image import to_pixel_size
from lfusion.types import PixelSize

_GROUP_COLUMNS = ("group", "exam", "patient")
_ALIASES = {
    "filename": "id",
    "pixel size(mm)": "pixel_size_mm",
    "head circumference(mm)": "hc_mm",
}
"""Columns of HC18's own file, which count where the column of ours is absent."""

_NEAR_NAMES = {
    "split": ("splits",),
    "group": (
        *("groups", "exams", "patients", "groupid", "examid", "patientid", "patientname"),
        *("subject", "subjectid"),
    ),
    "pixel_size_mm": (
        *("pixelsize", "pixelspacing", "pixelspacingmm", "spacing", "spacingmm", "pixelmm"),
        *("mmperpixel", "mmperpx", "pxsize", "pxsizemm"),
    ),
    "hc_mm": ("hc", "hcmm", "hcinmm", "headcircumference", "headcircumferencemm"),
}
"""Other names for a known column, letters and digits only; refused where that one is absent."""

_SPLIT_NAMES = {
    "train": ("training", "trainset", "trainingset"),
    "val": ("valid", "validate", "validation", "valset", "validationset", "dev"),
    "test": ("testing", "testset", "testingset"),
}
"""Other names for a split that commands look for by name."""

_DELIMITERS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(-?\d+),(\d+)(?![\d.,])")
_NUMBER_COLUMNS = re.compile(r"hc_mm|pixel_size_mm|ellipse_\w+")


@dataclass(frozen=True)
class MetaRow:
    """One row of `meta.csv`; None where it says nothing, other columns as text in `meta`."""

    split: str | None = None
    group: str | None = None
    pixel_size_mm: PixelSize | None = None
    meta: Mapping[str, str] = field(default_factory=dict)


def read_meta(path: Path) -> dict[str, MetaRow]:
    """Read `meta.csv`: columns `id`, `split`, `group` (or `exam`, `patient`), `pixel_size_mm`.

    Names of columns and splits are trimmed and lower-cased. A name that resembles a known column
    while that column is absent is refused, for a column that is not recognised would be dropped.

    Args:
        path: UTF-8 text with a header line, separated by commas, semicolons or tabs. A pixel
            size is one number in mm, or two (row column) with a space between.

    Returns:
        Rows by id as the file gives it; see `match_rows`.

    Raises:
        DatasetError: If it cannot be read, a column is not clear, an id is missing or twice, or
            a number is none.
    """
    header, *rows = _read_table(path)
    columns = _to_columns(path, header)
    width = len(columns)
    found: dict[str, MetaRow] = {}
    table: list[dict[str, str]] = []
    for line, cells in rows:
        if len(cells) > width and any(cells[width:]):
            raise DatasetError(f"{path}, row {line}: more values than columns in the header")
        row = dict(zip(columns, cells + [""] * width, strict=False))
        table.append(dict(row))
        name = row.pop("id")
        if not name or name in found:
            raise DatasetError(
                f"{path}, row {line}: expected each id once, got "
                f"{f'{name} again' if name else 'no id'}"
            )
        found[name] = _to_meta_row(row, f"{path}, row {line} ({name})")
    _check_split_column(path, columns, table)
    return found


def match_rows(
    rows: Mapping[str, MetaRow], ids: Container[str], path: Path
) -> tuple[dict[str, MetaRow], list[str]]:
    """Rows by the id of their image; a row may name the file instead, with its suffix.

    Args:
        rows: By id as `meta.csv` gives it.
        ids: Of the images.
        path: Of `meta.csv`, for messages.

    Returns:
        Rows by image id, and the names that belong to no image.

    Raises:
        DatasetError: If two rows belong to one image.
    """
    found: dict[str, MetaRow] = {}
    given: dict[str, str] = {}
    unknown: list[str] = []
    for name, row in rows.items():
        file = Path(name)
        named = name if name in ids or suffix_of(file) not in IMAGE_SUFFIXES else stem_of(file)
        if named not in ids:
            unknown.append(name)
        elif named in found:
            raise DatasetError(
                f"{path}: expected each id once, got {given[named]} and {name} for one image; "
                "remove one row"
            )
        else:
            found[named], given[named] = row, name
    return found, unknown


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


def _read_table(path: Path) -> list[tuple[int, list[str]]]:
    """The header and the rows with their numbers, cells trimmed; empty rows left out."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        first, _, rest = text.partition("\n")
        skipped = 0
        if first.strip().casefold().startswith("sep="):  # a hint for spreadsheets
            text, skipped = rest, 1
        header, *_ = text.splitlines() or [""]
        tables = [next(csv.reader([header], delimiter=mark), []) for mark in _DELIMITERS]
        sizes = [(_names_id(cells), len(cells)) for cells in tables]
        delimiter = _DELIMITERS[sizes.index(max(sizes))]
        file = io.StringIO(text, newline="")
        cells = list(csv.reader(file, delimiter=delimiter, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{path}: expected comma-separated UTF-8 text, got {error}; save it as CSV (UTF-8)"
        ) from error
    numbered = (
        (line, [cell.strip() for cell in row]) for line, row in enumerate(cells, start=1 + skipped)
    )
    return [(line, row) for line, row in numbered if any(row)] or [(1, [])]


def _names_id(header: Iterable[str]) -> bool:
    """Whether a header has a column that can be the id."""
    return any(_folded(name) in ("id", "filename") for name in header)


def _folded(name: str) -> str:
    """The name of a column, trimmed and lower-cased, one form for white space and brackets."""
    return re.sub(r"\s*([()])", r"\1", " ".join(name.split()).casefold())


def _to_columns(path: Path, header: tuple[int, list[str]]) -> list[str]:
    """Names of the columns as this module knows them."""
    given = header[1]
    columns = [_folded(name) for name in given]
    for alias, column in _ALIASES.items():
        if column not in columns and alias in columns:
            columns[columns.index(alias)] = column
    for number, column in enumerate(columns):
        first = columns.index(column)
        if column and first != number:
            raise DatasetError(
                f"{path}: expected each column once, got {given[first]!r} and {given[number]!r}; "
                "rename or remove one"
            )
    if "id" not in columns:
        raise DatasetError(
            f"{path}: expected a header with the column id, "
            f"got {', '.join(given) or 'an empty file'}; name the column of the image ids id"
        )
    for name, column in zip(given, columns, strict=True):
        meant = _meant_column(column, columns)
        if meant is not None:
            raise _unclear(path, name, meant)
    return columns


def _meant_column(column: str, columns: Sequence[str]) -> str | None:
    """The known column that a name resembles, when that one is absent."""
    known = ("id", *_GROUP_COLUMNS, "split", "pixel_size_mm", "hc_mm")
    if column in known:
        return None
    plain = _plain(column)
    for meant, names in _NEAR_NAMES.items():
        present = _GROUP_COLUMNS if meant == "group" else (meant,)
        if any(name in columns for name in present):
            continue
        if plain in names:
            return meant
        for target in map(_plain, present):
            limit = 0 if len(target) < 5 else 1 if len(target) < 9 else 2
            if plain and _distance(plain, target) <= limit:
                return meant if meant != "group" else "group, exam or patient"
    return None


def _check_split_column(
    path: Path, columns: Sequence[str], table: Sequence[Mapping[str, str]]
) -> None:
    """Refuse a column of another name that holds nothing but names of splits."""
    if "split" in columns:
        return
    words = {word for name, others in _SPLIT_NAMES.items() for word in (name, *others)}
    for column in columns:
        values = {row[column].casefold() for row in table} - {""}
        if column != "id" and values and values <= words:
            raise _unclear(path, column, "split")


def _unclear(path: Path, name: str, meant: str) -> DatasetError:
    return DatasetError(
        f"{path}: the column {name!r} is not known and resembles {meant}; rename it to {meant}, "
        f"or to something that does not resemble it"
    )


def _plain(name: str) -> str:
    """Letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name)


def _distance(first: str, second: str) -> int:
    """Number of letters to insert, remove, replace or swap with the next (Damerau, OSA)."""
    if abs(len(first) - len(second)) > 2:
        return 3
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        previous, row = row, [i]
        for j, b in enumerate(second, start=1):
            best = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before = previous
    return row[-1]


def _to_meta_row(row: dict[str, str], where: str) -> MetaRow:
    values = {
        column: _DECIMAL_COMMA.sub(r"\1.\2", text) if _NUMBER_COLUMNS.fullmatch(column) else text
        for column, text in row.items()
    }
    split = values.pop("split", "").casefold()
    size = values.pop("pixel_size_mm", "")
    group_column = next((column for column in _GROUP_COLUMNS if column in values), "")
    return MetaRow(
        split=_to_split(split, where) if split else None,
        group=values.pop(group_column, "") or None,
        pixel_size_mm=_to_pixel_size(size, where) if size else None,
        meta={column: text for column, text in values.items() if column or text},
    )


def _to_split(name: str, where: str) -> str:
    """The name of a split; one that resembles train, val or test is refused."""
    for known, others in _SPLIT_NAMES.items():
        near = name[:1] == known[:1] and name.isalpha() and _distance(name, known) == 1
        if _plain(name) in others or near:
            raise DatasetError(
                f"{where}: the split {name!r} is not known and resembles {known}; write {known}, "
                "or a name that does not resemble it"
            )
    return name


def _to_pixel_size(text: str, where: str) -> PixelSize:
    try:
        numbers = [float(part) for part in text.split()]
        row, column = numbers * 2 if len(numbers) == 1 else numbers
        return to_pixel_size((row, column))
    except (ValueError, ImageError) as error:
        raise DatasetError(
            f"{where}: expected pixel_size_mm as one or two positive numbers in mm, got {text!r}"
        ) from error
