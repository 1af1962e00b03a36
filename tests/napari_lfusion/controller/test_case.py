"""What can be done to an open case, on napari's model and without a window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from napari.utils._test_utils import read_only_mouse_event
from napari.utils.interactions import (
    mouse_move_callbacks,
    mouse_press_callbacks,
    mouse_release_callbacks,
)

from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.controller.case import CaseController
from napari_lfusion.controller.pointing import OUTSIDE_COLOR, Click
from napari_lfusion.controller.tools import Tool
from napari_lfusion.core.case import BackendInfo, OpenCase, Proposal
from napari_lfusion.layers import Role

MakeCase = Callable[..., OpenCase]


@pytest.fixture
def case(annotator: Annotator, make_case: MakeCase, info: BackendInfo) -> CaseController:
    """An open case; the worse spot is region 1."""
    annotator.case.view.set_threshold(0.5)
    annotator.case.open(make_case(), info)
    return annotator.case


def drag(target: ViewerModel | Labels, *points: tuple[float, float]) -> None:
    """Press, move and release the left button at points of the image."""
    size = np.array([0.5, 0.25])

    def event(kind: str, point: tuple[float, float]) -> object:
        return read_only_mouse_event(
            type=kind,
            is_dragging=kind == "mouse_move",
            position=np.array(point) * size,
            view_direction=None,
            dims_displayed=(0, 1),
            button=1,
            modifiers=(),
        )

    mouse_press_callbacks(target, event("mouse_press", points[0]))
    for point in points[1:]:
        mouse_move_callbacks(target, event("mouse_move", point))
    mouse_release_callbacks(target, event("mouse_release", points[-1]))


def paint(case: CaseController, *points: tuple[float, float]) -> None:
    case.choose(Tool.PAINT)
    drag(case.stack.labels, *points)


def test_dirty_means_other_pixels(case: CaseController) -> None:
    assert not case.editor.dirty
    paint(case, (50, 80), (50, 85))
    assert case.editor.dirty
    case.undo()
    assert not case.editor.dirty
    case.redo()
    assert case.editor.dirty


def test_a_stroke_is_counted_once_with_its_pixels(case: CaseController) -> None:
    case.stack.labels.brush_size = 1
    paint(case, (50, 80), (50, 82))
    assert (case.effort.strokes, case.effort.touched_px) == (1, 3)


def test_a_polygon_of_naparis_own_tool_is_a_stroke(case: CaseController) -> None:
    edits: list[int] = []
    case.edited.connect(lambda: edits.append(1))
    case.stack.labels.paint_polygon([(40, 40), (40, 60), (60, 60)], 2)
    assert case.editor.dirty
    assert (case.effort.strokes, len(edits)) == (1, 1)
    assert case.effort.touched_px == np.count_nonzero(case.mask == 2)


@pytest.mark.parametrize("tool", [Tool.PAINT, Tool.ERASE])
def test_the_gate_lets_the_brush_change_only_unsure_pixels(
    case: CaseController, tool: Tool
) -> None:
    start = case.mask.copy()
    case.editor.write_at(np.nonzero(np.ones_like(start)), 1 if tool is Tool.ERASE else 0)
    before = case.mask.copy()
    case.view.set_gate(True)
    case.stack.labels.brush_size = 20
    case.choose(tool)
    drag(case.stack.labels, (42, 55), (42, 62), (42, 70))
    changed = case.mask != before
    assert changed.any()
    assert np.array_equal(changed, changed & case.review.regions.above)


def test_a_gated_stroke_is_one_step_and_redo_stays_within_the_gate(case: CaseController) -> None:
    case.view.set_gate(True)
    case.stack.labels.brush_size = 20
    start = case.mask.copy()
    paint(case, (42, 55), (42, 62), (42, 70))
    painted = case.mask.copy()
    case.undo()
    assert np.array_equal(case.mask, start)
    case.redo()
    assert np.array_equal(case.mask, painted)


def test_regions_are_walked_from_the_worst(case: CaseController) -> None:
    review = case.review
    assert [region.area_px for region in review.regions.items] == [30, 25]
    first = review.next_open()
    assert first is not None
    assert first.box == (40, 60, 45, 66)
    second = case.accept()
    assert second is not None
    assert second.number == 2
    assert review.waiting == 1
    assert review.move(-1) == first
    assert case.accept() == second
    assert case.accept() is None
    assert review.waiting == 0


def test_a_region_that_is_looked_at_is_framed_and_in_the_middle(
    case: CaseController, viewer: ViewerModel
) -> None:
    whole = viewer.scene.camera.zoom
    case.review.next_open()
    assert len(case.stack.layer(Role.REGION).data) == 1
    assert viewer.scene.camera.center[-2:] == pytest.approx((42 * 0.5, 62.5 * 0.25))
    assert viewer.scene.camera.zoom > whole


def test_revert_puts_the_proposal_back_in_the_region_alone(case: CaseController) -> None:
    case.editor.write_at(np.nonzero(np.ones_like(case.mask)), 2)
    case.review.next_open()
    assert case.revert()
    region = case.review.regions.mask(1)
    assert case.case is not None
    assert np.array_equal(case.mask[region], case.case.proposal.mask[region])
    assert (case.mask[~region] == 2).all()
    case.undo()
    assert (case.mask == 2).all()


def test_one_threshold_moves_regions_gate_and_colours(case: CaseController) -> None:
    case.view.show_map(Role.TOTAL)
    case.view.set_gate(True)
    case.view.set_threshold(0.6)  # of ln 3: above 0.4 · 1.5, below 0.6 · 1.5
    assert len(case.review.regions.items) == 1
    assert case.editor.gate is not None
    assert np.count_nonzero(case.editor.gate) == 30
    alpha = case.stack.layer(Role.TOTAL).colormap.map([0.55, 0.65])[:, 3]
    assert alpha[0] == 0
    assert alpha[1] > 0


def test_decisions_outlive_another_threshold(case: CaseController) -> None:
    case.view.show_map(Role.TOTAL)
    case.view.set_threshold(0.5)
    case.review.next_open()
    case.accept()
    case.view.set_threshold(0.4)
    assert case.review.waiting == 1


def test_before_and_after_swap(case: CaseController) -> None:
    paint(case, (50, 80))
    case.view.show_before(True)
    assert case.stack.layer(Role.PROPOSAL).visible
    assert not case.stack.labels.visible
    case.view.show_before(False)
    assert case.stack.labels.visible


def test_adopting_is_one_step(case: CaseController) -> None:
    other = np.zeros_like(case.mask)
    other[5:40, 5:40] = 1
    start = case.mask.copy()
    assert not case.adopt()
    case.show_alternative(other)
    assert np.array_equal(case.mask, start)
    assert case.adopt()
    assert np.array_equal(case.mask, other)
    case.undo()
    assert np.array_equal(case.mask, start)


def test_clicks_are_sent_in_x_and_y_with_the_name_of_the_class(
    case: CaseController, viewer: ViewerModel
) -> None:
    case.choose(Tool.INSIDE)
    drag(viewer, (12, 30))
    case.choose(Tool.OUTSIDE)
    drag(viewer, (50, 70))
    assert case.pointer.as_message().labels == {
        "fetal head": [[30.0, 12.0]],
        "background": [[70.0, 50.0]],
    }
    assert len(case.stack.points.data) == 2
    outside = case.stack.points.face_color[1][:3] * 255
    assert outside.round().astype(int).tolist() == [
        int(OUTSIDE_COLOR[i : i + 2], 16) for i in (1, 3, 5)
    ]


def test_a_scribble_is_a_few_points(case: CaseController, viewer: ViewerModel) -> None:
    case.choose(Tool.INSIDE)
    drag(viewer, *((12.0, float(column)) for column in range(20, 34)))
    assert [click.column for click in case.pointer.clicks] == [20, 26, 32]
    assert case.effort.clicks == 1


def test_a_click_beside_the_image_is_none(case: CaseController, viewer: ViewerModel) -> None:
    case.choose(Tool.INSIDE)
    drag(viewer, (-5, 30))
    assert case.pointer.clicks == ()


def test_brush_strokes_survive_what_clicks_change_elsewhere(case: CaseController) -> None:
    paint(case, (55, 85))
    painted = case.mask.copy()
    assert case.case is not None
    answer = case.case.proposal.mask.copy()
    answer[2:6, 2:6] = 1
    case.follow(replace(case.case.proposal, mask=answer))
    assert (case.mask[2:6, 2:6] == 1).all()
    case.undo()
    assert np.array_equal(case.mask, painted)


def test_an_undone_answer_takes_its_clicks_along(case: CaseController) -> None:
    assert case.case is not None
    start = case.mask.copy()
    first, second = Click(1, 2, "fetal head"), Click(3, 4, "background")
    answers = [start.copy(), start.copy()]
    answers[0][0:5, 0:5] = 1
    answers[1][0:9, 0:9] = 1
    for clicks, answer in zip([(first,), (first, second)], answers, strict=True):
        case.pointer.replace(clicks)
        case.follow(replace(case.case.proposal, mask=answer))
    paint(case, (50, 80))
    case.undo()
    assert list(case.pointer.clicks) == [first, second]  # a stroke is no answer
    case.undo()
    assert list(case.pointer.clicks) == [first]
    assert np.array_equal(case.mask, answers[0])
    case.pointer.replace((first, second))
    case.follow(replace(case.case.proposal, mask=answers[1]))
    assert np.array_equal(case.mask, answers[1])
    case.undo()
    case.undo()
    assert list(case.pointer.clicks) == []
    assert np.array_equal(case.mask, start)


def test_the_measurement_follows_the_mask(case: CaseController, info: BackendInfo) -> None:
    rows, columns = np.mgrid[:64, :96]
    # 20 px of 0.5 mm by 40 px of 0.25 mm: a circle of 10 mm radius in space
    disc = (((rows - 32) / 20) ** 2 + ((columns - 48) / 40) ** 2 <= 1).astype(np.uint8)
    case.editor.write(disc)
    measured = case.measurement.latest
    assert measured is not None
    assert measured.change.after is not None
    assert measured.change.after.hc_mm == pytest.approx(2 * np.pi * 10, rel=0.02)
    assert len(case.stack.layer(Role.MEASUREMENT).data) == 1
    case.measurement.toggle()
    assert len(case.stack.layer(Role.MEASUREMENT).data) == 0


def test_while_one_mask_is_measured_only_the_newest_waits(
    case: CaseController, runner: Any
) -> None:
    runner.held = True
    for side in (10, 20, 30):
        mask = np.zeros((64, 96), np.uint8)
        mask[:side, :side] = 1
        case.editor.write(mask)
    measured: list[int] = []
    case.measurement.changed.connect(lambda found: measured.append(found.change.changed_px))
    runner.go_on()
    proposed = case.case.proposal.mask if case.case else mask
    assert len(measured) == 2
    assert measured[-1] == np.count_nonzero(mask != proposed)


def test_the_next_class_comes_round(case: CaseController) -> None:
    case.choose(Tool.PAINT)
    seen = []
    for _ in range(3):
        seen.append(case.stack.labels.selected_label)
        case.next_class()
    assert seen == [1, 2, 1]
    assert case.tools.tool is Tool.PAINT


def test_a_recovered_mask_is_a_changed_one(
    annotator: Annotator, make_case: MakeCase, info: BackendInfo
) -> None:
    recovered = np.ones((64, 96), np.uint8)
    annotator.case.open(make_case(), info, recovered)
    assert annotator.case.editor.dirty
    assert np.array_equal(annotator.case.mask, recovered)


def test_the_last_click_can_be_taken_back(case: CaseController) -> None:
    case.pointer.replace((Click(1, 2, "fetal head"), Click(3, 4, "background")))
    assert case.take_back_click() == (Click(1, 2, "fetal head"),)


def test_without_maps_everything_but_the_review_works(
    annotator: Annotator, make_case: MakeCase, info: BackendInfo
) -> None:
    annotator.case.open(make_case("plain", maps=False), info)
    case = annotator.case
    assert case.view.maps == ()
    assert case.review.next_open() is None
    case.view.set_gate(True)
    paint(case, (50, 80))
    assert case.editor.dirty
    proposal = Proposal("plain", np.zeros((64, 96), np.uint8))
    case.follow(proposal)
    assert case.view.threshold_nats is None


def test_what_was_painted_outlives_the_layer_that_held_it(
    case: CaseController, viewer: ViewerModel
) -> None:
    paint(case, (50, 80))
    painted = case.mask.copy()
    viewer.layers.clear()
    assert np.array_equal(case.mask, painted)
    assert case.editor.dirty
    assert len(viewer.layers) == 0
