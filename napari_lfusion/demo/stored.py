"""The files of the demonstration: sample images and what the shipped model says about them.

`tools/make_demo.py` writes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel

from lfusion.image import UltrasoundImage, as_ultrasound_image, read_mask
from lfusion.protocol import AlternativeResult, InferResult
from lfusion.types import FloatMap, LabelMap

_DATA = Path(__file__).parent / "data"


class DemoCase(BaseModel):
    """One sample image.

    Attributes:
        id: Its name.
        condition: What it shows.
        detail: What is abnormal or poor about it.
        map_steps: Nats per grey level of each stored map.
        variance_shares: Part of the image's variance by mode, as in `AlternativeResult`.
        result: The scalars of its prediction.
    """

    id: str
    condition: Literal["normal", "abnormal", "poor"]
    detail: str
    map_steps: dict[str, float]
    variance_shares: list[float]
    result: InferResult

    @property
    def image_path(self) -> Path:
        """The image file, a PNG."""
        return _DATA / f"{self.id}.png"


class DemoIndex(BaseModel):
    """All of the demonstration.

    Attributes:
        strategies: Image score by the name of the order that sorts by it.
        epistemic_scale: Upper end of the epistemic colour scale, nats.
        mode_steps: Standard deviations of the stored masks along a mode, ascending.
        cases: The sample images.
    """

    strategies: dict[str, str]
    epistemic_scale: float
    mode_steps: tuple[float, ...]
    cases: tuple[DemoCase, ...]


@dataclass(frozen=True, eq=False)
class StoredPrediction:
    """What was stored of a prediction beside the scalars.

    Attributes:
        mask: Class numbers.
        maps: Uncertainty in nats by name, to 1/255 of its maximum.
    """

    mask: LabelMap
    maps: dict[str, FloatMap]


@cache
def demo_index() -> DemoIndex:
    """What there is."""
    return DemoIndex.model_validate_json((_DATA / "demo.json").read_bytes())


def read_demo_image(case: DemoCase) -> UltrasoundImage:
    """The image, with its pixel size."""
    return as_ultrasound_image(case.image_path, case.result.pixel_size_mm)


def read_demo_prediction(case: DemoCase) -> StoredPrediction:
    """Mask and maps; total = epistemic + aleatoric at each pixel."""
    maps = {name: _map(case.id, name, step) for name, step in case.map_steps.items()}
    maps["total"] = maps["epistemic"] + maps["aleatoric"]
    return StoredPrediction(read_mask(_DATA / f"{case.id}_mask.png"), maps)


def read_demo_mode(case: DemoCase, mode: int, t: float) -> LabelMap | None:
    """The mask at the stored step nearest to t along a principal mode.

    Args:
        case: Of which image.
        mode: Number of the mode, from 0.
        t: Standard deviations along it.

    Returns:
        Class numbers; None when the mode is not stored.
    """
    path = _DATA / f"{case.id}_mode{mode}.png"
    if not path.exists():
        return None
    steps = np.asarray(demo_index().mode_steps)
    if abs(t) < np.abs(steps).min() / 2:
        return read_mask(_DATA / f"{case.id}_mask.png")
    bit = int(np.abs(steps - t).argmin())
    return (_levels(path) >> bit & 1).astype(np.uint8)


def demo_alternative_result(case: DemoCase, t: float) -> AlternativeResult:
    """How probable a step along a mode is; the biometry is the proposal's.

    With s ~ N(0, 1) along the mode: the density ratio exp(−t²/2), and P(|s| ≥ |t|).
    """
    return AlternativeResult(
        **case.result.model_dump(),
        density_ratio=math.exp(-(t**2) / 2),
        tail_probability=math.erfc(abs(t) / math.sqrt(2)),
        variance_shares=case.variance_shares,
    )


def demo_thumbnail(case: DemoCase, size_px: int) -> NDArray[np.uint8]:
    """A small picture, the longer side at most `size_px`."""
    with Image.open(case.image_path) as picture:
        grey = picture.convert("L")
        grey.thumbnail((size_px, size_px))
        return np.array(grey)


def _map(case_id: str, name: str, step: float) -> FloatMap:
    return _levels(_DATA / f"{case_id}_{name}.png").astype(np.float32) * np.float32(step)


def _levels(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.array(picture)
