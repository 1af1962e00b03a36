"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

DataFolder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DATA", help="Folder with images/, masks/ and meta.csv.")
]
ClassNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--label", help="Name of class 1, 2, ...; instead of labels.json."),
]
CheckpointFile: TypeAlias = Annotated[
    Path | None,
    typer.Option("--checkpoint", help="Model to use instead of the shipped fetal-head model."),
]
