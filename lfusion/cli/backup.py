"""`lfusion backup`, `lfusion restore` and `lfusion log`: the studies folder of a server."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from lfusion._optional import require
from lfusion.errors import DatasetError

_DATASTORE = "monailabel_app.lib.datastore"


def backup(
    studies: Annotated[Path, typer.Argument(metavar="DIR", help="Studies folder of a server.")],
    to: Annotated[Path, typer.Option(help="ZIP archive to write.")],
    images: Annotated[bool, typer.Option("--images", help="Include the images.")] = False,
    app_state: Annotated[
        Path | None, typer.Option(help="Folder given to `lfusion serve --app-state`.")
    ] = None,
) -> None:
    """Write labels, versions, journal and models into one archive; the server may run."""
    made = _module("backup").back_up(studies, to, images=images, state=app_state)
    size = sum(file.size for file in made.files.values())
    typer.echo(f"{len(made.files)} files, {size} bytes, verified ZIP archive: {to}")


def restore(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="Archive of `lfusion backup`.")],
    to: Annotated[Path, typer.Option(help="New studies folder; must not exist or be empty.")],
) -> None:
    """Unpack a backup into a new folder, every file checked."""
    if not archive.is_file():
        raise DatasetError(f"there is no backup {archive}; name a file of `lfusion backup`")
    made = _module("backup").restore(archive, to)
    typer.echo(f"restored {len(made.files)} files into {to}")
    if not made.images:
        typer.echo("the images are not in the backup: copy them into the folder")


def log(
    studies: Annotated[Path, typer.Argument(metavar="DIR", help="Studies folder of a server.")],
    image: Annotated[str | None, typer.Option(help="Only changes of this image.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List every change of the studies: time, user, change."""
    journal = studies / ".lfusion" / "journal.jsonl"
    if not journal.is_file():
        raise DatasetError(f"{studies} has no journal; name the studies folder of a server")
    entries, damaged = _module("journal").read_entries(journal.read_bytes())
    for entry in entries:
        if image is not None and getattr(entry, "image", None) != image:
            continue
        typer.echo(entry.model_dump_json() if as_json else _line(entry))
    if damaged:
        typer.echo("some lines of the journal cannot be read and are left out", err=True)


_SHOWN_ELSEWHERE = ("kind", "time", "author", "client_id")
_LEFT_OUT = ("info", "key", "suffix", "staged", "kept_as", "sha256", "image_sha256")


def _line(entry: Any) -> str:
    """An entry for people."""
    fields = entry.model_dump(exclude={*_SHOWN_ELSEWHERE, *_LEFT_OUT}, exclude_defaults=True)
    moment = (
        "(time unknown)      "
        if entry.time is None
        else datetime.fromtimestamp(entry.time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    who = entry.author or entry.client_id or "-"
    rest = "  ".join(
        f"{name}={'none' if value is None else value}" for name, value in fields.items()
    )
    return f"{moment}  {who}  {entry.kind}  {rest}"


def _module(name: str) -> Any:
    """A module of the server, which only its extra brings."""
    require("monailabel", extra="server")
    return import_module(f"{_DATASTORE}.{name}")
