"""A case in napari's layers: swapped in place, found by role, without the past of another case."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from napari.components import ViewerModel

from lfusion.types import LabelMap
from napari_lfusion.core.case import OpenCase
from napari_lfusion.layers import KEY, MAPS, LayerStack, Role

LABELS = {"fetal head": 1, "pubic symphysis": 2}
MakeCase = Callable[..., OpenCase]


@pytest.fixture
def stack(viewer: ViewerModel) -> LayerStack:
    return LayerStack(viewer)


def show(stack: LayerStack, case: OpenCase, scale: float | None = None) -> LabelMap:
    stack.show(case, LABELS, case.start, scale)
    return case.start


def test_layers_are_told_apart_by_role_and_not_by_name(
    viewer: ViewerModel, stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case("a"))
    for layer in viewer.layers:
        layer.name = "renamed"
    before = list(viewer.layers)
    show(stack, make_case("b"))
    assert list(viewer.layers) == before
    assert [layer.metadata[KEY]["role"] for layer in viewer.layers] == list(Role)
    assert stack.labels.metadata[KEY]["case"] == "b"


def test_ctrl_z_never_brings_pixels_of_the_case_before(
    stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case("a"))
    with stack.labels.block_history():
        stack.labels.paint((50, 80), 1)
    second = make_case("b")
    second.proposal.mask[0, 0] = 2
    show(stack, second)
    stack.labels.undo()
    stack.labels.redo()
    assert np.array_equal(stack.labels.data, second.start)


def test_the_tool_in_hand_outlives_the_swap(stack: LayerStack, make_case: MakeCase) -> None:
    show(stack, make_case("a"))
    stack.labels.mode = "paint"
    stack.labels.brush_size = 7
    show(stack, make_case("b"))
    assert (str(stack.labels.mode), stack.labels.brush_size) == ("paint", 7)


def test_painting_leaves_the_proposal_alone(stack: LayerStack, make_case: MakeCase) -> None:
    case = make_case()
    proposal = case.proposal.mask.copy()
    show(stack, case)
    stack.labels.paint((50, 80), 2)
    assert np.array_equal(case.proposal.mask, proposal)


def test_pixels_have_their_size(
    viewer: ViewerModel, stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case())
    image = stack.layer(Role.IMAGE)
    assert tuple(image.scale) == (0.5, 0.25)
    assert {str(unit) for unit in image.units} == {"millimeter"}
    assert viewer.canvas.overlays.scale_bar.visible


def test_an_image_without_pixel_size_is_in_pixels(
    viewer: ViewerModel, stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case("a"))
    before = list(viewer.layers)
    show(stack, make_case("b", pixel_size_mm=None))
    assert list(viewer.layers) == before
    assert tuple(stack.layer(Role.IMAGE).scale) == (1, 1)
    assert {str(unit) for layer in viewer.layers for unit in layer.units} == {"pixel"}
    assert not viewer.canvas.overlays.scale_bar.visible


def test_colours_mean_the_same_on_every_image(stack: LayerStack, make_case: MakeCase) -> None:
    show(stack, make_case(), scale=0.02)
    upper = {role.value: limits.upper for role, limits in stack.limits.items()}
    ln3 = math.log(3)
    assert upper == pytest.approx({"epistemic": 0.02, "aleatoric": ln3, "total": ln3})
    assert tuple(stack.layer(Role.EPISTEMIC).contrast_limits) == pytest.approx((0, 0.02))


def test_without_calibration_the_epistemic_scale_is_the_cases_own(
    stack: LayerStack, make_case: MakeCase
) -> None:
    case = make_case()
    show(stack, case)
    limits = stack.limits[Role.EPISTEMIC]
    assert limits.upper == pytest.approx(
        float(np.percentile(case.proposal.maps["epistemic"], 99.5))
    )
    assert "this image" in limits.source


def test_one_map_is_visible_at_a_time_and_stays_chosen(
    stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case("a"))
    assert stack.visible_map is Role.EPISTEMIC
    stack.show_map(Role.ALEATORIC)
    case = make_case("b")
    show(stack, case)
    assert [stack.layer(role).visible for role in MAPS] == [False, True, False]
    assert np.array_equal(stack.layer(Role.ALEATORIC).data, case.proposal.maps["aleatoric"])


def test_the_threshold_reaches_the_maps_that_are_shown_later(
    stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case())
    stack.set_threshold(0.5)
    stack.show_map(Role.TOTAL)
    for role in (Role.EPISTEMIC, Role.TOTAL):
        assert stack.layer(role).colormap.map([0.45])[0, 3] == 0, role
        assert stack.layer(role).colormap.map([0.55])[0, 3] > 0, role


def test_what_is_drawn_is_seen_unless_it_was_hidden_by_hand(
    stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case())
    frame = stack.layer(Role.REGION)
    assert not frame.visible
    frame.add_rectangles([[1, 1], [5, 5]])
    stack.drawn.show(Role.REGION)
    assert frame.visible
    frame.visible = False
    stack.rest()
    show(stack, make_case("b"))
    stack.drawn.show(Role.REGION)
    assert not frame.visible
    assert len(frame.data) == 0


def test_a_map_that_is_shown_by_hand_is_this_cases(stack: LayerStack, make_case: MakeCase) -> None:
    show(stack, make_case("a"))
    stack.layer(Role.TOTAL).visible = True
    stack.layer(Role.TOTAL).visible = False
    case = make_case("b", shape=(32, 48))
    case.proposal.maps["total"][...] = 0.3
    show(stack, case)
    stack.layer(Role.TOTAL).visible = True
    assert np.array_equal(stack.layer(Role.TOTAL).data, case.proposal.maps["total"])


def test_without_maps_nothing_of_the_case_before_shows(
    stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case("a"))
    show(stack, make_case("b", maps=False))
    assert stack.visible_map is None
    stack.layer(Role.EPISTEMIC).visible = True
    assert not stack.layer(Role.EPISTEMIC).data.any()


def test_a_removed_layer_comes_back_in_its_place(
    viewer: ViewerModel, stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case("a"))
    viewer.layers.remove(stack.labels)
    case = make_case("b")
    show(stack, case)
    assert [layer.metadata[KEY]["role"] for layer in viewer.layers] == list(Role)
    assert np.array_equal(stack.labels.data, case.start)


def test_layers_of_others_are_left_alone(
    viewer: ViewerModel, stack: LayerStack, make_case: MakeCase
) -> None:
    theirs = viewer.add_image(np.zeros((4, 4)), metadata={KEY: "not ours"})
    show(stack, make_case())
    stack.rest()
    assert [layer for layer in viewer.layers if layer.visible] == [theirs]


def test_a_result_that_was_opened_is_not_written_over(
    viewer: ViewerModel, stack: LayerStack, make_case: MakeCase
) -> None:
    theirs = [
        viewer.add_labels(np.ones((7, 9), np.uint8), metadata={KEY: {"role": "mask"}}),
        viewer.add_image(np.ones((7, 9), np.float32), metadata={KEY: {"role": "epistemic"}}),
    ]
    case = make_case()
    show(stack, case)
    stack.rest()
    assert [layer for layer in viewer.layers if layer.visible] == theirs
    assert all(layer.data.shape == (7, 9) and layer.data.all() for layer in theirs)
    assert np.array_equal(stack.labels.data, case.start)
    stack.remove()
    assert list(viewer.layers) == theirs


def test_classes_have_names_and_colours(stack: LayerStack, make_case: MakeCase) -> None:
    show(stack, make_case())
    assert list(stack.labels.features["name"]) == ["background", *LABELS]
    colors = {tuple(stack.labels.get_color(number)) for number in LABELS.values()}
    assert len(colors) == 2
    assert stack.labels.contour > 0


def test_between_two_cases_the_layers_rest(
    viewer: ViewerModel, stack: LayerStack, make_case: MakeCase
) -> None:
    show(stack, make_case("a"))
    stack.show_map(Role.TOTAL)
    before = list(viewer.layers)
    stack.rest()
    assert not any(layer.visible for layer in viewer.layers)
    show(stack, make_case("b"))
    assert list(viewer.layers) == before
    assert stack.visible_map is Role.TOTAL
    assert stack.layer(Role.IMAGE).visible
    assert stack.labels.visible
