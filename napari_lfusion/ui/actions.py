"""Every action once: its text, its keys, its tooltip, what it does and when it may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence
from qtpy.QtWidgets import QToolButton, QWidget


@dataclass(frozen=True)
class Spec:
    """One action.

    Attributes:
        group: Heading in the help.
        name: For programs.
        text: On the button.
        keys: Shortcuts, separated by spaces; the first one is on the button.
        tip: One sentence.
        run: Does it.
        enabled: Whether it makes sense now.
        repeats: Whether holding the key repeats it.
    """

    group: str
    name: str
    text: str
    keys: str
    tip: str
    run: Callable[[], object]
    enabled: Callable[[], bool]
    repeats: bool = False


class Actions:
    """The actions as Qt knows them; they fire whichever panel has the focus.

    Args:
        owner: With it they end.
        specs: What there is.
    """

    def __init__(self, owner: QWidget, specs: list[Spec]) -> None:
        self.specs = tuple(specs)
        self._actions: dict[str, QAction] = {}
        for spec in specs:
            action = QAction(spec.text, owner)
            action.setIconText(f"{spec.text}  {shown(spec.keys.split()[0])}")
            action.setShortcuts([QKeySequence(key) for key in spec.keys.split()])
            action.setShortcutContext(Qt.ShortcutContext.ApplicationShortcut)
            action.setAutoRepeat(spec.repeats)
            action.setToolTip(f"{spec.tip} ({shown(spec.keys)})")
            action.triggered.connect(lambda _=False, run=spec.run: run())
            owner.addAction(action)
            self._actions[spec.name] = action
        self.refresh()

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def refresh(self) -> None:
        """Allow what makes sense now; a key of what does not is nobody's."""
        for spec in self.specs:
            self._actions[spec.name].setEnabled(spec.enabled())

    def button(self, name: str, *, primary: bool = False, checkable: bool = False) -> QToolButton:
        """A button for an action, with its key on it.

        Args:
            name: Of the action.
            primary: Whether it is the one to press next.
            checkable: Whether it stays down.

        Returns:
            The button.
        """
        action = self._actions[name]
        action.setCheckable(checkable)
        button = QToolButton()
        button.setDefaultAction(action)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        button.setProperty("primary", primary)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        return button


def shown(keys: str) -> str:
    """Keys as people read them on this system.

    Args:
        keys: Qt's portable text, separated by spaces.

    Returns:
        Separated by commas.
    """
    native = QKeySequence.SequenceFormat.NativeText
    return ", ".join(QKeySequence(key).toString(native) for key in keys.split())
