"""Simulated scans to try things on: File, Open Sample, L-FUSION."""

from __future__ import annotations

from typing import Any

from lfusion.image.phantom import Condition, generate_phantom

LayerTuple = tuple[Any, dict[str, Any], str]
_SEED = 7


def normal() -> list[LayerTuple]:
    """A head as it should look."""
    return _layers(Condition.NORMAL)


def abnormal() -> list[LayerTuple]:
    """A head with a lesion."""
    return _layers(Condition.ABNORMAL)


def poor() -> list[LayerTuple]:
    """A head that is hard to see."""
    return _layers(Condition.POOR)


def _layers(condition: Condition) -> list[LayerTuple]:
    phantom = generate_phantom(_SEED, condition)
    place = {"scale": (phantom.pixel_size_mm,) * 2, "units": ("mm", "mm")}
    image = {"name": f"{condition} head ({phantom.detail})", "colormap": "gray", **place}
    truth = {"name": "true head", "visible": False, **place}
    return [(phantom.image, image, "image"), (phantom.mask, truth, "labels")]
