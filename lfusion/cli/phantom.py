"""`lfusion phantom`: a data set of simulated fetal heads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lfusion.cli.console import counting


def phantom(
    out: Annotated[Path, typer.Option(help="Folder to write; made when missing.")],
    n: Annotated[int, typer.Option(help="Number of images.", min=1)] = 32,
    seed: Annotated[int, typer.Option(help="Same seed, same pixels.", min=0)] = 0,
) -> None:
    """Write simulated ultrasound images of fetal heads with their true masks and sizes."""
    from lfusion.image.phantom import write_phantoms

    with counting("phantoms") as progress:
        write_phantoms(out, n, seed, progress=progress)
    typer.echo(f"{n} phantoms in {out}")
