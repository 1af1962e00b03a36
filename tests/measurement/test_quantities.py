"""What a measurement knows by name, and how its errors are counted."""

from __future__ import annotations

import numpy as np
import pytest

from lfusion.biometry import HeadBiometry
from lfusion.measurement import (
    HEAD,
    SYMPHYSIS,
    Area,
    Measurement,
    measure_maps,
    standardised_errors,
)

ROWS, COLUMNS = np.mgrid[:120, :160]
DISC = np.hypot(ROWS - 60, COLUMNS - 80) <= 40


def test_errors_are_in_standard_deviations() -> None:
    measured = Measurement(
        head=HeadBiometry(hc_mm=104.0, bpd_mm=30.0, ofd_mm=40.0),
        areas={HEAD: Area(900.0)},
        deviations={"hc": 2.0, "bpd": 0.5, "ofd": 0.0, f"area {HEAD}": 50.0},
    )
    truth = Measurement(
        head=HeadBiometry(hc_mm=100.0, bpd_mm=31.0, ofd_mm=41.0), areas={HEAD: Area(1000.0)}
    )
    expected = {"hc": 2.0, "bpd": 2.0, f"area {HEAD}": 2.0}  # OFD has no spread to count in
    assert standardised_errors(measured, truth) == expected


def test_what_only_one_of_both_knows_is_left_out() -> None:
    measured = Measurement(head=HeadBiometry(hc_mm=104.0), deviations={"hc": 2.0})
    assert standardised_errors(measured, Measurement()) == {}


def test_a_mask_has_values_and_no_spread() -> None:
    found = measure_maps({HEAD: DISC}, (0.5, 0.25))
    assert found.deviations == {}
    assert set(found.values) == {"hc", "bpd", "ofd", f"area {HEAD}"}
    assert found.areas[HEAD].area_mm2 == pytest.approx(DISC.sum() / 8)
    assert found.angle is None


def test_without_a_pixel_size_hc_is_in_pixels() -> None:
    found = measure_maps({HEAD: DISC}, None)
    assert found.values["hc"] == pytest.approx(2 * np.pi * 40, rel=0.01)
    assert "bpd" not in found.values
    assert found.areas[HEAD].area_mm2 is None


def test_labels_say_what_is_measured() -> None:
    assert measure_maps({"lesion": DISC}, None).head is None
    both = measure_maps({SYMPHYSIS: np.zeros_like(DISC), HEAD: DISC}, None)
    assert both.angle is not None
    assert both.angle.refusal == "no pubic symphysis found in the image"


def test_as_dict_is_json_ready() -> None:
    area = Area(4.0, 1.0, (3.0, 5.0), (0.75, 1.25), 0.9)
    assert area.as_dict()["area_mm2_interval"] == [0.75, 1.25]
