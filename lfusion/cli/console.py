"""What all commands share: errors to one line, progress bars, JSON files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from typer.core import TyperGroup

from lfusion.errors import LFusionError

BAD_INPUT = 2
"""Exit code for input that cannot be used, as for a misspelt option."""


class BadArgumentError(LFusionError):
    """An argument of the command line cannot be used; the message says why."""


class ErrorGroup(TyperGroup):
    """Commands whose expected errors become one line on stderr and exit code 2."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a bug still shows its traceback."""
        try:
            return super().invoke(ctx)
        except (LFusionError, OSError) as error:
            print_error(error)
            raise typer.Exit(BAD_INPUT) from error


def print_error(error: LFusionError | OSError) -> None:
    """Print an error as one line on stderr, however many lines its message has."""
    typer.echo(f"error: {' '.join(str(error).split())}", err=True)


def progress_bar(*columns: str) -> Progress:
    """Return a progress bar on stderr, so that stdout holds results only.

    Args:
        columns: further fields of a task to show, in rich's format.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        *(TextColumn(column) for column in columns),
        console=Console(stderr=True),
    )


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar for as long as the block runs.

    Args:
        what: stands before the bar.

    Yields:
        A function to call with (done, all) after each step.
    """
    with progress_bar() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, whole or not at all; folders are made as needed."""
    from lfusion.image.write import atomic_path

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
