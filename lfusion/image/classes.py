"""Values of masks as class numbers, and what is wrong with values that are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lfusion.errors import DatasetError

MAX_UNNAMED_CLASSES = 32
"""Without names; a soft mask has more values, and they leave no gap."""

_SHOWN = 6


def check_class_numbers(values: Sequence[int], labels: Mapping[str, int]) -> None:
    """Refuse values that no class has.

    Args:
        values: Different values of one or more masks, sorted; 0 is background.
        labels: Class number by name.

    Raises:
        DatasetError: The message names the values found, the classes, and what to do.

    Example:
        >>> check_class_numbers([0, 1], {"head": 1})
    """
    if set(values) <= {0, *labels.values()}:
        return
    classes = ", ".join(f"{number} ({name})" for name, number in labels.items())
    raise DatasetError(
        f"expected class numbers 0 (background), {classes}; found the values {_some(values)}; "
        f"{_advice(values)}"
    )


def unnamed_classes(values: Sequence[int]) -> int:
    """The number of classes that masks without names have: their values are 0, 1, 2, ...

    Args:
        values: Different values of all masks together, sorted.

    Returns:
        The highest class number.

    Raises:
        DatasetError: A number is skipped, or there are more values than masks of classes have.

    Example:
        >>> unnamed_classes([0, 1, 2])
        2
    """
    highest = max(values, default=0)
    if set(range(1, highest + 1)) <= set(values) and highest <= MAX_UNNAMED_CLASSES:
        return highest
    raise DatasetError(
        f"expected class numbers 0 (background), 1, 2, ... without a gap; found the values "
        f"{_some(values)}; {_advice(values)}, or name each value in labels.json"
    )


def _advice(values: Sequence[int]) -> str:
    """What to do about values that are no class numbers."""
    drawn = [value for value in values if value]
    if len(drawn) == 1:
        kind = "a black-and-white picture: " if drawn[0] in (127, 128, 254, 255) else ""
        return f"{kind}replace {drawn[0]} by the class number"
    if len(drawn) > MAX_UNNAMED_CLASSES:
        return "grey levels, as of a soft mask: replace them by class numbers"
    return "save class numbers, not grey levels"


def _some(values: Sequence[int]) -> str:
    """The first values, and how many more there are."""
    shown = ", ".join(map(str, values[:_SHOWN]))
    more = len(values) - _SHOWN
    return shown + (f" and {more} more up to {values[-1]}" if more > 0 else "")
