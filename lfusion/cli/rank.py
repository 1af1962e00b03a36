"""`lfusion rank`: which images to label first."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from lfusion._optional import require
from lfusion.cli.console import BadArgumentError, counting, write_json
from lfusion.cli.options import CheckpointFile, DataFolder
from lfusion.cli.stages import read_dataset

if TYPE_CHECKING:
    from lfusion.image import Dataset

_SHOWN = 10


def rank(
    data: DataFolder,
    strategy: Annotated[
        str, typer.Option(help="epistemic, aleatoric, entropy or random.")
    ] = "epistemic",
    json: Annotated[
        Path | None, typer.Option(help="File for the list of {id, score, rank}.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Only this split of meta.csv; default: all images.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random strategy.")] = 0,
    checkpoint: CheckpointFile = None,
) -> None:
    """Order images by how much a label would teach the model, the most useful first."""
    from lfusion.acquisition import STRATEGIES, random_score
    from lfusion.acquisition import rank as order

    if strategy not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise BadArgumentError(f"expected a strategy among {known}, got {strategy!r}")
    dataset = read_dataset(data)
    if split is not None:
        dataset = dataset.split(split)
    key = STRATEGIES[strategy]
    if key is None:
        scores = {case.id: random_score(case.id, seed) for case in dataset}
    else:
        scores = _scores(dataset, key, checkpoint)
    ranking = order(scores)
    if json is not None:
        write_json(json, [asdict(image) for image in ranking])
    table = Table("rank", "image", "score", title=f"{data.name} by {strategy}")
    for image in ranking[:_SHOWN]:
        table.add_row(str(image.rank), image.id, f"{image.score:.5g}")
    if len(ranking) > _SHOWN:
        table.caption = f"the first {_SHOWN} of {len(ranking)}"
    Console().print(table)


def _scores(dataset: Dataset, key: str, checkpoint: Path | None) -> dict[str, float]:
    require("torch", extra="torch")
    from lfusion.evaluation import predict_case
    from lfusion.predictor import load

    predictor = load(checkpoint)
    scores: dict[str, float] = {}
    with counting("scoring") as progress:
        for done, case in enumerate(dataset, start=1):
            scores[case.id] = predict_case(predictor, case)[0].scores[key]
            progress(done, len(dataset))
    return scores
