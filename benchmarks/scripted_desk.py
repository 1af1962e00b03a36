"""A case on the desk of a scripted annotator: what is done to its mask, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scripted_person import Fault, enough, faults, scribble, stroke

from lfusion.evaluation.metrics import dice
from lfusion.interaction import Possibilities, corrected, modes, step_along
from lfusion.types import BoolMap, FloatMap
from napari_lfusion.controller.asking import REACH, STEP
from napari_lfusion.controller.pointing import SCRIBBLE_STEP_PX
from napari_lfusion.core.effort import Effort, edit_distance
from napari_lfusion.core.regions import Review, find_regions, suggested_threshold

MOST_FAULTS = 60
"""Faults that are dealt with before a case is given up."""
WALKED_MODES = 2
"""Of other masks: the later modes hardly move the outline."""


@dataclass(frozen=True, eq=False)
class Sheet:
    """A case as an annotator gets it.

    Attributes:
        name: Of the image.
        start: [height, width], the proposal.
        reference: [height, width], what it is judged by.
        seen: [height, width], the reference as the person sees it.
        doubt: [height, width], the map that the plugin shows first, nats.
        possible: What the server answers from.
    """

    name: str
    start: BoolMap
    reference: BoolMap
    seen: BoolMap
    doubt: FloatMap
    possible: Possibilities


@dataclass(frozen=True)
class Person:
    """What a person does and when it is enough.

    Attributes:
        radius_px: Of the brush.
        tolerance_px: To which outlines are seen; shallower errors are not noticed.
        target: Dice at which the case is done.
    """

    radius_px: float
    tolerance_px: float
    target: float


class Desk:
    """A sheet under work.

    Args:
        sheet: To correct.
        person: Who does.
    """

    def __init__(self, sheet: Sheet, person: Person) -> None:
        self.sheet, self.person = sheet, person
        self.mask: BoolMap = sheet.start.copy()
        self.painted: BoolMap = np.zeros_like(sheet.start)
        """Where strokes changed the mask."""
        self.effort = Effort()
        self.length_px = 0
        """Way of the brush."""
        self.said_px = 0
        """Pixels that were clicked or scribbled over, taken back or not."""
        self.looks = 0
        """Regions that were accepted as they are, and masks looked at on the slider."""
        self.said: dict[int, list[tuple[int, int]]] = {0: [], 1: []}
        self._answer: BoolMap = sheet.start

    @property
    def done(self) -> bool:
        """Whether the mask is as good as it has to be."""
        return dice(self.mask, self.sheet.reference) >= self.person.target

    @property
    def edited_px(self) -> int:
        """Pixels changed by hand: strokes, clicks, scribbles."""
        return self.effort.touched_px + self.said_px

    @property
    def distance_px(self) -> int:
        """Pixels that differ from the proposal, whoever changed them."""
        return edit_distance(self.mask.astype(np.uint8), self.sheet.start.astype(np.uint8))[0]

    def faults(self) -> list[Fault]:
        """What is visibly wrong, the largest first."""
        return faults(self.mask, self.sheet.seen, self.person.tolerance_px)

    def paint(self, fault: Fault) -> None:
        """Lead the brush along a fault from its middle, no farther than the target needs."""
        made = stroke(fault, self.sheet.seen, self.person.radius_px)
        changed = np.nonzero(made.covered & (self.mask != fault.missing))
        order = np.argsort(np.hypot(*(np.array(changed).T - fault.middle).T), kind="stable")
        rows, columns = (axis[order] for axis in changed)
        kept = enough(self.mask, self.sheet.reference, (rows, columns), self.person.target)
        self.mask[rows[:kept], columns[:kept]] = fault.missing
        self.painted[rows[:kept], columns[:kept]] = True
        self.effort = self.effort.stroke(0.0, kept)
        self.length_px += math.ceil(made.length_px * kept / max(len(rows), 1))

    def tell(self, fault: Fault, points: Sequence[tuple[int, int]], drawn_px: int) -> bool:
        """Say what some pixels are; an answer that is no better to the eye is taken back.

        Args:
            fault: That the points lie in.
            points: (row, column).
            drawn_px: Pixels that the hand went over to say so.

        Returns:
            Whether the mask got better.
        """
        said = {**self.said, int(fault.missing): [*self.said[int(fault.missing)], *points]}
        answer = corrected(self.sheet.possible, said).mask > 0
        mask = np.where(answer != self._answer, answer, self.mask)  # as `CaseController.follow`
        self.effort = self.effort.click(0.0)
        self.said_px += drawn_px
        if dice(mask, self.sheet.seen) <= dice(self.mask, self.sheet.seen):
            self.effort = self.effort.undo(0.0)
            return False
        self.mask, self.said, self._answer = mask, said, answer
        return True

    def adopt_best(self) -> None:
        """Walk the slider of other masks and take the best over, if better to the eye."""
        steps = np.arange(-REACH, REACH + STEP / 2, STEP)
        ways = modes(self.sheet.possible)[:WALKED_MODES]
        others = [
            step_along(self.sheet.possible, mode, float(t)).mask > 0 for mode in ways for t in steps
        ]
        self.looks += len(others)
        best = max(others, key=lambda other: dice(other, self.sheet.seen))
        if dice(best, self.sheet.seen) > dice(self.mask, self.sheet.seen):
            self.mask = best.copy()
            self.effort = self.effort.adopt(0.0)


Handle = Callable[[Desk, Fault], None]


def by_brush(desk: Desk, fault: Fault) -> None:
    """Paint."""
    desk.paint(fault)


def by_click(desk: Desk, fault: Fault) -> None:
    """Click amid the fault; paint it when that does not help."""
    if not desk.tell(fault, [fault.middle], 1):
        desk.paint(fault)


def by_scribble(desk: Desk, fault: Fault) -> None:
    """Scribble along the fault; paint it when that does not help."""
    points = scribble(fault, SCRIBBLE_STEP_PX)
    if not desk.tell(fault, points, round(len(points) * SCRIBBLE_STEP_PX)):
        desk.paint(fault)


def worst_first(desk: Desk, handle: Handle) -> None:
    """Deal with the largest visible error until the mask is good or nothing is visible."""
    for _ in range(MOST_FAULTS):
        found = [] if desk.done else desk.faults()
        if not found:
            return
        handle(desk, found[0])


def by_review(desk: Desk, handle: Handle) -> None:
    """Go through the regions of doubt in their rank, then the worst error first."""
    regions = find_regions(desk.sheet.doubt, suggested_threshold(desk.sheet.doubt))
    review = Review.begin(desk.mask.shape)  # type: ignore[arg-type]  # two axes
    region = review.following(regions, None)
    while region is not None and not desk.done:
        where = regions.mask(region.number)
        wrong = next((fault for fault in desk.faults() if (fault.where & where).any()), None)
        if wrong is None:
            desk.looks += 1
        else:
            handle(desk, wrong)
        review = review.decide(regions, region.number)
        region = review.following(regions, region.number)
    worst_first(desk, handle)
