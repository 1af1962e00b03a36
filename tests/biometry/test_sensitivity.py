"""What measurements owe to the outline, against outlines that are moved and fitted again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.biometry import Ellipse, fit_ellipse
from lfusion.biometry.angle import Pelvis, angle_of, angle_sensitivity
from lfusion.biometry.ellipse import Points
from lfusion.biometry.head import head_of, head_sensitivity
from lfusion.biometry.outline import Outline
from lfusion.biometry.sensitivity import fit_jacobian, outward_normals
from lfusion.types import PixelSize

SMALL = 1e-3


def outline(points: Points) -> Outline:
    ellipse = fit_ellipse(points)
    assert ellipse is not None
    return Outline(points, ellipse)


def wave(count: int, seed: int) -> NDArray[np.float64]:
    """A smooth displacement along an outline, about 1 in size."""
    around = np.linspace(0, 2 * np.pi, count, endpoint=False)
    weights = np.random.default_rng(seed).normal(size=(2, 6)) / 3
    return np.asarray(sum(w * np.cos(k * around + 3 * v) for k, (w, v) in enumerate(weights.T)))


def lengths(points: Points, pixel_size: PixelSize) -> NDArray[np.float64]:
    head = head_of(outline(points), pixel_size)
    return np.array([head.hc_mm, head.bpd_mm, head.ofd_mm], float)


class TestGrowingAllRound:
    def test_circle(self) -> None:
        # One mm outwards all round: HC + 2π, both diameters + 2.
        round_head = outline(Ellipse(100, 120, 60, 60 - 1e-7, 0).outline())
        gain = head_sensitivity(round_head, (0.5, 0.5)).gain.sum(axis=1)
        assert gain[0] == pytest.approx(2 * math.pi, rel=1e-5)
        assert gain[1:].sum() == pytest.approx(4, rel=1e-5)

    def test_ellipse_with_its_axes(self) -> None:
        head = outline(Ellipse(100, 120, 80, 60, 30).outline(2000))
        _, bpd, ofd = head_sensitivity(head, (1.0, 1.0)).gain.sum(axis=1)
        assert bpd == pytest.approx(2, abs=0.1)
        assert ofd == pytest.approx(2, abs=0.1)

    def test_a_step_of_one_mm_in_pixels_that_are_not_square(self) -> None:
        head = outline(Ellipse(100, 120, 80, 60, 30).outline())
        step = head_sensitivity(head, (0.5, 0.25)).step_px
        assert np.hypot(*(step * [0.5, 0.25]).T) == pytest.approx(1.0)


@given(
    ratio=st.floats(1.05, 2),
    tilt=st.floats(0, 179),
    rows_mm=st.floats(0.3, 2),
    seed=st.integers(0, 100),
)
def test_head_follows_its_outline(ratio: float, tilt: float, rows_mm: float, seed: int) -> None:
    size = (rows_mm, 1.0)
    points = Ellipse(150, 160, 60 * ratio, 60, tilt).outline(300) / size
    found = head_sensitivity(outline(points), size)
    move = SMALL * wave(len(points), seed)
    ends = [lengths(points + sign * move[:, None] * found.step_px, size) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / 2 == pytest.approx(found.gain @ move, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [(1.0, 1.0), (0.4, 0.7)])
def test_angle_follows_both_outlines(seed: int, size: PixelSize) -> None:
    drawn = Ellipse(60, 80, 32, 14, 15), Ellipse(170, 130, 80, 65, 100)
    bone, head = (ellipse.outline(200) for ellipse in drawn)
    parts = angle_sensitivity(outline(bone), outline(head), size)
    moves = SMALL * wave(200, seed), SMALL * wave(200, seed + 100)
    angles = []
    for sign in (1, -1):
        moved = [
            points + sign * move[:, None] * part.step_px
            for points, move, part in zip((bone, head), moves, parts, strict=True)
        ]
        angle = angle_of(Pelvis(outline(moved[0]), outline(moved[1])), size).aop_deg
        assert angle is not None
        angles.append(angle)
    expected = sum(float((part.gain @ move)[0]) for part, move in zip(parts, moves, strict=True))
    assert (angles[0] - angles[1]) / 2 == pytest.approx(expected, rel=1e-3)


def test_normals_point_outwards() -> None:
    ellipse = Ellipse(10, 20, 8, 5, 40)
    points = ellipse.outline(40)
    normals = outward_normals(ellipse, points)
    assert np.hypot(*normals.T) == pytest.approx(1.0)
    assert (ellipse.polar(points + 0.1 * normals)[1] > 1).all()


def test_a_shifted_outline_only_shifts_the_ellipse() -> None:
    ellipse = Ellipse(10, 20, 8, 5, 40)
    points = ellipse.outline(60)
    shift = np.array([0.3, -0.2])
    moved = fit_jacobian(ellipse, points) @ (outward_normals(ellipse, points) @ shift)
    assert moved == pytest.approx([0.3, -0.2, 0, 0, 0], abs=1e-9)
