"""Which structures the studies are labelled for, a model that has them, and who looked for them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from lfusion.checkpoint import Checkpoint, with_structures
from lfusion.image import Case
from lfusion.image.write import atomic_path
from monailabel_app.lib.errors import RequestError

logger = logging.getLogger(__name__)

_NAMES = TypeAdapter(list[str])


def structures_file(state: Path) -> Path:
    """Where the names that were asked for once are kept, in the order of their class numbers."""
    return state / "structures.json"


def agreed_structures(asked: Sequence[str], state: Path) -> list[str]:
    """The names to label, in the order of their class numbers; none when the model's own will do.

    They are kept, so that the next start needs to be told nothing. Masks hold numbers: what was
    asked for once keeps its number, and new names come after it.

    Args:
        asked: For this start; may be empty.
        state: Folder of what the server keeps.

    Raises:
        RequestError: The names do not begin with those of before, or cannot be used.
    """
    file = structures_file(state)
    try:
        before = _NAMES.validate_json(file.read_bytes()) if file.exists() else []
    except ValidationError as error:
        raise RequestError(
            f"expected a list of names in {file}; it is damaged; delete it and name them again"
        ) from error
    if not asked:
        return before
    names = list(asked)
    if len(set(names)) < len(names) or not all(name.strip() for name in names):
        raise RequestError(f"expected different names of structures, got {', '.join(names)}")
    if names[: len(before)] != before:
        raise RequestError(
            f"expected {', '.join(before)} first, by which the labels of these studies are "
            f"numbered, and new structures after them; got {', '.join(names)}"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(names), encoding="utf-8")
    return names


def start_checkpoint(base: Path, names: Sequence[str], state: Path) -> Path:
    """A checkpoint of these structures: the base, or one in the state folder made of it.

    Args:
        base: What there is.
        names: In the order of their class numbers; none for those of the base.
        state: Folder of what the server keeps.

    Raises:
        CheckpointError: The base cannot be used.
    """
    if not names:
        return base
    known = Checkpoint.load(base)
    made = with_structures(known, numbered(names))
    if made is known:
        return base
    path = state / "start.safetensors"
    if not path.exists() or path.read_bytes() != made.to_bytes():
        made.save(path)
    return path


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Class number by name."""
    return {name: number for number, name in enumerate(names, start=1)}


def not_looked_for(
    cases: Iterable[Case], offered: Mapping[str, Iterable[str] | None], labels: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """The structures that nobody looked for, by image, where there are some.

    A label that was saved here knows which structures were there to be drawn: those that came
    later may be anywhere on its background. Of files from elsewhere nobody knows; a structure that
    is drawn in none of them was not looked for in any.

    Args:
        cases: With masks in the class numbers of the model.
        offered: Image id → names that could be drawn, None when not known.
        labels: Class number by name of the model.

    Returns:
        Image id → class numbers.
    """
    kept = list(cases)
    foreign = [case for case in kept if offered.get(case.id) is None]
    drawn = drawn_in(foreign)
    found = {}
    for case in kept:
        names = offered.get(case.id)
        looked = drawn if names is None else {labels[n] for n in names if n in labels}
        if missing := tuple(sorted(set(labels.values()) - looked)):
            found[case.id] = missing
    return found


def as_label_info(structures: Mapping[str, int]) -> list[dict[str, str]]:
    """Names by class number, as a client would send them with a label.

    Example:
        >>> as_label_info({"bone": 2})
        [{'name': 'unnamed'}, {'name': 'bone'}]
    """
    names = {number: name for name, number in structures.items()}
    return [{"name": names.get(n, "unnamed")} for n in range(1, max(names, default=0) + 1)]


def drawn_in(cases: Iterable[Case]) -> set[int]:
    """The class numbers that some mask holds."""
    found: set[int] = set()
    for case in cases:
        found.update(np.unique(case.read_mask()).tolist())
    return found - {0}
