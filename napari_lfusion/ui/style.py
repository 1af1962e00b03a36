"""Calm: napari's own colours, a little more room, one accent."""

from __future__ import annotations

from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QLayout, QVBoxLayout, QWidget

ACCENT = "#3a7ca5"
STYLE = f"""
QToolButton {{ padding: 5px 9px; border-radius: 4px; background: rgba(255, 255, 255, 18); }}
QToolButton:hover:enabled {{ background: rgba(255, 255, 255, 40); }}
QToolButton:disabled {{ background: rgba(255, 255, 255, 6); }}
QToolButton[primary="true"]:enabled {{ background: {ACCENT}; color: white; font-weight: 600; }}
QToolButton:checked {{ background: {ACCENT}; color: white; }}
QLabel[role="title"] {{ font-size: 15px; font-weight: 600; }}
QLabel[role="heading"] {{ font-weight: 600; margin-top: 6px; }}
QLabel[role="key"] {{ font-weight: 600; }}
QLabel[role="quiet"] {{ color: palette(mid); }}
QLabel[role="figure"] {{ font-size: 17px; font-weight: 600; }}
QFrame[role="advice"] {{ border-left: 3px solid {ACCENT}; }}
QFrame[role="message"] {{ background: #6b3a22; border-radius: 4px; }}
QFrame[role="news"] {{ background: #22543d; border-radius: 4px; }}
QFrame[role="message"] QLabel, QFrame[role="news"] QLabel {{
    color: #ffffff; background: transparent;
}}
"""
"""Qt style sheet of the widget."""


def label(text: str = "", role: str = "") -> QLabel:
    """A label that wraps.

    Args:
        text: What it says.
        role: `title`, `heading`, `figure`, `quiet` or nothing.

    Returns:
        The label.
    """
    made = QLabel(text)
    made.setWordWrap(True)
    made.setProperty("role", role)
    return made


def row(*widgets: QWidget | QLayout, stretch: bool = False) -> QHBoxLayout:
    """Widgets beside each other.

    Args:
        widgets: From left to right.
        stretch: Whether they share the width; else they stay at the left.

    Returns:
        The layout.
    """
    layout = QHBoxLayout()
    layout.setSpacing(6)
    _fill(layout, widgets, stretch)
    if not stretch:
        layout.addStretch(1)
    return layout


def column(*widgets: QWidget | QLayout, parent: QWidget | None = None) -> QVBoxLayout:
    """Widgets below each other.

    Args:
        widgets: From the top down.
        parent: Gets the layout.

    Returns:
        The layout.
    """
    layout = QVBoxLayout(parent)
    layout.setSpacing(6)
    layout.setContentsMargins(8, 8, 8, 8)
    _fill(layout, widgets, stretch=False)
    return layout


def framed(widget: QWidget, role: str) -> QFrame:
    """A widget in a frame.

    Args:
        widget: What is inside.
        role: `advice`, `message` or `news`.

    Returns:
        The frame.
    """
    frame = QFrame()
    frame.setProperty("role", role)
    column(widget, parent=frame)
    return frame


def restyle(widget: QWidget) -> None:
    """Let a changed property reach the style sheet.

    Args:
        widget: Whose property changed.
    """
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def _fill(layout: QLayout, widgets: tuple[QWidget | QLayout, ...], stretch: bool) -> None:
    for item in widgets:
        if isinstance(item, QLayout):
            layout.addLayout(item)
        elif stretch:
            layout.addWidget(item, 1)
        else:
            layout.addWidget(item)
