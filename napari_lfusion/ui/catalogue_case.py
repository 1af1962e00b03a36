"""Actions on the open case."""

from __future__ import annotations

from collections.abc import Callable

from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.controller.tools import Tool
from napari_lfusion.ui.actions import Spec

_THRESHOLD_STEP = 0.05
_BRUSH_STEP = 1.25
_REVIEW, _CORRECT = "Review", "Correct"


def case_actions(annotator: Annotator) -> list[Spec]:
    """Everything that is done to a case.

    Args:
        annotator: Does it.

    Returns:
        In the order of the help.
    """
    return [*_review(annotator), *_tools(annotator), *_edits(annotator)]


def _review(annotator: Annotator) -> list[Spec]:
    case, view, review = annotator.case, annotator.case.view, annotator.case.review

    def regions() -> bool:
        return annotator.editing and bool(review.regions.items)

    def editing() -> bool:
        return annotator.editing

    def selected() -> bool:
        return annotator.editing and review.current is not None

    def nudge(step: float) -> Callable[[], None]:
        return lambda: view.set_threshold(view.threshold + step)

    def mapped() -> bool:
        return annotator.editing and bool(view.maps)

    return [
        Spec(
            _REVIEW,
            "next_region",
            "Next unsure",
            "U",
            "Go to the next region that waits for a decision",
            review.next_open,
            regions,
        ),
        Spec(
            _REVIEW,
            "region_down",
            "Down",
            "J",
            "Go to the next lower region, decided or not",
            lambda: review.move(1),
            regions,
            repeats=True,
        ),
        Spec(
            _REVIEW,
            "region_up",
            "Up",
            "K",
            "Go to the next higher region, decided or not",
            lambda: review.move(-1),
            regions,
            repeats=True,
        ),
        Spec(
            _REVIEW,
            "accept",
            "Accept",
            "A",
            "The region is good as it is; goes to the next",
            case.accept,
            selected,
        ),
        Spec(
            _REVIEW,
            "revert",
            "Revert",
            "R",
            "Put the proposal back into the region",
            case.revert,
            selected,
        ),
        Spec(
            _REVIEW,
            "next_map",
            "Map",
            "H",
            "Show the next map, after the last one none",
            view.next_map,
            mapped,
        ),
        Spec(
            _REVIEW,
            "threshold_up",
            "Stricter",
            "Shift+Up",
            "Raise the threshold: fewer regions",
            nudge(_THRESHOLD_STEP),
            mapped,
            repeats=True,
        ),
        Spec(
            _REVIEW,
            "threshold_down",
            "Looser",
            "Shift+Down",
            "Lower the threshold: more regions",
            nudge(-_THRESHOLD_STEP),
            mapped,
            repeats=True,
        ),
        Spec(
            _REVIEW,
            "before",
            "Before",
            "W",
            "Swap the proposal and the corrected mask",
            lambda: view.show_before(not view.before),
            editing,
        ),
        Spec(
            _REVIEW,
            "measure",
            "Measurement",
            "Shift+M",
            "Draw the measurement, or draw it no longer",
            case.measurement.toggle,
            editing,
        ),
    ]


def _tools(annotator: Annotator) -> list[Spec]:
    case = annotator.case

    def editing() -> bool:
        return annotator.editing

    def follows() -> bool:
        return annotator.editing and annotator.asker.can_follow

    def choose(tool: Tool) -> Callable[[], None]:
        return lambda: case.choose(tool)

    def several() -> bool:
        return annotator.editing and case.info is not None and len(case.info.labels) > 1

    rows = (
        (Tool.PAN, "Move", "Z", "Move and zoom the image", editing),
        (Tool.PAINT, "Paint", "P", "Paint the chosen class", editing),
        (Tool.ERASE, "Erase", "E", "Paint background", editing),
        (Tool.INSIDE, "Inside", "I", "Click or scribble where the structure is", follows),
        (Tool.OUTSIDE, "Outside", "O", "Click or scribble where it is not", follows),
    )
    tools = [
        Spec(_CORRECT, str(tool), text, key, tip, choose(tool), enabled)
        for tool, text, key, tip, enabled in rows
    ]
    another = "Paint the next class, where there are several"
    return [*tools, Spec(_CORRECT, "class", "Class", "C", another, case.next_class, several)]


def _edits(annotator: Annotator) -> list[Spec]:
    case, asker = annotator.case, annotator.asker

    def editing() -> bool:
        return annotator.editing

    def offers() -> bool:
        return annotator.editing and asker.can_choose

    def adoptable() -> bool:
        return annotator.editing and case.alternative is not None

    rows = (
        (
            "smaller",
            "Smaller",
            "[",
            "Smaller brush",
            lambda: case.tools.resize_brush(1 / _BRUSH_STEP),
        ),
        ("larger", "Larger", "]", "Larger brush", lambda: case.tools.resize_brush(_BRUSH_STEP)),
        ("undo", "Undo", "Ctrl+Z", "Take the last step back", case.undo),
        ("redo", "Redo", "Ctrl+Shift+Z", "Do the step again", case.redo),
    )
    edits = [
        Spec(_CORRECT, name, text, key, tip, run, editing, repeats=True)
        for name, text, key, tip, run in rows
    ]
    walks = (
        ("other_less", "‹", "Shift+Left", "The mask a step to the left", -1),
        ("other_more", "›", "Shift+Right", "The mask a step to the right", 1),
    )

    def walk(steps: int) -> Callable[[], None]:
        return lambda: asker.choose(asker.choice.moved(steps))

    alternatives = [
        Spec(_CORRECT, name, text, key, tip, walk(steps), offers, repeats=True)
        for name, text, key, tip, steps in walks
    ]
    return [
        *edits,
        *alternatives,
        Spec(
            _CORRECT,
            "other_source",
            "Other way",
            "Shift+D",
            "Vary the mask in another way",
            lambda: asker.choose(asker.choice.other_source()),
            offers,
        ),
        Spec(
            _CORRECT,
            "adopt",
            "Adopt",
            "D",
            "Take the orange mask over as one undo step",
            asker.adopt,
            adoptable,
        ),
    ]
