"""What the panels say."""

from __future__ import annotations

import pytest

from lfusion.biometry import HeadBiometry
from lfusion.protocol import Why
from napari_lfusion.controller.sentences import head_line, why_line


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
