"""Writes layers as `lfusion predict --out` does, so that a folder of results can be corrected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lfusion.errors import ImageError
from lfusion.image import write_map, write_mask
from lfusion.image.write import atomic_path
from napari_lfusion.layers import KEY, MAPS, Role

_WRITTEN = {Role.MASK, *MAPS}


def write_labels(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a labels layer as class numbers.

    Args:
        path: The suffix says the format.
        data: [height, width] class numbers.
        meta: Of the layer.

    Returns:
        What was written.

    Raises:
        ImageError: The layer is no mask, or cannot be written so.
    """
    write_mask(Path(path), np.asarray(data))
    return [path]


def write_results(path: str, layers: list[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """Write one mask and its maps as ID_mask.png, ID_epistemic.tif, …, and ID.json.

    Args:
        path: ID.json; the other files lie beside it.
        layers: Exactly one labels layer; images that are no maps of ours are left out.

    Returns:
        What was written.

    Raises:
        ImageError: There is not exactly one mask.
    """
    target = Path(path)
    masks = [(data, meta) for data, meta, kind in layers if kind == "labels"]
    chosen = [item for item in masks if _role(item[1]) is Role.MASK] or masks
    if len(chosen) != 1:
        raise ImageError(
            f"expected one mask to write as {target.name}, got {len(chosen)}; select the mask "
            "and its maps only"
        )
    mask, meta = chosen[0]
    written = [target.with_name(f"{target.stem}_mask.png")]
    write_mask(written[0], np.asarray(mask))
    for data, other, _ in layers:
        role = _role(other)
        if role in MAPS:
            written.append(target.with_name(f"{target.stem}_{role.value}.tif"))
            write_map(written[-1], np.asarray(data, np.float32))
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(_description(meta), indent=2) + "\n", encoding="utf-8")
    return [str(file) for file in [*written, target]]


def _role(meta: dict[str, Any]) -> Role | None:
    role = meta.get("metadata", {}).get(KEY, {}).get("role")
    return Role(role) if role in _WRITTEN else None


def _description(meta: dict[str, Any]) -> dict[str, Any]:
    ours = meta.get("metadata", {}).get(KEY, {})
    scale = [float(size) for size in meta.get("scale", (1.0, 1.0))]
    in_mm = [str(unit) for unit in meta.get("units") or ()] == ["millimeter"] * 2
    return {
        "image": ours.get("case"),
        "checkpoint_id": ours.get("model_version"),
        "labels": ours.get("labels", {}),
        "pixel_size_mm": scale if in_mm else None,
        "scores": {},
        "percentiles": {},
        "biometry": None,
    }
