"""Which weights a training from few labels should move: all, adapters, the decoder, its last block.

Cold: each mode takes the same steps from the same ImageNet encoder and the same new decoder.
Warm: each takes the steps of a quick retraining from one network that knows the heads of HC18, on
the heads of PSFHS, which it has never seen; what it forgets of HC18 is measured, too. Dice is that
of the feature grid. Every finished run is a line of the records, and is not repeated.

    OMP_NUM_THREADS=1 python benchmarks/retraining_modes.py ../shared \
        --records docs/evidence/records/retraining_modes.jsonl --picture FILE.png
    python benchmarks/retraining_modes.py --quick     # phantoms, one short training of each mode
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from active_learning import CONFIG, named_data
from active_learning_report import spread, table
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from lfusion.image.phantom import write_phantoms
from lfusion.measurement import HEAD
from lfusion.model import NetworkConfig, SegmentationNetwork, load_encoder_weights
from lfusion.model.input import InputSpec
from lfusion.simulation.records import append_line, keep_settings, read_lines
from lfusion.training import TrainingConfig
from lfusion.training.cached_features import FeatureCache
from lfusion.training.corrections import keep_start, weigh_corrections
from lfusion.training.data import Sample, load_samples
from lfusion.training.fit import fit_network, validation_dice

WEIGHTS = "weights/mobilenetv2_100.imagenet.safetensors"
SPECS = {"cold": CONFIG.input, "warm": InputSpec(144)}
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
KNOWN, FOREIGN = "hc18", "psfhs"
"""What the start of a warm training knows, and what it learns."""


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
        folders: of the data sets, by name.
        weights: of the encoder; without them every training starts from random ones.
        spec: the working grid.
        test: images of a test split to measure on, at most.
    """

    def __init__(
        self, folders: Mapping[str, Path], weights: Path | None, spec: InputSpec, test: int
    ) -> None:
        self._datasets = {name: named_data(folder) for name, folder in folders.items()}
        self._weights = weights
        self._spec = spec
        self._test = test
        self._read: dict[tuple[str, str], list[Sample]] = {}

    def classes(self, data: str) -> int:
        """Return the number of classes, the background included."""
        return 1 + max(self._datasets[data].labels.values())

    def samples(self, data: str, split: str, *, head_only: bool = False) -> list[Sample]:
        """Return a split in an order that has nothing to do with its file names."""
        if (data, split) not in self._read:
            dataset = self._datasets[data].split(split)
            order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
            kept = order[: self._test] if split == "test" else order
            cases = tuple(dataset.cases[i] for i in kept.tolist())
            self._read[data, split] = load_samples(
                replace(dataset, cases=cases), self._spec, STRIDE, self.classes(data)
            )
        samples = self._read[data, split]
        if not head_only:
            return samples
        number = self._datasets[data].labels[HEAD]
        return [replace(s, target=s.target[number - 1 : number]) for s in samples]

    def labels(self, run: Run) -> list[Sample]:
        """Return the labels of a run; those of a larger budget hold those of a smaller one."""
        samples = self.samples(run.data, "train", head_only=run.start == "warm")
        order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(run.seed))
        return [samples[i] for i in order[: run.labels].tolist()]

    def new_network(self, classes: int, seed: int) -> SegmentationNetwork:
        """Return a network with the pretrained encoder and a new decoder."""
        torch.manual_seed(seed)
        network = SegmentationNetwork(NetworkConfig(CONFIG.encoder, classes))
        if self._weights is not None:
            load_encoder_weights(network.encoder, self._weights)
        return network


def base_network(data: Data, steps: int, file: Path) -> SegmentationNetwork:
    """Return a network that knows the heads of HC18, trained unless its file is there."""
    network = data.new_network(2, 0)
    if file.is_file():
        network.load_state_dict(load_file(file))
        return network.eval()
    config = TrainingConfig(steps=steps, average_decay=0.98)
    fit_network(network, data.samples(KNOWN, "train", head_only=True), config)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, file)
    return network


def carry_out(
    run: Run, data: Data, steps: int | None, base: SegmentationNetwork | None
) -> dict[str, float]:
    """Train and measure.

    Returns:
        Dice on the test images of the run's data; of a warm start also on those of HC18; processor
        seconds per step.
    """
    if base is None:
        network = data.new_network(data.classes(run.data), run.seed)
        config = replace(CONFIG, seed=run.seed)
    else:
        network = copy.deepcopy(base)
        config = replace(TrainingConfig.quick(run.seed), trained="all", kept=0.0)
    config = replace(config, steps=steps or config.steps, **WARM_MODES[run.mode])
    began = time.process_time()
    labels = weigh_corrections(network, data.labels(run), config.correction_weight)
    with tempfile.TemporaryDirectory() as folder:
        features = None
        if run.mode == "decoder, 8 cached views":
            features = FeatureCache(Path(folder), network, config.precision)
        fit_network(network, labels, config, features=features)
    if base is not None:
        keep_start(network, base.state_dict(), config.kept)
    figures = {"step_s": (time.process_time() - began) / config.steps}
    warm = base is not None
    figures["dice"] = validation_dice(network, data.samples(run.data, "test", head_only=warm))
    if warm:
        known = data.samples(KNOWN, "test", head_only=True)
        figures["dice_before"] = validation_dice(network, known)
    return figures


def planned(options: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs, all of a seed before those of the next."""
    for seed in range(options.seeds):
        for labels in options.budgets:
            for data in (KNOWN, FOREIGN):
                for mode in MODES:
                    yield Run("cold", data, mode, labels, seed)
            for mode in WARM_MODES:
                yield Run("warm", FOREIGN, mode, labels, seed)


TABLES = (
    ("Cold start, HC18, Dice in %", "cold", KNOWN, "dice"),
    ("Cold start, PSFHS, Dice in %", "cold", FOREIGN, "dice"),
    ("Warm start, heads of PSFHS, Dice in %", "warm", FOREIGN, "dice"),
    ("Warm start, HC18 afterwards, Dice in %", "warm", FOREIGN, "dice_before"),
)


def by_budget(
    records: Sequence[Mapping[str, Any]], start: str, data: str, figure: str
) -> dict[str, dict[int, NDArray[np.float64]]]:
    """Mode → labels → the figure of each seed."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in records:
        if (record["start"], record["data"]) == (start, data):
            mode = found.setdefault(record["mode"], {})
            mode.setdefault(record["labels"], []).append(record[figure])
    return {
        mode: {labels: np.array(values) for labels, values in sorted(budgets.items())}
        for mode, budgets in sorted(found.items(), key=lambda item: [*WARM_MODES].index(item[0]))
    }


def report(records: Sequence[Mapping[str, Any]]) -> str:
    """Markdown tables: a row for each mode, mean ± standard deviation over the seeds."""
    parts = []
    for title, start, data, figure in TABLES:
        modes = by_budget(records, start, data, figure)
        if not modes:
            continue
        seconds = by_budget(records, start, data, "step_s")
        budgets = sorted({labels for found in modes.values() for labels in found})
        rows = [
            [
                mode,
                *(spread(found[n]) if n in found else "" for n in budgets),
                f"{np.mean(np.concatenate([*seconds[mode].values()])):.2f}",
            ]
            for mode, found in modes.items()
        ]
        seeds = {r["seed"] for r in records if (r["start"], r["data"]) == (start, data)}
        head = [f"{title}, {len(seeds)} seeds", *(f"{n} labels" for n in budgets), "s per step"]
        parts.append(table(head, rows))
    return "\n".join(parts)


def draw(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """The means over the seeds with their standard errors, a panel for each table."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    panels = [(title, by_budget(records, *key)) for title, *key in TABLES]
    panels = [(title, modes) for title, modes in panels if modes]
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6.5 * len(panels), 4.5), layout="constrained", squeeze=False
    )
    for axis, (title, modes) in zip(axes.flat, panels, strict=True):
        for number, (mode, found) in enumerate(modes.items()):
            means = [100 * (1 - values.mean()) for values in found.values()]
            errors = [
                100 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0.0
                for values in found.values()
            ]
            marker = "osv^D<>p"[number]
            axis.errorbar([*found], means, errors, marker=marker, capsize=2, label=mode)
            axis.set_xscale("log")
            axis.set_xticks([*found], [*map(str, found)])
            axis.minorticks_off()
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.set(title=title.replace("Dice", "100 − Dice"), xlabel="labels")
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def arguments() -> argparse.Namespace:
    """What to train."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("shared", type=Path, nargs="?", help="folder with data/ and weights/")
    parser.add_argument("--records", type=Path, default=Path("retraining_modes.jsonl"))
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--base-steps", type=int, default=400)
    parser.add_argument("--test", type=int, default=150, help="test images measured, at most")
    parser.add_argument("--base", type=Path, help="file of the network that knows HC18")
    parser.add_argument("--picture", type=Path, help="draw the curves there")
    parser.add_argument("--quick", action="store_true", help="phantoms and few steps")
    return parser.parse_args()


def main() -> None:
    """Carry out the runs that are missing, print the tables and draw the curves."""
    torch.set_num_threads(1)
    options = arguments()
    weights, steps = None, None
    if options.quick:
        shared = Path(tempfile.mkdtemp())
        folders = {name: shared / name / "phantoms" for name in (KNOWN, FOREIGN)}
        for seed, folder in enumerate(folders.values()):
            write_phantoms(folder, 20, seed)
        options.records, options.base = shared / "records.jsonl", shared / "base.safetensors"
        options.budgets, options.seeds, options.base_steps, steps = [4], 1, 20, 2
    else:
        folders = {name: options.shared / "data" / name for name in (KNOWN, FOREIGN)}
        weights = options.shared / WEIGHTS
    grids = {k: Data(folders, weights, spec, options.test) for k, spec in SPECS.items()}
    keep_settings(options.records, {"base steps": options.base_steps, "test images": options.test})
    records = read_lines(options.records)
    known = {Run(**{key: r[key] for key in Run.__dataclass_fields__}) for r in records}
    base = None
    for run in planned(options):
        if run in known:
            continue
        data = grids[run.start]
        if run.start == "warm" and base is None:
            file = options.base or options.records.with_suffix(".safetensors")
            base = base_network(data, options.base_steps, file)
            before = validation_dice(base, data.samples(FOREIGN, "test", head_only=True))
            same = validation_dice(base, data.samples(KNOWN, "test", head_only=True))
            print(f"start: {same:.4f} on HC18, {before:.4f} on the heads of PSFHS", flush=True)
        started = base if run.start == "warm" else None
        records.append({**asdict(run), **carry_out(run, data, steps, started)})
        append_line(options.records, records[-1])
        print(records[-1], flush=True)
    print(report(records))
    if options.picture:
        draw(records, options.picture)


if __name__ == "__main__":
    main()
