"""Opens what `lfusion predict --out` wrote: ID.json with its mask and maps."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from lfusion.errors import ImageError
from lfusion.image import read_mask
from napari_lfusion.colormaps import alpha_ramp, class_colormap
from napari_lfusion.layers import KEY, MAPS, Role, map_limits

LayerTuple: TypeAlias = tuple[Any, dict[str, Any], str]
PathOrPaths: TypeAlias = str | Sequence[str]


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerTuple]] | None:
    """Offer to read results.

    Args:
        path: A file ID.json, a folder of them, or several of either.

    Returns:
        A reader, or None when there is no result.
    """
    return read_results if _results(path) else None


def read_results(path: PathOrPaths) -> list[LayerTuple]:
    """Read results as layers.

    Args:
        path: As for `get_reader`.

    Returns:
        For each image its mask and its maps, of which the first is visible.

    Raises:
        ImageError: A file that the JSON speaks of is missing or damaged.
    """
    return [layer for result in _results(path) for layer in _layers(result)]


def _results(path: PathOrPaths) -> list[Path]:
    paths = [Path(path)] if isinstance(path, str) else [Path(one) for one in path]
    files = [
        file for one in paths for file in (sorted(one.glob("*.json")) if one.is_dir() else [one])
    ]
    return [file for file in files if _mask_file(file).is_file()]


def _mask_file(result: Path) -> Path:
    return result.with_name(f"{result.stem}_mask.png")


def _layers(result: Path) -> list[LayerTuple]:
    description = json.loads(result.read_text(encoding="utf-8"))
    labels = description["labels"]
    place: dict[str, Any] = {"scale": (1.0, 1.0)}
    if description["pixel_size_mm"]:
        place = {"scale": tuple(description["pixel_size_mm"]), "units": ("mm", "mm")}
    case = {"case": result.stem, "model_version": description["checkpoint_id"]}
    layers = [
        _map_layer(result, role, 1 + len(labels), place, case)
        for role in reversed(MAPS)
        if _map_file(result, role).is_file()
    ]
    mask = {
        "name": f"{result.stem} mask",
        "colormap": class_colormap(max(1, len(labels))),
        "features": {"index": [0, *labels.values()], "name": ["background", *labels]},
        "metadata": {KEY: {**case, "role": Role.MASK.value, "labels": labels}},
        **place,
    }
    return [*layers, (read_mask(_mask_file(result)), mask, "labels")]


def _map_file(result: Path, role: Role) -> Path:
    return result.with_name(f"{result.stem}_{role.value}.tif")


def _map_layer(
    result: Path, role: Role, classes: int, place: dict[str, Any], case: dict[str, str]
) -> LayerTuple:
    import tifffile

    file = _map_file(result, role)
    try:
        values = tifffile.imread(file).astype(np.float32)
    except (OSError, tifffile.TiffFileError) as error:
        raise ImageError(f"expected a map of nats in {file}; {error}") from error
    limits = map_limits(role, values, classes)
    arguments = {
        "name": f"{result.stem} {role.value}",
        "colormap": alpha_ramp(),
        "contrast_limits": (limits.lower, limits.upper),
        "blending": "translucent",
        "visible": role is MAPS[0],
        "metadata": {KEY: {**case, "role": role.value}},
        **place,
    }
    return values, arguments, "image"
