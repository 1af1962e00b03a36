"""Fixtures shared by the whole suite: one fixture per concept."""

from __future__ import annotations

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real ultrasound data sets beside the repository."""
    path = _SHARED / "data"
    if not path.is_dir():
        pytest.skip("real ultrasound data (../shared/data) is not on this machine")
    return path


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of pretrained encoder weights beside the repository."""
    path = _SHARED / "weights"
    if not path.is_dir():
        pytest.skip("pretrained encoder weights (../shared/weights) are not on this machine")
    return path
