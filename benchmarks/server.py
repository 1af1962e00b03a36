"""The server beside stock MONAI Label: the same images, the same tiny network, one run.

Next-sample and save-label on pools of growing size; /info while four clients infer; three slow
inferences at once; what the server costs over the same pipeline called in this process; and how
fast ours scores a pool with the shipped network. The pools are links to a few images, in a folder
of the run's own; ours starts with every image scored, stock MONAI Label with its Random strategy.

    OMP_NUM_THREADS=1 python benchmarks/server.py [--sizes N ...] [--stock-up-to N] [--repeats K]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table
from server_contenders import Contender, Ours, Stock
from server_pools import (
    SIDE,
    make_distinct,
    make_pool,
    seed_scores,
    train_tiny,
    write_images,
    write_large,
)

from lfusion.checkpoint import default_checkpoint_path

LARGE, LARGE_SIDE = "large", 1024
CLIENTS = 4
SCORED = 64
"""Images scored for the rate."""

Figures = dict[str, float]
"""Name of a figure → milliseconds, unless the name says otherwise."""


def timed_ms(action: Callable[[], object]) -> float:
    """Milliseconds that an action takes."""
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def info_ms(http: httpx.Client) -> float:
    """Milliseconds of one /info."""
    return timed_ms(lambda: http.get("/info/").raise_for_status())


def measure_labelling(
    contender: Contender, http: httpx.Client, mask: Path, repeats: int
) -> Figures:
    """Ask for a sample and save its label, again and again."""
    asking, saving = [], []
    content = mask.read_bytes()
    for _ in range(repeats + 3):  # the first ones load what is loaded once
        start = time.perf_counter()
        sample = http.post(f"/activelearning/{contender.strategy}", json={})
        between = time.perf_counter()
        image = {"image": sample.raise_for_status().json()["id"]}
        files = {"label": ("label.png", content)}
        http.put("/datastore/label", params=image, files=files).raise_for_status()
        asking.append(1000 * (between - start))
        saving.append(1000 * (time.perf_counter() - between))
    figures = {}
    for name, times in (("next", asking[3:]), ("save", saving[3:])):
        figures[f"{name}, p50"] = statistics.median(times)
        figures[f"{name}, p95"] = float(np.percentile(times, 95))
    return figures


def info_during(http: httpx.Client, work: Callable[[], object]) -> list[float]:
    """Ms of each /info, asked one after the other for as long as the work takes."""
    busy = threading.Thread(target=work)
    busy.start()
    times = []
    while busy.is_alive():
        times.append(info_ms(http))
        time.sleep(0.005)
    busy.join()
    return times


def at_once(count: int, action: Callable[[], object]) -> None:
    """Do the same in several threads, and wait for all."""
    with ThreadPoolExecutor(count) as pool:
        for future in [pool.submit(action) for _ in range(count)]:
            future.result()


def measure_load(contender: Contender, http: httpx.Client) -> Figures:
    """/info beside inference: four clients on small images, then three on a large one."""
    images = [f"image{number:06}" for number in range(CLIENTS)]
    for image in (images[0], LARGE):
        contender.infer(http, image)

    def small() -> None:
        for image in images * 2:
            contender.infer(http, image)

    def large() -> None:
        contender.infer(http, LARGE)

    idle = [info_ms(http) for _ in range(30)]
    loaded = info_during(http, lambda: at_once(CLIENTS, small))
    alone = statistics.median(timed_ms(large) for _ in range(3))
    beside: list[float] = []
    three = timed_ms(lambda: beside.extend(info_during(http, lambda: at_once(3, large))))
    return {
        "/info, idle, p50": statistics.median(idle),
        f"/info, {CLIENTS} clients infer {SIDE}², p50": statistics.median(loaded),
        f"/info, {CLIENTS} clients infer {SIDE}², p99": float(np.percentile(loaded, 99)),
        f"infer {LARGE_SIDE}², alone": alone,
        f"infer {LARGE_SIDE}², three at once, all": three,
        "/info meanwhile, p50": statistics.median(beside),
        "/info meanwhile, longest": max(beside),
    }


def measure_overhead(
    contender: Contender, http: httpx.Client, image: Path, repeats: int
) -> Figures:
    """Inference through the server and in this process, taking turns."""
    local = contender.local(image)
    served, here = [], []
    for _ in range(repeats + 5):
        served.append(timed_ms(lambda: contender.infer(http, image.stem)))
        here.append(timed_ms(local))
    served, here = served[5:], here[5:]
    differences = [a - b for a, b in zip(served, here, strict=True)]
    return {
        f"infer {SIDE}², warm, p50": statistics.median(served),
        "the same pipeline, local, p50": statistics.median(here),
        "overhead of the server, p50": statistics.median(differences),
    }


def studies_of(contender: Contender, images: list[Path], count: int) -> Path:
    """A pool for a contender; one that an earlier run left is used again."""
    studies = contender.work / f"{contender.name}{count}"
    if not studies.exists():
        make_pool(studies, images, count)
        write_large(images[0], studies / f"{LARGE}.png", LARGE_SIDE)
        if isinstance(contender, Ours):
            seed_scores(studies, contender.checkpoint)
    return studies


def measure_pool(
    contender: Contender, images: list[Path], count: int, repeats: int, *, inference: bool
) -> tuple[Figures, Figures]:
    """Figures on a pool of one size: of labelling, and if asked for of inference."""
    studies = studies_of(contender, images, count)
    mask = images[0].parents[1] / "masks" / images[0].name
    start = time.perf_counter()
    with contender.serving(studies) as http:
        figures = {"start": 1000 * (time.perf_counter() - start)}
        figures |= measure_labelling(contender, http, mask, repeats)
        beside: Figures = {}
        if inference:
            beside |= measure_load(contender, http)
            beside |= measure_overhead(contender, http, studies / "image000000.png", repeats)
    return figures, beside


def measure_scoring(images: list[Path], work: Path) -> float:
    """Images of 256 × 256 pixels that ours scores in a second, with the shipped network."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        studies = make_distinct(Path(folder) / "scored", images, SCORED)
        return SCORED / seconds_to_score(studies, work)


def seconds_to_score(studies: Path, work: Path) -> float:
    """Seconds that the server takes for a pool that it has never seen."""
    with Ours(default_checkpoint_path(), work).serving(studies) as http:
        run = {"run_sync": True}
        seconds = timed_ms(lambda: http.post("/scoring/epistemic", params=run)) / 1000
        status = http.get("/scoring/").json()
    if (status["status"], status["done"], status["skipped"]) != ("done", SCORED, {}):
        raise SystemExit(f"expected {SCORED} images scored; got {status}")
    return seconds


def table_of(title: str, columns: dict[str, Figures]) -> Table:
    """Figures side by side; a dash where one was not measured."""
    table = Table("", *columns, title=title)
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    for name in names:
        cells = (figures.get(name) for figures in columns.values())
        table.add_row(name, *("–" if cell is None else f"{cell:.1f} ms" for cell in cells))
    return table


def measure(work: Path, arguments: argparse.Namespace, console: Console) -> None:
    """Measure in a work folder and print the tables."""
    checkpoint = work / "tiny.safetensors"
    images = write_images(work / "source")
    if not checkpoint.exists():
        train_tiny(work / "source", checkpoint)
    contenders = (Ours(checkpoint, work), Stock(checkpoint, work))
    labelling: dict[str, Figures] = {}
    inference: dict[str, Figures] = {}
    for count in sorted(arguments.sizes):
        for contender in contenders:
            if isinstance(contender, Stock) and count > arguments.stock_up_to:
                continue
            asked = not arguments.labelling_only and contender.name not in inference
            figures = measure_pool(contender, images, count, arguments.repeats, inference=asked)
            labelling[f"{contender.name}, {count}"] = figures[0]
            inference.setdefault(contender.name, figures[1])
            console.log(f"{contender.name}, {count} images: measured")
    console.print(table_of("labelling, by size of the pool", labelling))
    if arguments.labelling_only:
        return
    console.print(table_of(f"inference, pool of {min(arguments.sizes)}", inference))
    rate = measure_scoring(images, work)
    console.print(
        f"scoring, shipped network: {rate:.1f} images of {SIDE}² a second; 1 000 would take "
        f"{1000 / rate:.0f} s (extrapolated from {SCORED})"
    )


def main() -> None:
    """Take the arguments, and a work folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--stock-up-to", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--labelling-only", action="store_true")
    parser.add_argument("--work", type=Path, help="keeps the pools, which the next run uses again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lfusion-server-") as folder:
        measure(arguments.work or Path(folder), arguments, Console())


if __name__ == "__main__":
    main()
