"""Which strategy saves labels: active learning played through on fetal ultrasound, paired by seed.

Every training starts from the same weights (an encoder pretrained on ImageNet, a fresh decoder) and
takes the same steps; all strategies of a seed share first labels, first weights and training seed.
Pool and test images are of different examinations. A stopped run goes on where it was.

    OMP_NUM_THREADS=1 python benchmarks/active_learning.py --data ../shared/data/hc18 \
        --weights ../shared/weights/mobilenetv2_100.imagenet.safetensors --out FOLDER \
        [--seed S]... [--start N] [--query N] [--strategy NAME]... [--picture FILE.png] \
        [--noise TIMES | --everything]
    python benchmarks/active_learning.py --quick     # phantoms, three short trainings
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from active_learning_report import noise_line, report
from rich.console import Console

from lfusion.image import Dataset
from lfusion.image.phantom import write_phantoms
from lfusion.model import EncoderConfig
from lfusion.model.input import InputSpec
from lfusion.simulation import FIRST, Cell, Plan, Record, RecordFile, Simulation, prepare
from lfusion.training import TrainingConfig

STRATEGIES = (
    "random",
    "stratified_random",
    "entropy",
    "monai_entropy",
    "bald_dropout",
    "epistemic",
    "epistemic_mean",
    "epistemic_power",
    "epistemic_per_kind",
    "epistemic_spread",
    "epistemic_spread_linear",
    "information_gain",
    "coreset",
    "typiclust",
    "egad",
)
QUICK = ("random", "epistemic")
CONFIG = TrainingConfig(
    encoder=EncoderConfig("timm:mobilenetv2_100", {"pad_type": "same"}, (0.5,) * 3, (0.5,) * 3),
    input=InputSpec(96),
    steps=200,
    batch_size=8,
    learning_rate=2e-3,
    average_decay=0.97,
    precision="bfloat16",
)
NAMES = {"hc18": ("fetal head",), "psfhs": ("pubic symphysis", "fetal head")}

console = Console(stderr=True)


def arguments() -> argparse.Namespace:
    """What to play."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with the splits train and test")
    parser.add_argument("--weights", type=Path, help="pretrained encoder")
    parser.add_argument("--out", type=Path, help="folder of the records")
    parser.add_argument("--seed", type=int, action="append", help="again for each; default 0 to 4")
    parser.add_argument("--strategy", action="append", help="again for each")
    parser.add_argument("--start", type=int, default=5)
    parser.add_argument("--query", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=CONFIG.steps)
    parser.add_argument(
        "--noise", type=int, help="only train so often again on the first and last random labels"
    )
    parser.add_argument(
        "--everything", action="store_true", help="only train on all labels of the pool"
    )
    parser.add_argument("--picture", type=Path, help="draw the curves there")
    parser.add_argument("--quick", action="store_true", help="phantoms and few steps")
    return parser.parse_args()


def tell(what: str) -> Callable[[int, int], None]:
    """Say when everything of one kind was read."""
    return lambda done, total: console.log(f"{what}: {total} images") if done == total else None


def show(record: Record) -> None:
    """Say how a round went."""
    cell = record.cell
    console.log(
        f"seed {cell.seed} {cell.strategy:18} {cell.labels:3} labels: Dice {record.dice:.4f}, "
        f"training {record.training_s:.0f} s, choosing {record.choosing_s or 0:.0f} s"
    )


def named_data(folder: Path) -> Dataset:
    """A data set; those that come without names of their classes get them."""
    data = Dataset.read(folder)
    names = NAMES.get(folder.name)
    if names is None:
        return data
    return replace(data, labels={name: n for n, name in enumerate(names, start=1)})


def open_data(options: argparse.Namespace) -> Simulation:
    """The data set of the options, ready to play."""
    data = named_data(options.data)
    config = replace(CONFIG, steps=options.steps)
    file = options.out / f"{options.data.name}.jsonl"
    return prepare(data.split("train"), data.split("test"), config, options.weights, file, tell)


def train_again(simulation: Simulation, plan: Plan, times: int, path: Path) -> None:
    """Train with other seeds on labels drawn at random: the noise of the training itself."""
    records, noise = simulation.file.read(), RecordFile(path)
    done = noise.read()
    for seed in plan.seeds:
        for number in (0, plan.rounds - 1):
            record = records[Cell(plan.start, plan.query, seed, FIRST, number)]
            for again in range(1, times + 1):
                training_seed = 1000 * again + seed
                if replace(record.cell, seed=training_seed) not in done:
                    show(simulation.repeat(record, training_seed, noise))


def main() -> None:
    """Play, print the tables and draw the curves."""
    torch.set_num_threads(1)
    options = arguments()
    if options.quick:
        folder = Path(tempfile.mkdtemp())
        write_phantoms(folder / "phantoms", 30, 0)
        options.data, options.out = folder / "phantoms", options.out or folder
        options.strategy = options.strategy or QUICK
        options.seed, options.rounds, options.steps = options.seed or [0], 2, 10
    plan = Plan(
        options.strategy or STRATEGIES,
        options.seed or range(5),
        options.start,
        options.query,
        options.rounds,
    )
    simulation = open_data(options)
    if options.noise:
        path = options.out / f"{options.data.name}_noise.jsonl"
        train_again(simulation, plan, options.noise, path)
        print(noise_line(RecordFile(path).read(), simulation.file.read()))
        return
    if options.everything:
        plan = Plan((FIRST,), plan.seeds, len(simulation.pool), query=0, rounds=1)
    simulation.run(plan, show)
    if plan.rounds > 1:
        print(report(simulation.file.read(), plan.start, plan.query, options.picture))


if __name__ == "__main__":
    main()
