"""What the panels say."""

from __future__ import annotations

from typing import Any

import pytest

from lfusion.biometry import HeadBiometry
from lfusion.protocol import Abnormality, InferResult, Latencies, UnusualRegion, Why
from napari_lfusion.controller.sentences import (
    head_line,
    interval_line,
    places_line,
    two_signals,
    unusual_line,
    why_line,
)


@pytest.mark.parametrize(
    ("head", "line"),
    [
        (None, "no head among the labels"),
        (HeadBiometry(hc_mm=175.04), "HC 175.0 mm"),
        (HeadBiometry(hc_px=812.4, refusal="no pixel size"), "HC 812 px, unscaled"),
        (HeadBiometry(refusal="cut off"), "not measurable: cut off"),
    ],
)
def test_the_head_is_a_number_or_a_reason(head: HeadBiometry | None, line: str) -> None:
    assert head_line(head) == line


def test_the_reason_of_a_case_is_the_servers_or_made_of_its_figures() -> None:
    assert why_line(None) == "chosen by hand"
    assert why_line(Why(strategy="random")) == "by random"
    why = Why(strategy="epistemic", score_name="bald", score=0.125, percentile=90)
    assert why_line(why) == "bald 0.125, above 90 % of the pool"


def result(**facts: object) -> InferResult:
    fields: dict[str, object] = {
        "label_names": {"fetal head": 1},
        "scores": {},
        "percentiles": {},
        "biometry": None,
        "pixel_size_mm": None,
        "checkpoint_id": "abc",
        "maps": {},
        "latencies": Latencies(read=0, predict=0, write=0, total=0),
    }
    return InferResult.model_validate(fields | facts)


def test_the_interval_is_the_proposals_and_says_how_sure_it_is() -> None:
    assert interval_line(None) == ""
    assert interval_line({"hc_mm_interval": None, "interval_level": None}) == ""
    scaled = {"hc_mm_interval": [180.44, 190.06], "interval_level": 0.9}
    assert interval_line(scaled) == "of the proposal: 180.4 to 190.1 mm in 90 % of scans"
    unscaled = {"hc_mm_interval": None, "hc_px_interval": [700.2, 742.8], "interval_level": 0.9}
    assert interval_line(unscaled) == "of the proposal: 700 to 743 px in 90 % of scans"


def test_what_is_unusual_is_told_with_its_places() -> None:
    place: dict[str, Any] = {"box": (0, 0, 9, 9), "area_px": 81, "score": 1}
    places = [
        UnusualRegion(kind="unfamiliar", p_value=0.01, **place),
        UnusualRegion(kind="ambiguous", p_value=0.04, **place),
        UnusualRegion(kind="unlearned", p_value=0.3, **place),
    ]
    judged = Abnormality(
        p_value=0.012, false_alarm_rate=0.05, unusual=True, p_values={}, sentence="Unusual."
    )
    told = result(abnormality=judged, regions=places)
    assert unusual_line(told) == "Unusual. p = 0.012"
    assert places_line(told) == "Unusual places: 1 unfamiliar, 1 ambiguous (p from 0.01)"
    assert unusual_line(result()) == places_line(result(regions=places)) == ""


@pytest.mark.parametrize(
    ("epistemic", "aleatoric", "begin"),
    [(90, 90, "Both signals are high"), (90, 10, "New"), (10, 90, "Hard"), (10, 10, "Both")],
)
def test_the_advice_goes_by_the_score_of_the_queue(
    epistemic: float, aleatoric: float, begin: str
) -> None:
    percentiles = {
        "epistemic_per_sqrt_area": epistemic,
        "aleatoric_per_sqrt_area": aleatoric,
        "epistemic_region": 100.0,
    }
    assert two_signals(result(percentiles=percentiles)).startswith(begin)
