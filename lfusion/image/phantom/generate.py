"""Generate phantoms, one by one or as a data set folder."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfusion.image.phantom.acoustics import beam_grid, display, receive
from lfusion.image.phantom.conditions import DETAILS, Condition, Detail, apply_detail
from lfusion.image.phantom.head import add_head
from lfusion.image.phantom.parameters import draw_scene
from lfusion.image.phantom.scene import HEIGHT_PX, WIDTH_PX, HeadEllipse, Region, Scene
from lfusion.image.phantom.womb import build_womb
from lfusion.types import BoolMap, LabelMap

_CYCLE = 8
_SPLITS = {"r": "train", "v": "val", "t": "test"}
_SPLIT_ORDER = "rrtrvrtrrtrvrtrrtvrr"
_COLUMNS = (
    "id", "split", "group", "pixel_size_mm", "hc_mm", "width", "height", "ellipse_cx",
    "ellipse_cy", "ellipse_d1_px", "ellipse_d2_px", "ellipse_angle_deg", "condition",
    "condition_detail", "lesion_mask",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Phantom:
    """A simulated scan with its truth.

    Attributes:
        image: [H, W] uint8, black outside the fan.
        mask: [H, W] uint8, 1 = fetal head, the filled `ellipse`.
        fan: [H, W] bool, where the scanner sees.
        pixel_size_mm: Side of a square pixel.
        hc_mm: True head circumference, the perimeter of `ellipse`.
        ellipse: Outer skull line, HC18 conventions.
        condition: Normal, abnormal or poor.
        detail: What exactly is wrong.
        lesion: [H, W] bool for abnormal phantoms, else None.
    """

    image: NDArray[np.uint8]
    mask: LabelMap
    fan: BoolMap
    pixel_size_mm: float
    hc_mm: float
    ellipse: HeadEllipse
    condition: Condition
    detail: Detail
    lesion: BoolMap | None


def generate_phantom(
    seed: int,
    condition: Condition = Condition.NORMAL,
    *,
    index: int = 0,
    detail: Detail | None = None,
) -> Phantom:
    """Simulate one scan; the same arguments give the same bits.

    Anatomy, textures, scatterers and the condition have random streams of their own, so that
    an abnormal phantom is the normal one of the same seed and index plus its finding.

    Args:
        seed: Seed of the data set, not negative.
        condition: Normal, abnormal or poor.
        index: Number of the phantom within the data set, not negative.
        detail: What exactly is wrong; drawn when None.

    Returns:
        The scan and its truth.

    Raises:
        ValueError: The detail does not belong to the condition.
    """
    if detail is not None and detail not in DETAILS[condition]:
        allowed = ", ".join(DETAILS[condition])
        raise ValueError(f"detail of a {condition} phantom must be one of {allowed}; got {detail}")
    anatomy_rng, texture_rng, echo_rng, condition_rng = (
        np.random.Generator(np.random.PCG64(child))
        for child in np.random.SeedSequence([seed, index]).spawn(4)
    )
    chosen = DETAILS[condition][int(condition_rng.integers(len(DETAILS[condition])))]
    detail = chosen if detail is None else detail
    scene, lesion = apply_detail(draw_scene(anatomy_rng), detail, condition_rng)
    grid = beam_grid(scene)
    tissue = build_womb(scene, grid, texture_rng)
    add_head(scene, grid, texture_rng, tissue)
    image, fan = display(receive(tissue, scene, grid, echo_rng), scene)
    return Phantom(
        image=image,
        mask=scene.ellipse.filled(HEIGHT_PX, WIDTH_PX),
        fan=fan,
        pixel_size_mm=scene.pixel_size_mm,
        hc_mm=scene.hc_mm,
        ellipse=scene.ellipse,
        condition=condition,
        detail=detail,
        lesion=_lesion_mask(scene, lesion) if lesion else None,
    )


def _lesion_mask(scene: Scene, lesion: tuple[Region, ...]) -> BoolMap:
    """Pixels inside any of the regions, and inside the head."""
    half_p, half_q = scene.half_axes_mm
    mm = scene.pixel_size_mm
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), dtype=bool)
    c, s = math.cos(scene.forehead_rad), math.sin(scene.forehead_rad)
    for region in lesion:
        u, v = region.p * half_p, region.q * half_q
        ellipse = HeadEllipse(
            cx=scene.ellipse.cx + (u * c - v * s) / mm,
            cy=scene.ellipse.cy + (u * s + v * c) / mm,
            d1_px=2.0 * region.radius_q * half_p / mm,
            d2_px=2.0 * region.radius_p * half_p / mm,
            angle_deg=math.degrees(scene.forehead_rad + region.angle_rad) + 90.0,
        )
        mask |= ellipse.filled(HEIGHT_PX, WIDTH_PX) > 0
    return mask & (scene.ellipse.filled(HEIGHT_PX, WIDTH_PX) > 0)


def plan(n: int) -> Iterator[tuple[Condition, Detail, str]]:
    """Condition, detail and split of each phantom of a data set of `n`.

    Of every eight phantoms six are normal, the fourth abnormal and the eighth poor, details in
    turn. Normal ones go to train, val and test 12 : 3 : 5; all others to test, so that training
    sees normal heads only.

    Args:
        n: Number of phantoms.

    Yields:
        One triple a phantom.
    """
    counts = dict.fromkeys(Condition, 0)
    for index in range(n):
        place = index % _CYCLE
        condition = {3: Condition.ABNORMAL, 7: Condition.POOR}.get(place, Condition.NORMAL)
        turn = counts[condition]
        counts[condition] += 1
        detail = DETAILS[condition][turn % len(DETAILS[condition])]
        split = (
            _SPLITS[_SPLIT_ORDER[turn % len(_SPLIT_ORDER)]]
            if condition is Condition.NORMAL
            else "test"
        )
        yield condition, detail, split


def write_phantoms(
    out: Path, n: int, seed: int, progress: Callable[[int, int], None] | None = None
) -> None:
    """Write a data set: `images/`, `masks/`, `lesions/`, `meta.csv` and `labels.json`.

    Args:
        out: Folder, made when missing; files of the same names are replaced.
        n: Number of phantoms, at least 1.
        seed: The same seed gives the same pixels; a longer data set starts with a shorter one.
        progress: Called with (done, n) after each phantom.

    Raises:
        ValueError: `n` is below 1 or `seed` is negative.
    """
    if n < 1 or seed < 0:
        raise ValueError(f"expected n >= 1 and seed >= 0; got n={n}, seed={seed}")
    for folder in ("images", "masks", "lesions"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for index, (condition, detail, split) in enumerate(plan(n)):
        name = f"phantom_{index + 1:04d}"
        phantom = generate_phantom(seed, condition, index=index, detail=detail)
        _write_png(out / "images" / f"{name}.png", phantom.image)
        _write_png(out / "masks" / f"{name}.png", phantom.mask)
        if phantom.lesion is not None:
            _write_png(out / "lesions" / f"{name}.png", phantom.lesion.astype(np.uint8))
        rows.append(_row(name, split, phantom))
        if progress is not None:
            progress(index + 1, n)
    with (out / "meta.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    labels = json.dumps({"fetal head": 1}, indent=2) + "\n"
    (out / "labels.json").write_text(labels, encoding="utf-8")


def _write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    Image.fromarray(pixels).save(path, optimize=True)


def _row(name: str, split: str, phantom: Phantom) -> dict[str, str | int]:
    height, width = phantom.image.shape
    ellipse = phantom.ellipse
    return {
        "id": name,
        "split": split,
        "group": name,
        "pixel_size_mm": f"{phantom.pixel_size_mm:.9f}",
        "hc_mm": f"{phantom.hc_mm:.3f}",
        "width": width,
        "height": height,
        "ellipse_cx": f"{ellipse.cx:.4f}",
        "ellipse_cy": f"{ellipse.cy:.4f}",
        "ellipse_d1_px": f"{ellipse.d1_px:.4f}",
        "ellipse_d2_px": f"{ellipse.d2_px:.4f}",
        "ellipse_angle_deg": f"{ellipse.angle_deg:.4f}",
        "condition": phantom.condition.value,
        "condition_detail": phantom.detail.value,
        "lesion_mask": f"lesions/{name}.png" if phantom.lesion is not None else "",
    }
