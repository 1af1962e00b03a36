"""Clicks and scribbles on the canvas: where the model is told what is inside and what is not."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from lfusion.protocol import Clicks
from napari_lfusion.layers import LayerStack, Role

if TYPE_CHECKING:
    from napari.components import ViewerModel

BACKGROUND = "background"
"""Name under which the protocol sends points that are outside of everything."""
INSIDE_COLOR = "#009E73"
OUTSIDE_COLOR = "#D55E00"
SCRIBBLE_STEP_PX = 6.0
"""Distance of the points that a scribble is sent as."""


@dataclass(frozen=True)
class Click:
    """One point.

    Attributes:
        row: In pixels.
        column: In pixels.
        label: Name of the structure that is there, or `background`.
    """

    row: float
    column: float
    label: str

    @property
    def inside(self) -> bool:
        """Whether it is inside of a structure."""
        return self.label != BACKGROUND


class Pointer:
    """Turns presses and drags on the canvas into points, and draws them.

    Args:
        viewer: Whose canvas.
        stack: The layers.
    """

    added = Signal()
    """A click or a scribble ended: there are more points than before."""

    def __init__(self, viewer: ViewerModel, stack: LayerStack) -> None:
        self.label: str | None = None
        """What the next click means; None when clicks are not for us."""
        self.clicks: tuple[Click, ...] = ()
        """All points of the open case."""
        self.frozen = False
        """Whether new ones are left out."""
        self._viewer = viewer
        self._stack = stack
        viewer.mouse_drag_callbacks.append(self._on_drag)

    def leave(self) -> None:
        """Listen to the canvas no longer."""
        self._viewer.mouse_drag_callbacks.remove(self._on_drag)

    def replace(self, clicks: tuple[Click, ...]) -> None:
        """Have other points, such as one less.

        Args:
            clicks: All of them.
        """
        self.clicks = clicks
        self._draw()

    def as_message(self) -> Clicks:
        """All points as the server reads them, [x, y]."""
        points: dict[str, list[list[float]]] = {}
        for click in self.clicks:
            points.setdefault(click.label, []).append([click.column, click.row])
        return Clicks(labels=points)

    def _on_drag(self, viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
        if self.label is None or event.button != 1:
            return
        label, path = self.label, [self._pixel(event.position)]
        event.handled = True
        yield
        while event.type == "mouse_move":
            path.append(self._pixel(event.position))
            event.handled = True
            yield
        clicks = tuple(Click(*point, label) for point in self._inside(thinned(path)))
        if clicks and not self.frozen:
            self.replace(self.clicks + clicks)
            self.added.emit()

    def _pixel(self, position: tuple[float, ...]) -> tuple[float, float]:
        row, column = self._stack.layer(Role.IMAGE).world_to_data(position)[-2:]
        return float(row), float(column)

    def _inside(self, path: list[tuple[float, float]]) -> list[tuple[float, float]]:
        height, width = self._stack.layer(Role.IMAGE).data.shape
        return [
            (round(row, 1), round(column, 1))
            for row, column in path
            if -0.5 <= row < height - 0.5 and -0.5 <= column < width - 0.5
        ]

    def _draw(self) -> None:
        if not self.clicks:
            self._stack.drawn.empty(Role.CLICKS)
            return
        layer = self._stack.points
        layer.data = np.array([[c.row, c.column] for c in self.clicks])
        layer.symbol = ["cross" if c.inside else "x" for c in self.clicks]
        layer.face_color = [INSIDE_COLOR if c.inside else OUTSIDE_COLOR for c in self.clicks]
        layer.selected_data = set()
        self._stack.drawn.show(Role.CLICKS)


def thinned(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A scribble as a few points: the model needs no more, and each one costs.

    Args:
        path: (row, column) by mouse event.

    Returns:
        The first point and each further one that is far enough from the last kept.

    Example:
        >>> thinned([(0, 0), (1, 0), (7, 0), (8, 0)])
        [(0, 0), (7, 0)]
    """
    kept = path[:1]
    for point in path[1:]:
        if np.hypot(point[0] - kept[-1][0], point[1] - kept[-1][1]) >= SCRIBBLE_STEP_PX:
            kept.append(point)
    return kept
