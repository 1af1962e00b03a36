"""`lfusion serve` says at once what it cannot serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lfusion.cli import app


def error_of(*options: str) -> str:
    """The one line that a user sees of a refused start."""
    result = CliRunner().invoke(app, ["serve", *options], catch_exceptions=False)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    return result.stderr


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert "nowhere is none; create it first" in error_of("--studies", str(tmp_path / "nowhere"))


@pytest.mark.parametrize("size", [0, 20, 1000])
def test_a_checkpoint_that_is_cut_off(tmp_path: Path, tiny_checkpoint: Path, size: int) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(tiny_checkpoint.read_bytes()[:size])
    assert "error: cut.safetensors" in error_of(
        "--studies", str(tmp_path), "--checkpoint", str(cut)
    )
    assert list(tmp_path.iterdir()) == [cut]
