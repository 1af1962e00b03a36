"""Tools, classes, clicks and other masks that the model holds possible."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSlider, QWidget

from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.controller.asking import REACH, SAMPLES, STEP, Choice
from napari_lfusion.controller.tools import Tool
from napari_lfusion.ui.actions import Actions
from napari_lfusion.ui.style import column, label, row


class CorrectPanel(QWidget):
    """Everything that changes the mask.

    Args:
        annotator: Whose case.
        actions: For the buttons.
    """

    def __init__(self, annotator: Annotator, actions: Actions) -> None:
        super().__init__()
        self._annotator = annotator
        self._actions = actions
        self._classes = QComboBox()
        self._classes.setToolTip("The class that is painted, and that clicks inside mean (C)")
        self._classes.activated.connect(self._choose_class)
        self._tools = {tool: actions.button(str(tool), checkable=True) for tool in Tool}
        self._note = label("", "quiet")
        self._which = label("", "quiet")
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setToolTip(
            "Other masks that the model holds possible (Shift+Left, Shift+Right)"
        )
        self._slider.valueChanged.connect(self._on_slider)
        paint = [self._tools[tool] for tool in (Tool.PAN, Tool.PAINT, Tool.ERASE)]
        click = [self._tools[tool] for tool in (Tool.INSIDE, Tool.OUTSIDE)]
        column(
            label("Correct", "heading"),
            self._classes,
            row(*paint, stretch=True),
            row(*click, actions.button("undo"), stretch=True),
            self._note,
            label("What if", "heading"),
            self._slider,
            self._which,
            row(actions.button("other_source"), actions.button("adopt"), stretch=True),
            parent=self,
        )
        annotator.case.opened.connect(self._on_opened)
        annotator.case.tools.changed.connect(self._on_tool)
        annotator.asker.choice_changed.connect(self._on_choice)
        annotator.case.alternative_changed.connect(actions.refresh)
        self._on_choice(annotator.asker.choice)

    def _on_opened(self) -> None:
        info = self._annotator.case.info
        assert info is not None, "a case is open"
        self._classes.clear()
        for name, number in info.labels.items():
            self._classes.addItem(name, number)
        self._classes.setVisible(len(info.labels) > 1)
        self._show_class()
        asker = self._annotator.asker
        missing = [
            text
            for text, there in (
                ("does not follow clicks", asker.can_follow),
                ("offers no other masks", asker.can_choose),
            )
            if not there
        ]
        self._note.setText(f"This server {' and '.join(missing)}." if missing else "")
        self._note.setVisible(bool(missing))
        self._slider.setEnabled(asker.can_choose)

    def _choose_class(self, index: int) -> None:
        case = self._annotator.case
        case.stack.labels.selected_label = self._classes.itemData(index)
        case.choose(case.tools.tool)

    def _show_class(self) -> None:
        selected = self._annotator.case.stack.labels.selected_label
        self._classes.setCurrentIndex(self._classes.findData(selected))

    def _on_tool(self) -> None:
        if self._annotator.case.case is not None:
            self._show_class()
        for tool, button in self._tools.items():
            button.defaultAction().setChecked(tool is self._annotator.case.tools.tool)

    def _on_choice(self, choice: Choice) -> None:
        self._slider.blockSignals(True)
        if choice.source is None:
            self._slider.setRange(0, SAMPLES - 1)
            self._slider.setValue(round(choice.position))
            self._which.setText(f"sample {round(choice.position) + 1} of {SAMPLES}")
        else:
            reach = round(REACH / STEP)
            self._slider.setRange(-reach, reach)
            self._slider.setValue(round(choice.position / STEP))
            self._which.setText(f"mode {choice.source + 1}: {choice.position:+.1f} sd")
        self._slider.blockSignals(False)

    def _on_slider(self, value: int) -> None:
        asker = self._annotator.asker
        source = asker.choice.source
        asker.choose(Choice(source, float(value) if source is None else value * STEP))
