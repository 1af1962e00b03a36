from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "counterfactual_modes.py"


def test_the_example_draws_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "new" / "modes.png"
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--out", str(out)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    with Image.open(out) as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert {(31, 119, 180), (255, 127, 14)} <= {colour for _, colour in colours}
