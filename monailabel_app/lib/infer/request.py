"""What clients ask of an inference, checked and in our terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lfusion.protocol import Clicks
from lfusion.types import PixelSize
from monailabel_app.lib.errors import RequestError

BACKGROUND = "background"
"""The name of what belongs to no structure, as 3D Slicer and OHIF write it."""

Model = TypeVar("Model", bound=BaseModel)
Pixel = tuple[int, int]


def pixel_size_asked(request: Mapping[str, Any]) -> PixelSize | None:
    """The pixel size a client gave, as numbers; None when it gave none.

    Args:
        request: With or without `pixel_size_mm`.

    Raises:
        RequestError: It is not two positive numbers.
    """
    given = request.get("pixel_size_mm")
    if given is None:
        return None
    try:
        row, column = (float(size) for size in given)
    except (TypeError, ValueError):
        row = column = 0.0
    if not (0 < row < math.inf and 0 < column < math.inf):
        raise RequestError(
            f"expected pixel_size_mm as two positive numbers [row, column]; got {str(given)[:80]}"
        )
    return row, column


def frame_asked(request: Mapping[str, Any]) -> int | None:
    """The frame of a cine that a client asked for; None for all.

    Args:
        request: With or without `frame`.

    Raises:
        RequestError: It is no whole number from 0.
    """
    given = request.get("frame")
    if given is None:
        return None
    if type(given) is not int or given < 0:
        raise RequestError(f"expected frame as a whole number from 0; got {str(given)[:80]}")
    return given


def parsed(kind: type[Model], request: Mapping[str, Any]) -> Model:
    """Read a part of the protocol out of a request.

    Args:
        kind: Which.
        request: As the client sent it.

    Raises:
        RequestError: A field is of another kind; the message names it.
    """
    try:
        return kind.model_validate(dict(request))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RequestError(f"expected {kind.__name__}; {where}: {first['msg']}") from error


def clicked(
    request: Mapping[str, Any], labels: Mapping[str, int], frame: int
) -> dict[int, list[Pixel]]:
    """The clicks on one frame, whichever way a client sends them.

    3D Slicer and OHIF send a list by the name of each label, 3D Slicer also `label`
    with the name that `foreground` is about; CVAT sends `foreground` and
    `background`. A point is [x, y] or [x, y, z]: column, row and frame, the indices
    that ITK gives the voxels of the file, however a viewer turns the picture.

    Args:
        request: As the client sent it.
        labels: Class number by name of the model.
        frame: Number of the frame.

    Returns:
        (row, column) by class number, background first, so that the structures win.

    Raises:
        RequestError: A list is no list of points, or of a label that the model does not have.
    """
    clicks = parsed(Clicks, request)
    names = [BACKGROUND, *labels]
    lists = [(BACKGROUND, clicks.background), *clicks.labels.items()]
    if clicks.foreground:
        # The name of a segment that the user added himself says nothing to the model.
        about = request.get("label")
        lists.append((about if about in names else next(iter(labels)), clicks.foreground))
    lists += [(name, _list(request.get(name), name)) for name in labels]
    found: dict[int, list[Pixel]] = {0: [], **{labels[name]: [] for name in labels}}
    for name, points in lists:
        if name not in names:
            raise RequestError(f"expected labels {', '.join(names)}; got {name[:80]!r}")
        number = labels.get(name, 0)
        found[number] += [pixel for point in points for pixel in _on_frame(point, frame)]
    return found


def _list(value: object, name: str) -> list[list[float]]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestError(f"expected {name!r} as a list of points; got {str(value)[:80]}")
    return value


def _on_frame(point: object, frame: int) -> list[Pixel]:
    """(row, column) of a point, when it lies on this frame."""
    valid = isinstance(point, list) and len(point) in (2, 3)
    if not valid or not all(_is_finite(value) for value in point):  # type: ignore[attr-defined]
        raise RequestError(f"expected points as [x, y] or [x, y, z]; got {str(point)[:80]}")
    x, y, *z = (round(value) for value in point)  # type: ignore[attr-defined]
    return [(y, x)] if not z or z[0] == frame else []


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
