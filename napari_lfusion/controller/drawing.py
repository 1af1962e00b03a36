"""Measurements and frames as shapes over the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lfusion.biometry import AngleOfProgression, Ellipse, HeadBiometry
from napari_lfusion.core.regions import Region
from napari_lfusion.layers import LayerStack, Role

FRAME_MARGIN_PX = 6
"""Room around a region, so that the frame covers none of it."""


def ellipse_corners(ellipse: Ellipse) -> NDArray[np.float64]:
    """The rectangle around an ellipse, as napari wants its ellipses.

    Args:
        ellipse: In pixels.

    Returns:
        [4, 2], (row, column).

    Example:
        >>> ellipse_corners(Ellipse(10, 20, 5, 3, 0)).tolist()
        [[7.0, 15.0], [7.0, 25.0], [13.0, 25.0], [13.0, 15.0]]
    """
    angle = math.radians(ellipse.angle_deg)
    along = ellipse.semi_major * np.array([math.sin(angle), math.cos(angle)])
    across = ellipse.semi_minor * np.array([math.cos(angle), -math.sin(angle)])
    centre = np.array([ellipse.row, ellipse.column])
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    return np.stack([centre + a * along + b * across for a, b in signs])


def draw_measurements(
    stack: LayerStack, head: HeadBiometry | None, angle: AngleOfProgression | None
) -> None:
    """Draw what was measured; what was not measured is not drawn.

    Args:
        stack: The content of its measurements is replaced.
        head: Its ellipse.
        angle: Its two legs, from the symphysis' long axis to the tangent of the head.
    """
    shapes: list[tuple[NDArray[np.float64], str]] = []
    if head is not None and head.ellipse is not None:
        shapes.append((ellipse_corners(head.ellipse), "ellipse"))
    if angle is not None and angle.superior and angle.inferior and angle.touch:
        legs = [angle.superior, angle.inferior], [angle.inferior, angle.touch]
        shapes.extend((np.array(leg, float), "line") for leg in legs)
    _replace(stack, Role.MEASUREMENT, shapes, edge_width=0.7)


def draw_frame(stack: LayerStack, region: Region | None) -> None:
    """Draw a frame around a region, or none.

    Args:
        stack: The content of its frame is replaced.
        region: In pixels.
    """
    if region is None:
        stack.drawn.empty(Role.REGION)
        return
    top, left, bottom, right = region.box
    top, left = top - FRAME_MARGIN_PX, left - FRAME_MARGIN_PX
    bottom, right = bottom - 1 + FRAME_MARGIN_PX, right - 1 + FRAME_MARGIN_PX
    frame = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], float)
    _replace(stack, Role.REGION, [(frame, "rectangle")], edge_width=1.0)


def _replace(
    stack: LayerStack,
    role: Role,
    shapes: list[tuple[NDArray[np.float64], str]],
    edge_width: float,
) -> None:
    stack.drawn.empty(role)
    if not shapes:
        return
    layer = stack.layer(role)
    layer.add(
        [corners for corners, _ in shapes],
        shape_type=[kind for _, kind in shapes],
        edge_width=edge_width,
        edge_color=layer.current_edge_color,
        face_color="transparent",
    )
    layer.selected_data = set()
    stack.drawn.show(role)
