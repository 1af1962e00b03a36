"""Colours that hold up under colour-blindness and over bright skull."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from napari.utils.colormaps import DirectLabelColormap, ensure_colormap
from napari.utils.colormaps.colormap import Colormap

CLASS_COLORS = ("#56B4E9", "#F0E442", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#E69F00")
"""Okabe and Ito's palette, the ones that stand out of grey ultrasound first; class 1 is sky blue.

Source: M. Okabe, K. Ito, Color Universal Design (2008).
"""
PROPOSAL_COLOR = "#FFFFFF"
"""What the model proposed, before and after."""
ALTERNATIVE_COLOR = "#E69F00"
"""A counterfactual that is only looked at."""

_STEPS = 256
_FIRST_TONE = 0.30
"""Inferno's darker third would blacken the image where the map is nearly clear."""
_MOST_OPAQUE = 0.85
_EDGE = 0.30
"""Opacity right above a threshold, so that the edge of what counts as unsure is seen."""


@lru_cache(maxsize=128)
def alpha_ramp(threshold: float = 0.0) -> Colormap:
    """Inferno that fades in: the image shows through wherever the model is sure.

    Additive blending and opaque maps hide low uncertainty over bright skull.

    Args:
        threshold: Share of the colour scale in [0, 1) below which the map is clear.

    Returns:
        A colormap with an alpha channel, for `translucent` blending.

    Raises:
        ValueError: The threshold is outside of [0, 1).

    Example:
        >>> alpha_ramp(0.5).map([0.25])[0, 3]
        0.0
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"expected a threshold in [0, 1), got {threshold}")
    position = np.linspace(0, 1, _STEPS)
    colors = ensure_colormap("inferno").map(_FIRST_TONE + (1 - _FIRST_TONE) * position)
    edge = _EDGE if threshold > 0 else 0.0
    above = (position - threshold) / (1 - threshold)
    colors[:, 3] = np.where(above >= 0, edge + (_MOST_OPAQUE - edge) * above, 0.0)
    return Colormap(colors, name=f"lfusion inferno {threshold:.3f}", controls=position)


@lru_cache(maxsize=16)
def class_colormap(classes: int) -> DirectLabelColormap:
    """One colour a class; the background is clear.

    Args:
        classes: Number of classes without the background.

    Returns:
        A colormap for a labels layer; further numbers that somebody paints are white.
    """
    colors: dict[int | None, str] = {
        number + 1: CLASS_COLORS[number % len(CLASS_COLORS)] for number in range(classes)
    }
    return DirectLabelColormap(color_dict={None: "white", 0: "transparent", **colors})


@lru_cache(maxsize=8)
def single_color(color: str) -> DirectLabelColormap:
    """The same colour for every class, for contours that are only compared with.

    Args:
        color: A colour that napari understands.

    Returns:
        A colormap for a labels layer.
    """
    return DirectLabelColormap(color_dict={None: color, 0: "transparent"})
