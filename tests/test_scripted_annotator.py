"""The person of `benchmarks/scripted_annotator.py`: what is seen, clicked, painted and counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scripted_annotator import BRUSH, CLICKS, WAYS, Row, quartile_table, ratio, ways_table, work
from scripted_desk import Desk, Person, Sheet, by_click, worst_first
from scripted_person import Fault, enough, faults, perceived, scribble, stroke

import lfusion
from lfusion.evaluation.metrics import dice
from lfusion.image import Case, Dataset
from lfusion.interaction import possibilities
from lfusion.predictor import Predictor
from lfusion.types import BoolMap

SIZE = (60, 80)


def rectangle(top: int, left: int, bottom: int, right: int) -> BoolMap:
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def disc(radius: float) -> BoolMap:
    rows, columns = np.indices(SIZE)
    return np.asarray(np.hypot(rows - 30, columns - 40) <= radius)


class TestSight:
    def test_without_tolerance_the_reference_is_seen(self) -> None:
        assert np.array_equal(perceived(disc(20), 0, 1), disc(20))

    def test_the_outline_is_seen_to_within_the_tolerance(self) -> None:
        seen = perceived(disc(20), 2, 1)
        assert np.array_equal(seen, perceived(disc(20), 2, 1))
        wrong = seen != disc(20)
        assert wrong.any()
        rows, columns = np.nonzero(wrong)
        assert (abs(np.hypot(rows - 30, columns - 40) - 20) < 4 * 2).all()

    def test_the_largest_error_comes_first_and_a_thin_one_is_not_noticed(self) -> None:
        seen = rectangle(20, 20, 40, 60)
        missing, surplus, thin = (
            rectangle(20, 20, 25, 30),
            rectangle(40, 30, 49, 39),
            rectangle(20, 60, 40, 62),
        )
        found = faults((seen & ~missing) | surplus | thin, seen, tolerance_px=2)
        assert [fault.missing for fault in found] == [False, True]
        assert found[0].middle == (44, 34)
        assert np.array_equal(found[0].where, surplus)
        assert np.array_equal(found[1].where, missing)

    def test_nothing_is_wrong_with_what_is_right(self) -> None:
        assert faults(disc(20), disc(20), 0) == []


class TestHand:
    def test_a_scribble_runs_along_the_middle_at_its_step(self) -> None:
        fault = Fault(rectangle(20, 10, 25, 51), missing=True, middle=(22, 12))
        points = scribble(fault, 6)
        assert {row for row, _ in points} == {22}
        assert sorted(column for _, column in points) == [12, 18, 24, 30, 36, 42, 48]

    @pytest.mark.parametrize("missing", [True, False])
    def test_a_stroke_does_no_harm(self, missing: bool) -> None:
        seen, mask = disc(20), np.roll(disc(20), 4, axis=1)
        fault = next(fault for fault in faults(mask, seen, 1) if fault.missing == missing)
        made = stroke(fault, seen, radius_px=4)
        assert (seen[made.covered] == missing).all()
        assert np.count_nonzero(made.covered & fault.where) > 0.8 * np.count_nonzero(fault.where)

    def test_the_way_of_the_brush_is_that_of_its_centre(self) -> None:
        seen = rectangle(10, 0, 60, 80)
        fault = Fault(rectangle(10, 20, 14, 60), missing=True, middle=(12, 40))
        made = stroke(fault, seen, radius_px=3)
        # 40 px of fault, and no farther past its ends than the brush reaches
        assert 40 <= made.length_px <= 46

    def test_a_fault_deeper_than_the_brush_takes_several_strokes(self) -> None:
        seen, mask, strokes = disc(20), disc(4), 0
        while found := faults(mask, seen, 1):
            mask |= stroke(found[0], seen, radius_px=4).covered
            strokes += 1
        assert strokes == 2  # a ring of 16 px, 8 px at a time

    def test_where_no_brush_fits_pixels_are_filled(self) -> None:
        seen = rectangle(20, 20, 25, 25)
        fault = Fault(seen, missing=True, middle=(22, 22))
        assert np.array_equal(stroke(fault, seen, radius_px=10).covered, seen)

    @pytest.mark.parametrize(
        ("mask", "target", "expected"),
        [
            ([0, 0, 0, 0, 0, 0], 0.6, 2),  # 2/4 of the overlap: Dice 4/6
            ([0, 0, 0, 0, 0, 0], 1.0, 4),
            ([1, 1, 1, 1, 1, 1], 0.9, 6),  # taking head away never helps
        ],
    )
    def test_enough_is_where_the_target_is_reached(
        self, mask: list[int], target: float, expected: int
    ) -> None:
        reference = np.array([[1, 1, 1, 1, 0, 0]], bool)
        pixels = (np.zeros(6, np.intp), np.arange(6))
        assert enough(np.array([mask], bool), reference, pixels, target) == expected


@pytest.fixture(scope="module")
def predictor(tiny_checkpoint: Path) -> Predictor:
    return lfusion.load(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def case(heads: Path) -> Case:
    return Dataset.read(heads).split("test").cases[0]


@pytest.fixture(scope="module")
def row(predictor: Predictor, case: Case) -> Row:
    return work(predictor, case, Person(radius_px=3, tolerance_px=0, target=0.99), seed=0)


class TestWork:
    def test_every_way_begins_with_the_proposal_and_gets_there(self, row: Row) -> None:
        assert set(row.desks) == set(WAYS)
        for desk in row.desks.values():
            assert dice(desk.sheet.start, desk.sheet.reference) == row.before < 0.99
            assert desk.done

    def test_the_brush_is_counted_by_the_pixels_that_it_changed(self, row: Row) -> None:
        desk = row.desks[BRUSH]
        assert desk.effort.clicks == desk.said_px == 0
        assert desk.effort.strokes > 0
        assert desk.edited_px == desk.distance_px == np.count_nonzero(desk.painted)

    def test_a_click_is_one_pixel_and_its_answer_none(self, row: Row) -> None:
        desk = row.desks[CLICKS]
        assert desk.effort.clicks == desk.said_px > 0
        assert desk.edited_px == desk.effort.clicks + desk.effort.touched_px
        kept = sum(map(len, desk.said.values()))
        assert kept == desk.effort.clicks - desk.effort.undos

    def test_an_answer_that_is_no_better_is_taken_back(
        self, predictor: Predictor, case: Case
    ) -> None:
        image = case.read()
        start = predictor(image).mask > 0
        sheet = Sheet("head", start, start, start, np.zeros_like(image.pixels),
                      possibilities(predictor, image))  # fmt: skip
        desk = Desk(sheet, Person(3, 0, 1.0))
        row, column = np.argwhere(start)[0].tolist()
        right = Fault(start, missing=False, middle=(row, column))  # nothing is wrong there
        assert not desk.tell(right, [right.middle], 1)
        assert np.array_equal(desk.mask, start)
        assert (desk.effort.clicks, desk.effort.undos, desk.said_px) == (1, 1, 1)
        worst_first(desk, by_click)
        assert desk.effort.clicks == 1

    def test_a_good_proposal_is_left_alone(self, predictor: Predictor, case: Case) -> None:
        assert work(predictor, case, Person(3, 0, 0.5), seed=0).desks == {}

    def test_ratio_and_tables_tell_the_sums(self, row: Row) -> None:
        found = ratio([row], CLICKS)
        assert found.value == row.desks[CLICKS].edited_px / row.desks[BRUSH].edited_px
        assert found.low == found.high == found.value
        assert ways_table([row]).row_count == len(WAYS)
        assert quartile_table([row]).row_count == 1
