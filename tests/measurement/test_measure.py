"""Spread of measurements: drawn heads whose logits shift by a known amount."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lfusion.biometry import Ellipse
from lfusion.measurement import HEAD, SYMPHYSIS, Measurement, measure, sample_quantities
from lfusion.model.distribution import LogitDistribution
from lfusion.types import PixelSize, Probabilities
from lfusion.uncertainty.covariance import RowCovariance

GRID = (60, 80)
SIZE = (120, 160)
"""In native pixels: two a cell."""
SLOPE = 2.0
"""Logits a cell across an outline."""


def evidence(ellipse: Ellipse) -> torch.Tensor:
    """Log-odds [60, 80] that fall by about SLOPE a cell across an ellipse given in cells."""
    grid = np.stack(np.meshgrid(*map(np.arange, GRID), indexing="ij"), -1).reshape(-1, 2)
    distance = (1 - ellipse.polar(grid.astype(float))[1]) * ellipse.semi_minor
    return torch.from_numpy(SLOPE * distance.reshape(GRID)).float()


class Drawn:
    """An image whose classes are drawn ellipses and whose logits vary as told."""

    def __init__(
        self,
        ellipses: Mapping[str, Ellipse],
        shift: Sequence[float],
        weight_variance: float = 0.0,
        *,
        empty: bool = False,
    ) -> None:
        self.labels = {name: number for number, name in enumerate(ellipses, start=1)}
        mean = torch.stack([torch.zeros(GRID), *map(evidence, ellipses.values())])[None]
        if empty:
            mean[:, 1:] = -20
        factor = torch.tensor([0.0, *shift]).view(1, -1, 1, 1, 1).expand(1, -1, 1, *GRID)
        self.logits = LogitDistribution(mean, torch.zeros_like(mean), factor)
        self.features = torch.ones(1, 1, *GRID)
        self.covariance = RowCovariance(torch.full((mean.shape[1], 2), weight_variance))
        larger = torch.nn.functional.interpolate(mean, SIZE, mode="bilinear")
        self.probabilities: Probabilities = larger.softmax(1)[0].numpy()

    def measured(self, pixel_size_mm: PixelSize | None = (0.5, 0.5)) -> Measurement:
        return measure(
            self.probabilities,
            self.labels,
            pixel_size_mm,
            self.logits,
            self.features,
            self.covariance,
        )

    def sampled(self, samples: int) -> dict[str, float]:
        drawn = sample_quantities(
            self.labels,
            (0.5, 0.5),
            SIZE,
            self.logits,
            self.features,
            self.covariance,
            samples=samples,
            generator=torch.Generator().manual_seed(0),
        )
        return {name: float(values.std()) for name, values in drawn.items()}


ROUND = {HEAD: Ellipse(30, 40, 20 + 1e-6, 20, 0)}
LONG = {HEAD: Ellipse(30, 40, 24, 18, 25)}
PELVIS = {SYMPHYSIS: Ellipse(11, 24, 15, 6, 5), HEAD: Ellipse(39, 46, 18, 16, 60)}


class TestDeviations:
    def test_round_head_that_grows_by_hand(self) -> None:
        # One σ is 1 logit = half a cell = one pixel = 0.5 mm outwards all round.
        found = Drawn(ROUND, [1.0]).measured()
        assert found.deviations["hc"] == pytest.approx(2 * math.pi * 0.5, rel=0.02)
        # The area grows by the length of the outline, 2π · 40 pixels, times that pixel.
        assert found.deviations[f"area {HEAD}"] == pytest.approx(2 * math.pi * 40, rel=0.02)

    def test_weights_alone(self) -> None:
        # φ̃ = (1, 1), so the log-odds of two rows of weights vary by 2 · 2 · ¼ = 1.
        found = Drawn(ROUND, [0.0], 0.25).measured()
        assert found.deviations["hc"] == pytest.approx(2 * math.pi * 0.5, rel=0.02)

    def test_pixels_that_are_not_square(self) -> None:
        # Rows of 1 mm: the disc is an ellipse of 80 × 40 mm, outwards by 1 mm above and below
        # and 0.5 mm at the sides. BPD runs along the columns.
        found = Drawn(ROUND, [1.0]).measured((1.0, 0.5))
        assert found.head is not None
        assert found.head.bpd_mm == pytest.approx(40, rel=0.01)
        assert found.deviations["bpd"] == pytest.approx(1.0, rel=0.03)
        assert found.deviations["ofd"] == pytest.approx(2.0, rel=0.03)

    def test_nothing_varies(self) -> None:
        assert set(Drawn(LONG, [0.0]).measured().deviations.values()) == {0.0}

    @pytest.mark.parametrize(
        ("ellipses", "shift"), [(LONG, [0.2]), (PELVIS, [0.2, 0.1]), (PELVIS, [-0.2, 0.2])]
    )
    def test_small_deviations_are_those_of_coherent_samples(
        self, ellipses: Mapping[str, Ellipse], shift: Sequence[float]
    ) -> None:
        drawn = Drawn(ellipses, shift, 0.002)
        sampled, closed = drawn.sampled(300), drawn.measured().deviations
        assert sampled.keys() == closed.keys()
        for name, value in closed.items():
            assert value == pytest.approx(sampled[name], rel=0.15), name


ERRORS = {
    name: np.arange(1.0, 20.0) / 10
    for name in ("hc", "bpd", "ofd", "aop", f"area {HEAD}", f"area {SYMPHYSIS}")
}
"""The 18th of 19 errors is the factor at 90 %: 1.8."""


class TestIntervals:
    def test_are_the_value_and_the_factor_times_the_deviation(self) -> None:
        found = Drawn(LONG, [1.0]).measured()
        head = found.with_intervals(ERRORS).head
        assert head is not None
        assert head.interval_level == 0.9
        for name in ("hc", "bpd", "ofd"):
            value, margin = getattr(head, f"{name}_mm"), 1.8 * found.deviations[name]
            assert getattr(head, f"{name}_mm_interval") == pytest.approx(
                (value - margin, value + margin)
            )

    def test_of_an_area_in_both_units(self) -> None:
        area = Drawn(LONG, [1.0]).measured().with_intervals(ERRORS).areas[HEAD]
        assert area.area_px_interval is not None
        assert area.area_mm2_interval == pytest.approx([x / 4 for x in area.area_px_interval])
        assert area.area_mm2 == pytest.approx(area.area_px / 4)

    def test_of_an_angle(self) -> None:
        found = Drawn(PELVIS, [0.5, 0.5]).measured()
        angle = found.with_intervals(ERRORS).angle
        assert angle is not None
        assert angle.aop_deg is not None
        margin = 1.8 * found.deviations["aop"]
        assert margin > 0
        assert angle.aop_deg_interval == pytest.approx(
            (angle.aop_deg - margin, angle.aop_deg + margin)
        )

    def test_in_pixels_when_there_is_no_pixel_size(self) -> None:
        head = Drawn(LONG, [1.0]).measured(None).with_intervals(ERRORS).head
        assert head is not None
        assert head.hc_mm_interval is None
        assert head.hc_px is not None
        assert head.hc_px_interval is not None
        assert head.hc_px_interval[0] < head.hc_px < head.hc_px_interval[1]

    @pytest.mark.parametrize("errors", [{}, {"hc": np.ones(8)}], ids=["none", "too few"])
    def test_there_is_none_that_was_not_checked(
        self, errors: dict[str, NDArray[np.float64]]
    ) -> None:
        found = Drawn(LONG, [1.0]).measured()
        assert found.with_intervals(errors) == found

    def test_a_refused_measurement_has_none_but_the_area_has(self) -> None:
        drawn = Drawn(PELVIS, [1.0, 1.0], empty=True)
        found = drawn.measured().with_intervals(ERRORS)
        assert found.head is not None
        assert found.head.refusal == "no head found in the image"
        assert found.head.interval_level is None
        assert found.angle is not None
        assert found.angle.aop_deg_interval is None
        assert found.areas[HEAD].area_px_interval is not None
