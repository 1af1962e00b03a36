"""`lfusion train`: labelled images to a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfusion._optional import require
from lfusion.cli.console import BadArgumentError, progress_bar
from lfusion.cli.options import ClassNames
from lfusion.cli.stages import read_parts, show_stages

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lfusion.model import EncoderConfig
    from lfusion.training import TrainingConfig


class Part(StrEnum):
    """Weights that move."""

    ALL = "all"
    DECODER = "decoder"
    LAST_BLOCK = "last_block"


def train(
    data: Annotated[
        list[Path],
        typer.Argument(metavar="DATA...", help="Folders with images/, masks/ and meta.csv."),
    ],
    out: Annotated[Path, typer.Option(help="Checkpoint file to write (.safetensors).")],
    split: Annotated[
        str | None, typer.Option(help="Split to train on; default train, or all without splits.")
    ] = None,
    val_split: Annotated[
        str | None, typer.Option(help="Split to stop and calibrate on; default val, if any.")
    ] = None,
    label: ClassNames = None,
    start: Annotated[
        Path | None, typer.Option(help="Checkpoint to go on from; a short warm start.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Name as in `lfusion encoders`; a new model only.")
    ] = None,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(help="File with pretrained encoder weights, or hub; a new model only."),
    ] = None,
    encoder_option: Annotated[
        list[str] | None, typer.Option(help="NAME=TEXT for timm, such as pad_type=same.")
    ] = None,
    encoder_mean: Annotated[
        float | None, typer.Option(help="Grey value subtracted first; default the encoder's.")
    ] = None,
    encoder_std: Annotated[
        float | None, typer.Option(help="Grey value divided by then; default the encoder's.")
    ] = None,
    long_side: Annotated[
        int | None, typer.Option(help="Longer side on the working grid, px.", min=32)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps at most.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate.", min=0)] = None,
    trained: Annotated[
        Part | None, typer.Option(help="Weights that move; default decoder with --start, else all.")
    ] = None,
    lora_rank: Annotated[
        int | None,
        typer.Option(help="Rank of adapters that train the encoder; 0 is none.", min=0),
    ] = None,
    distance_features: Annotated[
        int | None,
        typer.Option(help="Appearance features for a distance-aware posterior; 0 is off.", min=0),
    ] = None,
    semi_supervised: Annotated[
        bool,
        typer.Option(
            "--semi-supervised", help="Learn from the split's images without masks as well."
        ),
    ] = False,
    validate_every: Annotated[
        int | None, typer.Option(help="Steps between looks at the validation split.", min=1)
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Looks without a better Dice before it ends.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.", min=0)] = 0,
) -> None:
    """Train a model, fit its posterior and calibrate it."""
    require("torch", extra="torch")
    from lfusion.checkpoint import Checkpoint
    from lfusion.model.input import InputSpec
    from lfusion.training import SEMI_SUPERVISED_WEIGHT
    from lfusion.training import train as run

    new_only = (encoder, encoder_weights, encoder_option, encoder_mean, encoder_std, long_side)
    asked = any(value is not None for value in new_only) or bool(distance_features)
    if start is not None and asked:
        raise BadArgumentError(
            "a training that goes on from --start keeps its encoder, its head and working grid; "
            "leave out --encoder..., --distance-features and --long-side, or --start"
        )
    if lora_rank and trained not in (None, Part.ALL):
        raise BadArgumentError(
            f"expected --trained all beside --lora-rank, got {trained.value}: adapters are for an "
            "encoder that is trained; leave out one of them"
        )
    if out.is_dir():
        raise BadArgumentError(f"expected a file to write the checkpoint to, {out} is a folder")
    config = _config(
        seed,
        start,
        encoder=_encoder(encoder, encoder_option or (), encoder_mean, encoder_std),
        input=None if long_side is None else InputSpec(long_side),
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        trained=None if trained is None else trained.value,
        lora_rank=lora_rank,
        distance_features=distance_features,
        semi_supervised=SEMI_SUPERVISED_WEIGHT if semi_supervised else None,
        validate_every=validate_every,
        patience=patience,
    )
    training, validation = read_parts(data, label, split, val_split)
    with progress_bar("{task.fields[figures]}") as bar:
        checkpoint = run(
            training,
            config,
            start=None if start is None else Checkpoint.load(start),
            validation=validation,
            encoder_weights="hub" if encoder_weights == Path("hub") else encoder_weights,
            on_progress=show_stages(bar),
        )
    typer.echo(f"{out}: checkpoint {checkpoint.save(out)}")


def _encoder(
    name: str | None, options: Sequence[str], mean: float | None, std: float | None
) -> EncoderConfig | None:
    """What was asked for, None when nothing was."""
    from lfusion.model import EncoderConfig

    pairs = [option.partition("=") for option in options]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise BadArgumentError(f"expected --encoder-option NAME=TEXT, got {key!r}")
    default = EncoderConfig()
    asked = EncoderConfig(
        name or default.name,
        {key: value for key, _, value in pairs},
        None if mean is None else (mean,) * 3,
        None if std is None else (std,) * 3,
    )
    return None if asked == default else asked


def _config(seed: int, start: Path | None, **given: Any) -> TrainingConfig:
    """The preset for a new model or a warm start, with what the user asked for."""
    from lfusion.training import TrainingConfig

    config = TrainingConfig(seed=seed) if start is None else TrainingConfig.quick(seed)
    if given["lora_rank"] and given["trained"] is None:
        given["trained"] = "all"  # the preset lets the encoder stand still
    return replace(config, **{name: value for name, value in given.items() if value is not None})
