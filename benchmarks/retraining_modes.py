"""Which weights a training from few labels should move: all, adapters, the decoder, its last block.

Cold: each mode takes the same steps from the same ImageNet encoder and the same new decoder.
Warm: each takes the steps of a quick retraining from one network that knows the heads of HC18, on
the heads of PSFHS, which it has never seen; what it forgets of HC18 is measured, too. Dice is that
of the feature grid. Every finished run is a line of the results file, and is not repeated.

    OMP_NUM_THREADS=1 python benchmarks/retraining_modes.py ../shared --results modes.jsonl
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from active_learning_report import spread
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file

from lfusion.image import Dataset
from lfusion.model import EncoderConfig, NetworkConfig, SegmentationNetwork, load_encoder_weights
from lfusion.model.input import InputSpec
from lfusion.training import TrainingConfig
from lfusion.training.cached_features import FeatureCache
from lfusion.training.corrections import keep_start, weigh_corrections
from lfusion.training.data import Sample, load_samples
from lfusion.training.fit import fit_network, validation_dice

ENCODER = EncoderConfig("timm:mobilenetv2_100", {"pad_type": "same"}, (0.5,) * 3, (0.5,) * 3)
WEIGHTS = "weights/mobilenetv2_100.imagenet.safetensors"
SPECS = {"cold": InputSpec(96), "warm": InputSpec(144)}
STRIDE = 2
MODES: dict[str, dict[str, Any]] = {
    "all": {},
    "adapters": {"lora_rank": 8},
    "decoder": {"trained": "decoder"},
    "last block": {"trained": "last_block"},
}
WARM_MODES: dict[str, dict[str, Any]] = {
    **MODES,
    "all, bfloat16": {"precision": "bfloat16"},
    "decoder, corrected pixels 3 times": {"trained": "decoder", "correction_weight": 3.0},
    "decoder, half of the start": {"trained": "decoder", "kept": 0.5},
    "decoder, 8 cached views": {"trained": "decoder", "precision": "bfloat16"},
}
BUDGETS = (10, 25, 50, 100)
HEAD = {"hc18": 1, "psfhs": 2}
"""Class number of the fetal head."""


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        start: "cold" or "warm".
        data: name of the data set.
        mode: one of `MODES` or `WARM_MODES`.
        labels: training images.
        seed: of the labels drawn, of the new weights and of the training.
    """

    start: str
    data: str
    mode: str
    labels: int
    seed: int


class Data:
    """Samples on the working grid, read once.

    Args:
        shared: folder with `data` and `weights`.
        spec: the working grid.
        test: images of a test split to measure on, at most.
    """

    def __init__(self, shared: Path, spec: InputSpec, test: int) -> None:
        self.shared = shared
        self._spec = spec
        self._test = test
        self._read: dict[tuple[str, str], list[Sample]] = {}

    def samples(self, data: str, split: str, *, head_only: bool = False) -> list[Sample]:
        """Return a split in an order that has nothing to do with its file names."""
        if (data, split) not in self._read:
            dataset = Dataset.read(self.shared / "data" / data).split(split)
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
            kept = order[: self._test] if split == "test" else order
            cases = tuple(dataset.cases[i] for i in kept.tolist())
            classes = 1 + HEAD[data]
            self._read[data, split] = load_samples(
                replace(dataset, cases=cases), self._spec, STRIDE, classes
            )
        samples = self._read[data, split]
        if not head_only:
            return samples
        number = HEAD[data]
        return [replace(s, target=s.target[number - 1 : number]) for s in samples]

    def labels(self, run: Run) -> list[Sample]:
        """Return the labels of a run; those of a larger budget hold those of a smaller one."""
        samples = self.samples(run.data, "train", head_only=run.start == "warm")
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(run.seed))
        return [samples[i] for i in order[: run.labels].tolist()]


def new_network(shared: Path, classes: int, seed: int) -> SegmentationNetwork:
    """Return a network with the ImageNet encoder and a new decoder."""
    torch.manual_seed(seed)
    network = SegmentationNetwork(NetworkConfig(ENCODER, classes))
    load_encoder_weights(network.encoder, shared / WEIGHTS)
    return network


def base_network(data: Data, steps: int, file: Path) -> SegmentationNetwork:
    """Return a network that knows the heads of HC18, trained unless its file is there."""
    network = new_network(data.shared, 2, 0)
    if file.is_file():
        network.load_state_dict(load_file(file))
        return network.eval()
    config = TrainingConfig(steps=steps, average_decay=0.98)
    fit_network(network, data.samples("hc18", "train"), config)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, file)
    return network


def carry_out(
    run: Run, data: Data, steps: int, base: SegmentationNetwork | None
) -> dict[str, float]:
    """Train and measure.

    Returns:
        Dice on the test images of the run's data; of a warm start also on those of HC18; processor
        seconds per step.
    """
    if base is None:
        network = new_network(data.shared, 1 + HEAD[run.data], run.seed)
        config = TrainingConfig(
            steps=steps,
            learning_rate=2e-3,
            average_decay=0.97,
            precision="bfloat16",
            seed=run.seed,
        )
    else:
        network = copy.deepcopy(base)
        config = replace(TrainingConfig.quick(run.seed), trained="all", kept=0.0)
    config = replace(config, **WARM_MODES[run.mode])
    began = time.process_time()
    labels = weigh_corrections(network, data.labels(run), config.correction_weight)
    with tempfile.TemporaryDirectory() as folder:
        features = None
        if run.mode == "decoder, 8 cached views":
            features = FeatureCache(Path(folder), network.encoder, config.precision)
        fit_network(network, labels, config, features=features)
    if base is not None:
        keep_start(network, base.state_dict(), config.kept)
    figures = {"step_s": (time.process_time() - began) / config.steps}
    warm = base is not None
    figures["dice"] = validation_dice(network, data.samples(run.data, "test", head_only=warm))
    if warm:
        figures["dice_before"] = validation_dice(network, data.samples("hc18", "test"))
    return figures


def planned(arguments: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs, the first seed of the warm ones first."""
    warm = [
        Run("warm", "psfhs", mode, labels, seed)
        for seed in range(arguments.seeds)
        for labels in arguments.budgets
        for mode in WARM_MODES
    ]
    first = len(arguments.budgets) * len(WARM_MODES)
    yield from warm[:first]
    for seed in range(arguments.cold_seeds):
        for labels in arguments.budgets:
            for data in HEAD:
                for mode in MODES:
                    yield Run("cold", data, mode, labels, seed)
    yield from warm[first:]


def show(results: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the mean over the seeds of each run."""
    for start, data, name in (
        ("cold", "hc18", "dice"),
        ("cold", "psfhs", "dice"),
        ("warm", "psfhs", "dice"),
        ("warm", "psfhs", "dice_before"),
        ("warm", "psfhs", "step_s"),
    ):
        chosen = [r for r in results if (r["start"], r["data"]) == (start, data)]
        budgets = sorted({r["labels"] for r in chosen})
        table = Table("labels", *map(str, budgets), title=f"{name}, {start}, {data}")
        for mode in dict.fromkeys(r["mode"] for r in chosen):
            cells = []
            for labels in budgets:
                found = [r[name] for r in chosen if (r["mode"], r["labels"]) == (mode, labels)]
                cells.append(spread(np.array(found), 1, 3) if found else "–")
            table.add_row(mode, *cells)
        console.print(table)


def main() -> None:
    """Carry out the runs that are missing and print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path, help="folder with data/ and weights/")
    parser.add_argument("--results", type=Path, default=Path("retraining_modes.jsonl"))
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--seeds", type=int, default=2, help="of warm starts")
    parser.add_argument("--cold-seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=200, help="of a cold start")
    parser.add_argument("--base-steps", type=int, default=400)
    parser.add_argument("--test", type=int, default=50, help="test images measured")
    arguments = parser.parse_args()
    grids = {k: Data(arguments.shared, spec, arguments.test) for k, spec in SPECS.items()}
    console = Console()
    lines = arguments.results.read_text().splitlines() if arguments.results.is_file() else []
    results = [json.loads(line) for line in lines]
    known = {Run(**{key: r[key] for key in Run.__dataclass_fields__}) for r in results}
    base = None
    for run in planned(arguments):
        if run in known:
            continue
        data = grids[run.start]
        if run.start == "warm" and base is None:
            base = base_network(
                data, arguments.base_steps, arguments.results.with_suffix(".safetensors")
            )
            before = validation_dice(base, data.samples("psfhs", "test", head_only=True))
            same = validation_dice(base, data.samples("hc18", "test"))
            print(f"base: {same:.4f} on HC18, {before:.4f} on the heads of PSFHS", flush=True)
        started = base if run.start == "warm" else None
        figures = carry_out(run, data, arguments.steps, started)
        results.append({**asdict(run), **figures})
        with arguments.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(results[-1]) + "\n")
        print(run, figures, flush=True)
    show(results, console)


if __name__ == "__main__":
    main()
