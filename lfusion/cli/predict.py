"""`lfusion predict`: images in, masks, uncertainty maps and measurements out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfusion._optional import require
from lfusion.cli.console import BAD_INPUT, BadArgumentError, counting, print_error, write_json
from lfusion.cli.options import CheckpointFile
from lfusion.errors import LFusionError

if TYPE_CHECKING:
    from lfusion.predictor import Prediction

_MAPS = ("epistemic", "aleatoric", "total")


def predict(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE", help="PNG, JPEG, TIFF, DICOM, NIfTI, ...")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; made when missing.")],
    checkpoint: CheckpointFile = None,
    pixel_size: Annotated[
        float | None,
        typer.Option(help="Size of a pixel in mm, for images that do not know it (PNG, JPEG)."),
    ] = None,
    dropout_passes: Annotated[
        int, typer.Option(help="Decoder passes with dropout that widen the epistemic map; 0: off.")
    ] = 0,
) -> None:
    """Segment images; for each write ID_mask.png, three maps (.tif, nats) and ID.json.

    An image that cannot be read is reported, and the others are still written.
    """
    require("torch", extra="torch")
    from lfusion.predictor import load

    files = {image_id: _outputs(out, image_id) for image_id in _ids(images)}
    _protect_inputs(images, (path for paths in files.values() for path in paths.values()))
    predictor = load(checkpoint, dropout_passes=dropout_passes)
    size = None if pixel_size is None else (pixel_size, pixel_size)
    out.mkdir(parents=True, exist_ok=True)
    failures: list[LFusionError] = []
    with counting("predicting") as progress:
        for done, (path, outputs) in enumerate(zip(images, files.values(), strict=True), start=1):
            try:
                _write(predictor(path, size), path, outputs)
            except LFusionError as error:
                failures.append(_naming(path, error))
            progress(done, len(images))
    for failure in failures:
        print_error(failure)
    typer.echo(f"{len(images) - len(failures)} of {len(images)} images predicted into {out}")
    if failures:
        raise typer.Exit(BAD_INPUT)


def _ids(images: list[Path]) -> list[str]:
    """The images' ids, in order: file names without suffix."""
    from lfusion.image.formats import stem_of

    first: dict[str, Path] = {}
    for path in images:
        other = first.setdefault(stem_of(path), path)
        if other is not path:
            raise BadArgumentError(
                f"expected images of different names, got {other} and {path}, whose results would "
                "have the same names; predict them into two folders"
            )
    return list(first)


def _outputs(out: Path, image_id: str) -> dict[str, Path]:
    """The files of one image by what they hold."""
    maps = {name: out / f"{image_id}_{name}.tif" for name in _MAPS}
    return maps | {"mask": out / f"{image_id}_mask.png", "json": out / f"{image_id}.json"}


def _protect_inputs(images: list[Path], outputs: Iterable[Path]) -> None:
    inputs = {path.resolve() for path in images}
    for path in outputs:
        if path.resolve() in inputs:
            raise BadArgumentError(
                f"the results would replace the input {path}; choose another folder with --out"
            )


def _write(prediction: Prediction, source: Path, outputs: dict[str, Path]) -> None:
    """Write the files of one image; the JSON comes last and says that all are there."""
    from lfusion.image import write_map, write_mask

    write_mask(outputs["mask"], prediction.mask)
    for name in _MAPS:
        write_map(outputs[name], getattr(prediction, name))
    write_json(outputs["json"], _description(prediction, source))


def _description(prediction: Prediction, source: Path) -> dict[str, Any]:
    biometry, angle, abnormality = prediction.biometry, prediction.angle, prediction.abnormality
    return {
        "image": source.name,
        "checkpoint_id": prediction.checkpoint_id,
        "labels": dict(prediction.labels),
        "pixel_size_mm": prediction.pixel_size_mm,
        "calibration_note": prediction.calibration_note,
        "scores": dict(prediction.scores),
        "percentiles": dict(prediction.percentiles),
        "biometry": None if biometry is None else biometry.as_dict(),
        "angle": None if angle is None else angle.as_dict(),
        "areas": {name: area.as_dict() for name, area in prediction.areas.items()},
        "abnormality": None if abnormality is None else abnormality.model_dump(),
        "regions": [region.model_dump() for region in prediction.regions],
    }


def _naming(path: Path, error: LFusionError) -> LFusionError:
    """Say which image, where the check that failed only knew the array."""
    return error if path.name in str(error) else type(error)(f"{path}: {error}")
