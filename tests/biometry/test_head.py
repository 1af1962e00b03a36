"""Head biometry: hand-computed shapes, refusals, and the real annotated ellipses."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.biometry import Ellipse, ellipse_circumference, fit_ellipse, measure_head
from lfusion.errors import NonFiniteError

SHAPE = (240, 320)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)


def disc(row: float = 120, column: float = 160, radius: float = 80) -> NDArray[np.bool_]:
    return np.asarray(np.hypot(ROWS - row, COLUMNS - column) <= radius)


def soft(ellipse: Ellipse, slope_px: float = 3.0) -> NDArray[np.float32]:
    """A probability map that is exactly one half on the ellipse."""
    points = np.stack([ROWS.ravel(), COLUMNS.ravel()], axis=1)
    distance = (1 - ellipse.polar(points)[1]) * ellipse.semi_minor
    return np.asarray(1 / (1 + np.exp(-distance / slope_px)), np.float32).reshape(SHAPE)


class TestCircumference:
    def test_circle_is_two_pi_r(self) -> None:
        assert ellipse_circumference(7.0, 7.0) == pytest.approx(14 * math.pi, rel=1e-15)

    def test_two_to_one_ellipse_against_the_elliptic_integral(self) -> None:
        # 4 a E(e) with a = 2, e^2 = 3/4: E = 1.2110560275684594.
        assert ellipse_circumference(2.0, 1.0) == pytest.approx(8 * 1.2110560275684594, rel=1e-7)

    @pytest.mark.parametrize("axes", [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
    def test_refuses_axes_that_are_not_positive(self, axes: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="two positive semi-axes"):
            ellipse_circumference(*axes)


class TestFit:
    @given(
        row=st.floats(-50, 300),
        column=st.floats(-50, 300),
        minor=st.floats(10, 100),
        ratio=st.floats(1.05, 2.5),
        angle=st.floats(0, 179),
    )
    def test_recovers_the_ellipse_its_points_lie_on(
        self, row: float, column: float, minor: float, ratio: float, angle: float
    ) -> None:
        truth = Ellipse(row, column, minor * ratio, minor, angle)
        found = fit_ellipse(truth.outline(50))
        assert found is not None
        assert (found.row, found.column) == pytest.approx((row, column), abs=1e-4)
        assert (found.semi_major, found.semi_minor) == pytest.approx((minor * ratio, minor))
        assert math.cos(math.radians(2 * (found.angle_deg - angle))) == pytest.approx(1)

    @pytest.mark.parametrize(
        "points",
        [
            np.empty((0, 2)),
            np.array([[0.0, 0.0], [1.0, 2.0], [5.0, 3.0], [2.0, 2.0]]),
            np.stack([np.arange(20.0), 2 * np.arange(20.0)], axis=1),
        ],
        ids=["no points", "four points", "a line"],
    )
    def test_is_none_where_no_ellipse_fits(self, points: NDArray[np.float64]) -> None:
        assert fit_ellipse(points) is None


class TestMeasured:
    def test_disc_of_radius_80_px_and_half_a_mm(self) -> None:
        head = measure_head(disc(), (0.5, 0.5))
        assert head.refusal is None
        assert head.hc_mm == pytest.approx(2 * math.pi * 40, abs=0.2)
        assert head.bpd_mm == pytest.approx(80, abs=0.1)
        assert head.ofd_mm == pytest.approx(80, abs=0.1)
        assert head.hc_px == pytest.approx(2 * math.pi * 80, abs=0.4)

    def test_probability_is_measured_between_the_pixels(self) -> None:
        truth = Ellipse(118.3, 161.7, 92.4, 70.2, 33.0)
        head = measure_head(soft(truth), (0.2, 0.2))
        assert head.ofd_mm == pytest.approx(0.4 * 92.4, abs=0.01)
        assert head.bpd_mm == pytest.approx(0.4 * 70.2, abs=0.01)
        assert head.ellipse is not None
        assert head.ellipse.angle_deg == pytest.approx(33, abs=0.1)
        assert (head.ellipse.row, head.ellipse.column) == pytest.approx((118.3, 161.7), abs=0.02)

    def test_pixels_that_are_not_square_make_a_disc_an_ellipse(self) -> None:
        head = measure_head(disc(), (0.5, 1.0))
        assert head.bpd_mm == pytest.approx(80, abs=0.1)
        assert head.ofd_mm == pytest.approx(160, abs=0.2)
        assert head.hc_mm == pytest.approx(ellipse_circumference(80, 40), abs=0.4)

    @pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float32])
    def test_every_kind_of_mask_gives_the_same(self, dtype: type) -> None:
        assert measure_head(disc().astype(dtype), (1, 1)) == measure_head(disc(), (1, 1))

    def test_the_number_of_the_class_does_not_matter(self) -> None:
        assert measure_head(disc().astype(np.uint8) * 7) == measure_head(disc())

    def test_holes_and_smaller_regions_do_not_matter(self) -> None:
        blemished = disc() & ~disc(120, 160, 30) | disc(20, 20, 12)
        assert measure_head(blemished, (1, 1)) == measure_head(disc(), (1, 1))

    @settings(max_examples=25, deadline=None)
    @given(size=st.floats(0.05, 0.5), turns=st.integers(0, 3))
    def test_scales_with_the_pixel_and_ignores_rotation(self, size: float, turns: int) -> None:
        truth = Ellipse(120, 160, 90, 70, 20)
        one = measure_head(soft(truth), (1.0, 1.0)).hc_mm
        other = measure_head(np.rot90(soft(truth), turns), (size, size)).hc_mm
        assert one is not None
        assert other == pytest.approx(size * one, rel=1e-6)

    def test_head_that_leaves_the_image_is_measured_from_what_is_seen(self) -> None:
        head = measure_head(disc(row=30), (1, 1))
        assert head.hc_mm == pytest.approx(2 * math.pi * 80, rel=0.005)

    def test_as_dict_is_json(self) -> None:
        head = measure_head(disc(), (0.5, 0.5))
        assert json.loads(json.dumps(head.as_dict())) == head.as_dict()
        assert head.as_dict()["ellipse"]["row"] == pytest.approx(120, abs=0.1)


class TestRefused:
    @pytest.mark.parametrize(
        ("region", "reason"),
        [
            (np.zeros(SHAPE, bool), "no head found"),
            (disc(radius=6), r"too small: \d+ px"),
            (disc() & (ROWS > 120), "not an ellipse"),
            ((abs(ROWS - 120) < 60) & (abs(COLUMNS - 160) < 90), "not an ellipse"),
            (disc() & ~disc(60, 160, 40), "not an ellipse"),
            (disc(row=-20), "less than half"),
            (disc(0, 0, 120), "less than half"),
            (np.ones(SHAPE, bool), "less than half"),
            (np.ones((1, 500), bool), "less than half"),
        ],
        ids=["empty", "tiny", "half disc", "box", "bite", "cut", "corner", "full", "one row"],
    )
    def test_says_why(self, region: NDArray[np.bool_], reason: str) -> None:
        head = measure_head(region, (0.1, 0.1))
        assert head.refusal is not None
        assert re.search(reason, head.refusal)
        assert (head.hc_mm, head.hc_px, head.ellipse) == (None, None, None)

    def test_without_a_pixel_size_the_pixels_are_still_measured(self) -> None:
        head = measure_head(disc())
        assert head.refusal is not None
        assert "no pixel size" in head.refusal
        assert head.hc_mm is None
        assert head.hc_px == pytest.approx(2 * math.pi * 80, abs=0.4)


class TestBadArguments:
    def test_nan(self) -> None:
        with pytest.raises(NonFiniteError, match="NaN"):
            measure_head(np.full(SHAPE, np.nan, np.float32))

    def test_logits(self) -> None:
        with pytest.raises(ValueError, match="not logits"):
            measure_head(np.full(SHAPE, 3.0, np.float32))

    def test_two_classes(self) -> None:
        with pytest.raises(ValueError, match=r"classes \[1, 2\]"):
            measure_head(disc().astype(np.uint8) + disc(radius=20))

    def test_three_dimensions(self) -> None:
        with pytest.raises(ValueError, match="shape"):
            measure_head(np.zeros((1, *SHAPE), bool))

    @pytest.mark.parametrize("size", [(0.0, 1.0), (1.0, -1.0), (math.nan, 1.0)])
    def test_pixel_size(self, size: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="two positive mm"):
            measure_head(disc(), size)


def draw(row: dict[str, str]) -> NDArray[np.bool_]:
    """The annotated head by the rule of the data set's README."""
    rows, columns = np.mgrid[: int(row["height"]), : int(row["width"])]
    angle = math.radians(float(row["ellipse_angle_deg"]))
    x, y = columns - float(row["ellipse_cx"]), rows - float(row["ellipse_cy"])
    u = x * math.cos(angle) + y * math.sin(angle)
    v = -x * math.sin(angle) + y * math.cos(angle)
    first, second = float(row["ellipse_d1_px"]), float(row["ellipse_d2_px"])
    return np.asarray((2 * u / first) ** 2 + (2 * v / second) ** 2 <= 1)


def test_annotated_heads_are_measured_within_a_tenth_of_a_mm(shared_data: Path) -> None:
    with (shared_data / "hc18" / "meta.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = rows[::20] + [row for row in rows if row["mask_touches_border"] == "1"]
    errors = []
    for row in chosen:
        size = float(row["pixel_size_mm"])
        head = measure_head(draw(row), (size, size))
        assert head.hc_mm is not None, (row["id"], head.refusal)
        errors.append(head.hc_mm - float(row["hc_mm_from_ellipse"]))
    assert len(errors) == 33
    assert np.abs(errors).max() <= 0.1
    assert abs(np.mean(errors)) <= 0.02
