"""What a user without an optional dependency is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lfusion._optional import require
from lfusion.errors import MissingExtraError


def test_names_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "lfusion\[torch\]"'):
        require("no_such_module", extra="torch")


def test_what_is_there_is_accepted() -> None:
    require("numpy", extra="torch")


def test_command_without_torch(tmp_path: Path) -> None:
    # An import system that knows no torch, as in the base installation.
    code = (
        "import importlib.machinery as m, sys\n"
        "find = m.PathFinder.find_spec\n"
        "m.PathFinder.find_spec = classmethod(\n"
        "    lambda cls, name, *a: None if name == 'torch' else find(name, *a))\n"
        "from lfusion.cli import app\n"
        "app(sys.argv[1:])\n"
    )
    arguments = ["predict", "scan.png", "--out", str(tmp_path)]
    shown = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 2
    assert shown.stderr.splitlines() == [
        'error: this needs torch, which is not installed: pip install "lfusion[torch]"'
    ]
