"""How each layer of a case looks when it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Points, Shapes

from napari_lfusion.colormaps import (
    ALTERNATIVE_COLOR,
    PROPOSAL_COLOR,
    alpha_ramp,
    class_colormap,
    single_color,
)
from napari_lfusion.layers.roles import Role

if TYPE_CHECKING:
    from napari.layers import Layer

_EMPTY = np.zeros((1, 1), np.uint8)
MEASUREMENT_COLOR = "#E0E0E0"
REGION_COLOR = "#FFFFFF"

_NAMES = {
    Role.EPISTEMIC: "Epistemic",
    Role.ALEATORIC: "Aleatoric",
    Role.TOTAL: "Total",
}


def _image() -> Layer:
    empty = np.zeros((1, 1), np.float32)
    return Image(
        empty, name="Image", colormap="gray", contrast_limits=(0, 1), interpolation2d="linear"
    )


def _map(role: Role) -> Layer:
    return Image(
        np.zeros((1, 1), np.float32),
        name=_NAMES[role],
        colormap=alpha_ramp(),
        contrast_limits=(0, 1),
        blending="translucent",
        interpolation2d="linear",
        visible=False,
    )


def _mask() -> Layer:
    layer = Labels(_EMPTY.copy(), name="Mask", colormap=class_colormap(1), opacity=1.0)
    layer.contour = 1
    layer.brush_size = 12
    return layer


def _contour(name: str, color: str) -> Layer:
    layer = Labels(
        _EMPTY.copy(), name=name, colormap=single_color(color), opacity=0.9, visible=False
    )
    layer.contour = 1
    layer.editable = False
    return layer


def _shapes(name: str, color: str) -> Layer:
    return Shapes(None, ndim=2, name=name, edge_color=color, face_color="transparent", opacity=0.9)


def _clicks() -> Layer:
    return Points(
        None, ndim=2, name="Clicks", size=9, border_width=0.15, border_color="black", opacity=1.0
    )


BUILDERS: Mapping[Role, Callable[[], Layer]] = {
    Role.IMAGE: _image,
    Role.TOTAL: lambda: _map(Role.TOTAL),
    Role.ALEATORIC: lambda: _map(Role.ALEATORIC),
    Role.EPISTEMIC: lambda: _map(Role.EPISTEMIC),
    Role.PROPOSAL: lambda: _contour("Proposal", PROPOSAL_COLOR),
    Role.ALTERNATIVE: lambda: _contour("Alternative", ALTERNATIVE_COLOR),
    Role.MEASUREMENT: lambda: _shapes("Measurement", MEASUREMENT_COLOR),
    Role.REGION: lambda: _shapes("Region", REGION_COLOR),
    Role.MASK: _mask,
    Role.CLICKS: _clicks,
}
"""From the bottom of the layer list to the top."""
