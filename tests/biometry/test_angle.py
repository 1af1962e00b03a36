"""Angle of progression: layouts worked out by hand, in every rotation and mirroring."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from lfusion.biometry import AngleOfProgression, Ellipse, fit_ellipse, measure_angle
from lfusion.biometry.angle import Pelvis, Point, angle_of
from lfusion.biometry.outline import Outline

SHAPE = (320, 320)
INFERIOR = np.array([110.0, 150.0])
"""Where P2 is before a layout is turned."""
Turn = tuple[float, bool]
"""(degrees, mirrored)."""
turns = st.tuples(st.floats(0, 360), st.booleans())


def turned(points: NDArray[np.float64], turn: Turn) -> NDArray[np.float64]:
    """Points (row, column) turned about the middle of the image, then mirrored left to right."""
    degrees, mirrored = turn
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    middle = np.array(SHAPE) / 2
    row, column = (points - middle).T
    out = np.stack([row * cos + column * sin, column * cos - row * sin], axis=1)
    return np.asarray(out * [1, -1 if mirrored else 1] + middle)


def direction(turn: Turn) -> Point:
    """Where "right" goes."""
    ends = turned(np.array([[0.0, 0.0], [0.0, 1.0]]), turn)
    row, column = (ends[1] - ends[0]).tolist()
    return row, column


def contours(
    head: Ellipse, turn: Turn = (0.0, False)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A symphysis 60 px long that ends at P2 and points left from it, and a head."""
    bone = Ellipse(INFERIOR[0], INFERIOR[1] - 30, 30, 12, 0)
    return turned(bone.outline(200), turn), turned(head.outline(400), turn)


def measured(
    head: Ellipse, turn: Turn = (0.0, False), pixel_size: tuple[float, float] | None = (1.0, 1.0)
) -> AngleOfProgression:
    """The angle of drawn outlines whose pixels have this size, where the layout is in mm."""
    outlines = []
    for contour in contours(head, turn):
        points = contour / (pixel_size or (1.0, 1.0))
        ellipse = fit_ellipse(points)
        assert ellipse is not None
        outlines.append(Outline(points, ellipse))
    return angle_of(Pelvis(*outlines), pixel_size, direction(turn))


def circle(bearing_deg: float, distance: float, radius: float) -> Ellipse:
    """A round head whose centre lies so many degrees from P2P1, below the symphysis."""
    angle = math.radians(bearing_deg)
    centre = INFERIOR + distance * np.array([math.sin(angle), -math.cos(angle)])
    return Ellipse(centre[0], centre[1], radius, radius * (1 - 1e-9), 0)


class TestByHand:
    @pytest.mark.parametrize(
        ("bearing", "distance", "radius", "far", "near"),
        [
            # The tangents of a circle lie asin(radius / distance) to either side of its centre.
            (90, 100, 50, 120, 60),
            (60, 100, 100 / math.sqrt(2), 105, 15),
            (135, 80, 80 / math.sqrt(2), 180, 90),
            (160, 100, 50, 190, 130),
            (40, 100, 50, 70, 10),
        ],
        ids=["half way", "high", "straight", "past the axis", "under the superior end"],
    )
    @pytest.mark.parametrize("turn", [(0.0, False), (0.0, True), (90.0, False), (211.0, True)])
    def test_round_head(
        self, bearing: float, distance: float, radius: float, far: float, near: float, turn: Turn
    ) -> None:
        angle = measured(circle(bearing, distance, radius), turn)
        assert angle.refusal is None
        assert angle.aop_deg == pytest.approx(far, abs=1e-3)
        assert angle.near_deg == pytest.approx(near, abs=1e-3)

    def test_the_three_points(self) -> None:
        # Head of radius 50 straight below P2 by 100: Q is 100 cos 30° from P2, 30° to the right.
        angle = measured(circle(90, 100, 50))
        assert angle.inferior == pytest.approx((110, 150), abs=1e-3)
        assert angle.superior == pytest.approx((110, 90), abs=1e-3)
        reach = 100 * math.cos(math.radians(30))
        expected = (110 + reach * math.cos(math.radians(30)), 150 + reach / 2)
        assert angle.touch == pytest.approx(expected, abs=1e-3)

    def test_a_head_nearer_to_the_superior_end_does_not_swap_the_ends(self) -> None:
        head = circle(40, 100, 50)
        distances = [math.hypot(head.row - 110, head.column - end) for end in (90, 150)]
        assert distances[0] < distances[1]
        assert measured(head).inferior == pytest.approx((110, 150), abs=1e-3)


class TestEllipticHead:
    @given(
        turn=turns,
        bearing=st.floats(20, 160),
        ratio=st.floats(1.05, 1.6),
        tilt=st.floats(0, 179),
        pixel=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
    )
    def test_is_the_largest_angle_to_any_point_of_the_head_however_shown(
        self, turn: Turn, bearing: float, ratio: float, tilt: float, pixel: tuple[float, float]
    ) -> None:
        centre = circle(bearing, 110, 1)
        head = Ellipse(centre.row, centre.column, 50 * ratio, 50, tilt)
        towards = head.outline(20_000) - INFERIOR
        angles = np.degrees(np.arctan2(towards[:, 0], -towards[:, 1]))  # from left, downwards
        angles = np.where(angles < bearing - 180, angles + 360, angles)
        angle = measured(head, turn, pixel)
        assert angle.refusal is None
        assert angle.aop_deg == pytest.approx(angles.max(), abs=0.01)
        assert angle.near_deg == pytest.approx(angles.min(), abs=0.01)


def soft(contour: NDArray[np.float64]) -> NDArray[np.float32]:
    """A probability map that is one half on the ellipse through the contour."""
    ellipse = fit_ellipse(contour)
    assert ellipse is not None
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).reshape(-1, 2)
    distance = (1 - ellipse.polar(grid.astype(float))[1]) * ellipse.semi_minor
    return np.asarray(1 / (1 + np.exp(-distance / 2)), np.float32).reshape(SHAPE)


class TestFromMaps:
    @pytest.mark.parametrize("turn", [(0.0, False), (37.0, False), (90.0, True), (250.0, True)])
    def test_probabilities_and_masks(self, turn: Turn) -> None:
        bone, head = (soft(contour) for contour in contours(circle(90, 100, 50), turn))
        angle = measure_angle(bone, head, (0.3, 0.3), direction(turn))
        assert angle.aop_deg == pytest.approx(120, abs=0.1)
        assert angle.note is None
        drawn = measure_angle(bone > 0.5, head > 0.5, (0.3, 0.3), direction(turn))
        assert drawn.aop_deg == pytest.approx(120, abs=1.0)

    def test_without_a_pixel_size_square_pixels_are_assumed_and_said(self) -> None:
        bone, head = (soft(contour) for contour in contours(circle(90, 100, 50)))
        angle = measure_angle(bone, head)
        assert angle.aop_deg == pytest.approx(measure_angle(bone, head, (0.2, 0.2)).aop_deg)
        assert angle.note is not None
        assert "square pixels" in angle.note

    def test_as_dict_is_json(self) -> None:
        angle = measured(circle(90, 100, 50))
        assert json.loads(json.dumps(angle.as_dict())) == angle.as_dict()

    def test_all_annotated_transperineal_images_are_measured(self, shared_data: Path) -> None:
        root = shared_data / "psfhs"
        with (root / "meta.csv").open(newline="") as file:
            names = [row["id"] for row in csv.DictReader(file)][::15]
        for name in names:
            mask = np.asarray(Image.open(root / "masks" / f"{name}.png"))
            angle = measure_angle(mask == 1, mask == 2)
            assert angle.aop_deg is not None, (name, angle.refusal)
            assert 50 < angle.aop_deg < 215  # squeezed to a square, so not real degrees
            assert angle.near_deg is not None
            assert angle.near_deg < angle.aop_deg


HEAD = circle(90, 100, 50)
NOTHING = np.zeros(SHAPE, bool)


class TestRefused:
    @pytest.mark.parametrize(
        ("head", "reason"),
        [
            (circle(90, 40, 50), "inside the fetal head"),
            (circle(179, 100, 50), "on the axis"),
            (circle(1, 130, 50), "on the axis"),
        ],
    )
    def test_layout(self, head: Ellipse, reason: str) -> None:
        angle = measured(head)
        assert angle.refusal is not None
        assert reason in angle.refusal
        assert (angle.aop_deg, angle.touch) == (None, None)
        assert angle.head is not None  # can still be drawn

    def test_missing_structure(self) -> None:
        bone, head = (soft(contour) for contour in contours(HEAD))
        assert measure_angle(NOTHING, head).refusal == "no pubic symphysis found in the image"
        assert measure_angle(bone, NOTHING).refusal == "no fetal head found in the image"

    def test_round_symphysis(self) -> None:
        bone = soft(Ellipse(110, 120, 20, 19, 0).outline())
        refusal = measure_angle(bone, soft(contours(HEAD)[1])).refusal
        assert refusal == "the pubic symphysis is too round to have a long axis"

    def test_ends_that_cannot_be_told_apart(self) -> None:
        bone, head = (soft(contour) for contour in contours(HEAD, (90.0, False)))
        refusal = measure_angle(bone, head).refusal
        assert refusal is not None
        assert "say where the inferior end lies" in refusal

    def test_tangent_to_a_part_of_the_head_that_is_not_seen(self) -> None:
        bone, head = (soft(contour) for contour in contours(HEAD))
        touched = measure_angle(bone[:, :194], head[:, :194])  # Q is in column 193.3
        assert touched.aop_deg == pytest.approx(120, abs=0.1)
        cut = measure_angle(bone[:, :180], head[:, :180])
        assert cut.refusal is not None
        assert "outline is outside the image" in cut.refusal

    def test_bad_pixel_size(self) -> None:
        with pytest.raises(ValueError, match="two positive mm"):
            measure_angle(NOTHING, NOTHING, (1.0, 0.0))
