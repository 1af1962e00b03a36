"""The command line, `lfusion COMMAND`: a module each.

Light to import: every command imports what it needs when it runs, so that `--help` is quick and
the torch-free commands work without torch.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lfusion import __version__
from lfusion.cli import (
    audit,
    backup,
    calibrate,
    demo,
    encoders,
    evaluate,
    phantom,
    predict,
    rank,
    serve,
    simulate,
    train,
)
from lfusion.cli.console import ErrorGroup

app = typer.Typer(
    name="lfusion",
    cls=ErrorGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"lfusion {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Segment fetal ultrasound and say where the model is unsure, and why.

    For research; not a medical device.
    """


app.command()(predict.predict)
app.command()(evaluate.evaluate)
app.command()(rank.rank)
app.command()(audit.audit)
app.command()(train.train)
app.command()(calibrate.calibrate)
app.command()(encoders.encoders)
app.command()(phantom.phantom)
app.command()(simulate.simulate)
app.command()(serve.serve)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(backup.log)
app.command()(demo.demo)
