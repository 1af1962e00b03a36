"""`lfusion encoders`: pretrained encoders, their licences and where to get them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from lfusion._optional import require
from lfusion.cli.console import write_json


def encoders(
    json: Annotated[
        Path | None, typer.Option(help="File for the list of {name, parameters, licence, weights}.")
    ] = None,
) -> None:
    """List encoders with published weights: size, licence of the weights, where to get them.

    Any other model of timm with a feature pyramid, and any plain ViT of it, works as timm:NAME.
    """
    require("torch", extra="torch")
    from lfusion.model.encoders import CATALOGUE

    if json is not None:
        write_json(json, [asdict(entry) for entry in CATALOGUE])
    table = Table("name", "parameters", "licence of the weights", "weights", show_lines=True)
    table.columns[0].no_wrap = True
    table.columns[1].justify = "right"
    for column in table.columns[2:]:
        column.overflow = "fold"
    for entry in CATALOGUE:
        table.add_row(entry.name, f"{entry.parameters / 1e6:.1f} M", entry.licence, entry.weights)
    Console().print(table)
