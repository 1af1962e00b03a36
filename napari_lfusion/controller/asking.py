"""What the model says to clicks, and which other masks it holds possible."""

from __future__ import annotations

from dataclasses import dataclass

from psygnal import Signal

from lfusion.protocol import Alternative
from napari_lfusion.controller.case import CaseController
from napari_lfusion.controller.link import Link
from napari_lfusion.core.case import Proposal

MODES = 3
"""Principal modes that are offered: the later ones hardly move the mask."""
SAMPLES = 8
"""Coherent samples that are offered."""
REACH = 3.0
"""Standard deviations along a mode, to both sides."""
STEP = 0.5


@dataclass(frozen=True)
class Choice:
    """A place on the counterfactual slider.

    Attributes:
        source: A mode's number, or None for the samples.
        position: Standard deviations along the mode, or the seed of the sample.
    """

    source: int | None = 0
    position: float = 0.0

    def as_message(self) -> Alternative:
        """The same as the server reads it."""
        if self.source is None:
            return Alternative(kind="sample", seed=round(self.position))
        return Alternative(kind="mode", mode=self.source, t=self.position)

    def moved(self, steps: int) -> Choice:
        """The next place, within the ends.

        Args:
            steps: To the right, negative to the left.
        """
        if self.source is None:
            return Choice(None, float(min(max(self.position + steps, 0), SAMPLES - 1)))
        return Choice(self.source, min(max(self.position + steps * STEP, -REACH), REACH))

    def other_source(self) -> Choice:
        """The next mode at its middle, after the last one the samples."""
        if self.source is None:
            return Choice(0)
        return Choice(self.source + 1) if self.source + 1 < MODES else Choice(None)


class Asker:
    """Sends clicks and asks for alternatives; the newest question counts.

    Args:
        link: The connection.
        case: The open case.
    """

    choice_changed = Signal(object)
    """`Choice`."""

    def __init__(self, link: Link, case: CaseController) -> None:
        self.choice = Choice()
        self._link = link
        self._case = case
        case.clicked.connect(self.send_clicks)
        case.opened.connect(self._reset)

    @property
    def can_follow(self) -> bool:
        """Whether the server follows clicks."""
        info = self._link.info
        return bool(info and info.capabilities and info.capabilities.interactive)

    @property
    def can_choose(self) -> bool:
        """Whether the server offers alternatives."""
        info = self._link.info
        return bool(info and info.capabilities and info.capabilities.counterfactual)

    def send_clicks(self) -> None:
        """Ask for the mask that follows all clicks so far."""
        case = self._case.case
        if case is None or not self._case.pointer.clicks:
            return
        image_id, message = case.offer.image_id, self._case.pointer.as_message()
        self._link.ask(
            "clicks",
            lambda backend: backend.follow(image_id, message),
            self._on_followed,
            lambda _: self._forget_last(),
        )

    def choose(self, choice: Choice) -> None:
        """Look at another mask.

        Args:
            choice: Which.
        """
        case = self._case.case
        if case is None:
            return
        self.choice = choice
        self.choice_changed.emit(choice)
        image_id, message = case.offer.image_id, choice.as_message()
        self._link.ask(
            "alternative",
            lambda backend: backend.alternative(image_id, message),
            lambda proposal: self._on_alternative(image_id, proposal),
        )

    def adopt(self) -> bool:
        """Take the alternative that is looked at over, and begin at the middle again.

        Returns:
            Whether there was one.
        """
        adopted = self._case.adopt()
        if adopted:
            self._reset()
        return adopted

    def _on_followed(self, proposal: Proposal) -> None:
        case = self._case.case
        if case is not None and case.offer.image_id == proposal.image_id:
            self._case.follow(proposal)

    def _on_alternative(self, image_id: str, proposal: Proposal) -> None:
        case = self._case.case
        if case is not None and case.offer.image_id == image_id:
            self._case.show_alternative(proposal.mask)

    def _forget_last(self) -> None:
        """A click that the server cannot follow must not spoil the next ones."""
        if self._case.case is not None:
            self._case.take_back_click()

    def _reset(self) -> None:
        self._link.requests.drop("alternative", "clicks")
        self.choice = Choice()
        self.choice_changed.emit(self.choice)
