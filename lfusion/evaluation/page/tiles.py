"""Pictures of single images: the echo image with outlines, and its uncertainty maps."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from markupsafe import Markup, escape
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import approximate_polygon, find_contours

from lfusion.types import BoolMap, FloatMap, GreyImage, LabelMap

COLOURS = "cividis"
"""Readable with every form of colour blindness, and in print."""
_LONGEST_SIDE = 520
"""Pixels of an embedded picture: sharp at the width it is shown, small in the file."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What is drawn of one image.

    Attributes:
        title: above it, such as "Lowest Dice".
        caption: its figures in words.
        pixels: the image.
        mask: prediction.
        reference: true mask, or None.
        aleatoric: map in nats.
        epistemic: map in nats.
    """

    title: str
    caption: str
    pixels: GreyImage
    mask: LabelMap
    reference: LabelMap | None
    aleatoric: FloatMap
    epistemic: FloatMap


@dataclass(frozen=True)
class Scale:
    """Ends of the colours of a map, nats, from 0."""

    name: str
    highest: float

    @property
    def gradient(self) -> str:
        """The colours from low to high as a CSS gradient."""
        colours = (colormaps[COLOURS](x, bytes=True)[:3] for x in np.linspace(0, 1, 9))
        return ", ".join(f"rgb({r} {g} {b})" for r, g, b in colours)


def map_scales(shown: Sequence[Shown], classes: int) -> dict[str, Scale]:
    """Return the scale of each map, one for all images.

    The aleatoric colours span 0 to ln C, all there can be. What a trained model does not know is
    a small part of that, so the epistemic colours end where a thousandth of the pixels lies above.

    Args:
        shown: at least one image.
        classes: C with the background.
    """
    highest = max(float(np.quantile(entry.epistemic, 0.999)) for entry in shown)
    return {
        "aleatoric": Scale("aleatoric", math.log(classes)),
        "epistemic": Scale("epistemic", max(highest, 1e-9)),
    }


def outlined(shown: Shown) -> Markup:
    """Return the image with the model's outline and, dashed, the true one."""
    return overlaid(shown.pixels, shown.mask, shown.reference)


def overlaid(
    pixels: GreyImage,
    mask: LabelMap,
    reference: LabelMap | None,
    marked: Mapping[str, BoolMap] | None = None,
) -> Markup:
    """Return an image with the model's outline and, dashed, that of an expert.

    Args:
        pixels: the image.
        mask: the model's.
        reference: the expert's, or None.
        marked: style of the page → pixels to fill with it.
    """
    lines = Markup("").join(
        Markup(f'<path class="{kind}" d="{_path(where)}"/>')
        for kind, where in (marked or {}).items()
        if where.any()
    )
    if reference is not None:
        lines += _outlines(reference, "truth")
    whose = "the model's outline" + ("" if reference is None else " and the expert's")
    return _tile(
        _grey(pixels), pixels.shape, lines + _outlines(mask, "model"), f"Image with {whose}"
    )


def plain(pixels: GreyImage) -> Markup:
    """Return an image as it is."""
    return _tile(_grey(pixels), pixels.shape, Markup(""), "Image")


def coloured(shown: Shown, scale: Scale) -> Markup:
    """Return one uncertainty map in colours."""
    values: FloatMap = getattr(shown, scale.name)
    colours = colormaps[COLOURS](np.clip(values / scale.highest, 0, 1), bytes=True)[..., :3]
    peak = f"Map of {scale.name} uncertainty, highest {float(values.max()):.2g} nats"
    picture = _encode(Image.fromarray(np.ascontiguousarray(colours)), "PNG")
    return _tile(picture, values.shape, Markup(""), peak)


def _grey(pixels: GreyImage) -> str:
    grey = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return _encode(Image.fromarray(grey), "JPEG")


def _tile(href: str, shape: tuple[int, ...], lines: Markup, description: str) -> Markup:
    height, width = shape
    return Markup(
        f'<svg role="img" aria-label="{escape(description)}" viewBox="0 0 {width} {height}" '
        f'class="tile"><image href="{href}" width="{width}" height="{height}"/>{lines}</svg>'
    )


def _outlines(mask: LabelMap, kind: str) -> Markup:
    paths = [_path(mask == number) for number in np.unique(mask[mask > 0])]
    return Markup("").join(Markup(f'<path class="{kind}" d="{path}"/>') for path in paths)


def _path(region: BoolMap) -> str:
    """The outline of a region; where the image edge cuts it, it follows the edge."""
    padded: NDArray[np.float64] = np.pad(region, 1).astype(np.float64)
    pieces = find_contours(padded, 0.5)  # type: ignore[no-untyped-call]
    parts = []
    for piece in pieces:
        points = approximate_polygon(piece, 0.4) - 0.5  # type: ignore[no-untyped-call]
        parts.append("M" + " ".join(f"{column:.1f} {row:.1f}" for row, column in points) + "Z")
    return "".join(parts)


def _encode(picture: Image.Image, kind: str) -> str:
    """A data URI of the picture at the size it is shown."""
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    if kind == "JPEG":
        picture.save(buffer, kind, quality=88)
    else:
        picture.quantize(128).save(buffer, kind, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
