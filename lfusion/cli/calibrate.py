"""`lfusion calibrate`: what is usual, learned anew for a trained checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from lfusion._optional import require
from lfusion.cli.console import BadArgumentError, progress_bar
from lfusion.cli.options import ClassNames
from lfusion.cli.stages import read_parts, show_stages


def calibrate(
    checkpoint: Annotated[Path, typer.Argument(help="Trained checkpoint.")],
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Folders with images/, masks/ and meta.csv."),
    ],
    out: Annotated[Path, typer.Option(help="Checkpoint file to write (.safetensors).")],
    split: Annotated[
        str | None, typer.Option(help="Split whose looks are normal; default train.")
    ] = None,
    val_split: Annotated[
        str | None, typer.Option(help="Held-out split to calibrate on; default val.")
    ] = None,
    label: ClassNames = None,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(help="Pretrained encoder weights, for a checkpoint without a frozen copy."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the artefacts.", min=0)] = 0,
) -> None:
    """Refit temperature, usual scores, intervals and what is unusual, on held-out normal images.

    The mask stays what it was. No image of a disease is needed: artefacts are put on the normal
    images, and everything else is told by its distance from them.
    """
    require("torch", extra="torch")
    from lfusion.checkpoint import Checkpoint
    from lfusion.training import calibrate as run
    from lfusion.training.reference import fit_reference, pretrained_reference

    loaded = Checkpoint.load(checkpoint)
    normal, held_out = read_parts(data, label, split, val_split)
    if held_out is None or not held_out.labelled():
        raise BadArgumentError(
            "expected held-out images with masks to calibrate on, found none; name their split "
            "with --val-split"
        )
    frozen = None if loaded.reference is None else loaded.reference.encoder
    if encoder_weights is not None and loaded.distance_features:
        raise BadArgumentError(
            "expected no --encoder-weights for a checkpoint with distance features: its posterior "
            "is fitted to what its own frozen encoder sees; leave them out"
        )
    if encoder_weights is not None:
        frozen = pretrained_reference(loaded.network.config.encoder, encoder_weights)
    with progress_bar("{task.fields[figures]}") as bar:
        show = show_stages(bar)
        if frozen is not None:
            reference = fit_reference(frozen, normal.cases, seed, show)
            if loaded.reference is not None and loaded.distance_features:
                # the posterior knows its appearance features in the coordinates of this density
                known = replace(reference.normative, patch=loaded.reference.normative.patch)
                reference = replace(reference, normative=known)
            loaded = replace(loaded, reference=reference)
        loaded = run(loaded, held_out.labelled().cases, show)
    typer.echo(f"{out}: checkpoint {loaded.save(out)}")
