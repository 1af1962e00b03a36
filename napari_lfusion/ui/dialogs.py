"""What has to be asked, and the help."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QInputDialog,
    QLabel,
    QMessageBox,
    QWidget,
)

from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.core.journal import Recovery
from napari_lfusion.ui.actions import Spec, shown
from napari_lfusion.ui.style import column, label

SKIP_REASONS = ("no head in the picture", "image too poor", "not my field", "later")
FLAG_REASONS = ("possible abnormality", "wrong plane", "label disputed", "broken image")


class Dialogs:
    """Asks the annotator.

    Args:
        parent: Over which the dialogs open.
        annotator: Is told the answers.
    """

    def __init__(self, parent: QWidget, annotator: Annotator) -> None:
        self.specs: tuple[Spec, ...] = ()
        """What the help lists."""
        self._parent = parent
        self._annotator = annotator
        self._help: QDialog | None = None

    def skip(self) -> None:
        """Ask why, then skip."""
        self._ask("Skip", "Why not now?", SKIP_REASONS, self._annotator.finisher.skip)

    def flag(self) -> None:
        """Ask why, then flag."""
        self._ask(
            "Flag", "What should somebody look at?", FLAG_REASONS, self._annotator.finisher.flag
        )

    def release(self) -> None:
        """Give the case back; ask first when something would be lost."""
        if self._annotator.case.editor.dirty:
            answer = QMessageBox.question(
                self._parent, "Give back", "The mask was changed. Give the case up and lose it?"
            )
            if answer != QMessageBox.StandardButton.Yes:
                return
        self._annotator.finisher.release()

    def recover(self, recovery: Recovery) -> None:
        """Offer a case that was open when the program ended.

        Args:
            recovery: What the journal holds.
        """
        latest = recovery.cases[0]
        when = time.strftime("%d %b, %H:%M:%S", time.localtime(latest.saved_at))
        older = len(recovery.cases) - 1
        more = f"\n{older} older: each goes on when its image is opened." if older else ""
        box = QMessageBox(self._parent)
        box.setWindowTitle("Go on where you were?")
        box.setText(
            f"{latest.entry.image_id} was open when napari ended. Its last stroke was saved on "
            f"{when}, after {latest.entry.effort.strokes} strokes.{more}"
        )
        answer = _answer(box, "Go on", "Discard it")
        if answer == "Go on":
            self._annotator.recover(latest)
        elif answer == "Discard it":
            self._annotator.discard(latest)

    def refused(self) -> None:
        """Ask what becomes of each correction that the server refused."""
        postman = self._annotator.postman
        for item in postman.refused:
            box = QMessageBox(self._parent)
            box.setWindowTitle("Refused by the server")
            box.setText(f"{item.correction.image_id} was not taken: {item.refusal}")
            box.setInformativeText("The mask of one that is given up is kept as a file.")
            answer = _answer(box, "Send again", "Give it up")
            if answer == "Send again":
                postman.retry(item)
            elif answer == "Give it up":
                postman.give_up(item)

    def help(self) -> None:
        """Show all keys, or hide them again."""
        if self._help is not None and self._help.isVisible():
            self._help.close()
            return
        self._help = HelpDialog(self._parent, self.specs)
        self._help.show()

    def _ask(
        self, title: str, question: str, reasons: Sequence[str], tell: Callable[[str], None]
    ) -> None:
        reason, accepted = QInputDialog.getItem(
            self._parent, title, question, list(reasons), 0, True
        )
        # the case may have ended while the dialog was open
        if accepted and self._annotator.editing:
            tell(reason.strip())


class HelpDialog(QDialog):
    """All keys on one page.

    Args:
        parent: Over which it opens.
        specs: The actions.
    """

    def __init__(self, parent: QWidget, specs: Sequence[Spec]) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys of L-FUSION")
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        groups = dict.fromkeys(spec.group for spec in specs)
        for number, group in enumerate(groups):
            members = [spec for spec in specs if spec.group == group]
            grid.addWidget(
                _table(group, members), number // 2, number % 2, Qt.AlignmentFlag.AlignTop
            )
        gate = (
            "Hold G while painting: the brush paints only where the map is above the threshold. "
            "Esc closes a message. To begin, F3 connects and F2 starts the demonstration."
        )
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.close)
        column(grid, label(gate), buttons, parent=self)


def _table(group: str, specs: Sequence[Spec]) -> QWidget:
    table = QWidget()
    grid = QGridLayout(table)
    grid.setVerticalSpacing(2)
    grid.setColumnStretch(1, 1)
    grid.addWidget(label(group, "title"), 0, 0, 1, 2)
    for line, spec in enumerate(specs, start=1):
        key = QLabel(shown(spec.keys))
        key.setProperty("role", "key")
        grid.addWidget(key, line, 0)
        grid.addWidget(QLabel(spec.tip), line, 1)  # one that wraps would be cut off
    return table


def _answer(box: QMessageBox, accept: str, destroy: str) -> str | None:
    """Show a question that can wait; the button pressed, None for later."""
    buttons = {
        accept: box.addButton(accept, QMessageBox.ButtonRole.AcceptRole),
        destroy: box.addButton(destroy, QMessageBox.ButtonRole.DestructiveRole),
    }
    box.addButton("Later", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(buttons[accept])
    box.exec()
    return next((name for name, one in buttons.items() if box.clickedButton() is one), None)
