"""`lfusion demo`: score, rank, infer, correct, retrain and rank again, on sample images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lfusion._optional import require


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("out/demo"),
    corrections: Annotated[int, typer.Option(help="How many images to correct.", min=1)] = 4,
    keep_server: Annotated[
        bool, typer.Option("--keep-server", help="Go on serving at the end, until Ctrl-C.")
    ] = False,
) -> None:
    """Run the loop on sample images: score, rank, infer, correct, retrain, rank again."""
    require("monailabel", extra="server")
    from lfusion.cli.demo_loop import DemoPlan, run_demo

    run_demo(DemoPlan(out, corrections, keep_server=keep_server), Console())
