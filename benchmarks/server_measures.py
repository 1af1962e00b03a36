"""What `benchmarks/server.py` measures of a running server, in milliseconds."""

from __future__ import annotations

import math
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from server_contenders import Contender, Ours
from server_pools import LARGE, LARGE_SIDE, SIDE

CLIENTS = 4
REPEATS = 60
"""Requests of which a median is told."""

_WARM_UP = 5
_SWITCH_SECONDS = 0.0005
"""Clients on machines of their own would not wait for each other's interpreter."""

_MEMORY = Path("/dev/shm")
_LABEL_BYTES = 1500

Figures = dict[str, float]
"""Name of a figure → milliseconds, or a plain number where the name says so."""


def timed_ms(action: Callable[[], object]) -> float:
    """Milliseconds that an action takes."""
    start = time.perf_counter()
    action()
    return 1000 * (time.perf_counter() - start)


def measure_waits(work: Path) -> dict[str, Figures]:
    """What it costs to have a new file and a line at a file's end on disk, and in memory."""
    return {str(path): _waits(path) for path in (work.parent, _MEMORY) if path.is_dir()}


def measure_labelling(
    contender: Contender, http: httpx.Client, mask: Path, repeats: int, limit: float
) -> Figures:
    """Ask for a sample and save its label, again and again; as often as the limit allows."""
    asking, saving = [], []
    content = mask.read_bytes()
    end = time.perf_counter() + limit
    for number in range(repeats + 1):
        try:
            start = time.perf_counter()
            sample = http.post(f"/activelearning/{contender.strategy}", json={})
            asked = time.perf_counter()
            image = {"image": sample.raise_for_status().json()["id"]}
            files = {"label": ("label.png", content)}
            http.put("/datastore/label", params=image, files=files).raise_for_status()
            saved = time.perf_counter()
        except httpx.ReadTimeout:
            return {"next, p50": math.inf, "save, p50": math.inf}
        if number:  # the first one loads what is loaded once
            asking.append(1000 * (asked - start))
            saving.append(1000 * (saved - asked))
        if asking and saved > end:
            break
    figures = {"number of labels saved": float(len(saving))}
    for name, times in (("next", asking), ("save", saving)):
        figures[f"{name}, p50"] = statistics.median(times)
        figures[f"{name}, p95"] = float(np.percentile(times, 95))
    return figures


def measure_load(contender: Contender, http: httpx.Client, seconds: float) -> Figures:
    """/info alone, and beside four clients that infer, without and with a training."""
    idle = [_info_ms(http) for _ in range(REPEATS)]
    name = f"/info, {CLIENTS} clients infer {SIDE}²"
    figures = {"/info, idle, p50": statistics.median(idle)}
    figures |= _info_and_infer(name, contender, http, seconds)
    with contender.training(http):
        figures |= _info_and_infer(f"{name}, a training runs", contender, http, seconds)
    return figures


def measure_large(contender: Contender, http: httpx.Client) -> Figures:
    """Three slow inferences at once, and /info meanwhile."""
    with _own_client(http) as own:
        contender.infer(own, LARGE)
        alone = statistics.median(timed_ms(lambda: contender.infer(own, LARGE)) for _ in range(3))
    times: list[float] = []

    def three() -> None:
        with ThreadPoolExecutor(3) as pool:
            begun = time.perf_counter()
            for future in [pool.submit(_infer_once, contender, http) for _ in range(3)]:
                future.result()
            times.append(1000 * (time.perf_counter() - begun))

    beside = _info_during(http, three)
    return {
        f"infer {LARGE_SIDE}², alone": alone,
        f"infer {LARGE_SIDE}², three at once, all": times[0],
        "/info meanwhile, p50": statistics.median(beside),
        "/info meanwhile, longest": max(beside),
    }


def measure_overhead(contender: Contender, http: httpx.Client, image: Path) -> Figures:
    """Inference through the server and in this process, taking turns."""
    local = contender.local(image)
    served, here = [], []
    for _ in range(REPEATS + _WARM_UP):
        served.append(timed_ms(lambda: contender.infer(http, image.stem)))
        here.append(timed_ms(local))
    served, here = served[_WARM_UP:], here[_WARM_UP:]
    differences = [a - b for a, b in zip(served, here, strict=True)]
    return {
        f"infer {SIDE}², warm, p50": statistics.median(served),
        "the same pipeline, local, p50": statistics.median(here),
        "overhead of the server, p50": statistics.median(differences),
    }


def measure_scoring(ours: Ours, studies: Path, count: int) -> float:
    """Seconds that ours takes to score a pool that it has never seen."""
    with ours.serving(studies, limit=600) as http:
        run = {"run_sync": True}
        seconds = timed_ms(lambda: http.post("/scoring/epistemic", params=run)) / 1000
        status = http.get("/scoring/").json()
    if (status["status"], status["done"], status["skipped"]) != ("done", count, {}):
        raise SystemExit(f"expected {count} images scored; got {status}")
    return seconds


def _waits(folder: Path) -> Figures:
    line, label = folder / "lfusion-line", folder / "lfusion-label"

    def append() -> None:
        with line.open("ab") as file:
            file.write(b"x" * 300)
            file.flush()
            os.fsync(file.fileno())

    def create() -> None:
        label.unlink(missing_ok=True)
        with label.open("xb") as file:
            file.write(b"x" * _LABEL_BYTES)
            file.flush()
            os.fsync(file.fileno())

    try:
        return {
            "a new file, fsync": statistics.median(timed_ms(create) for _ in range(REPEATS)),
            "a line appended, fsync": statistics.median(timed_ms(append) for _ in range(REPEATS)),
        }
    finally:
        for file in (line, label):
            file.unlink(missing_ok=True)


def _info_and_infer(name: str, contender: Contender, http: httpx.Client, seconds: float) -> Figures:
    """/info while clients infer one image after the other."""
    end = time.perf_counter() + seconds
    inferred: list[float] = []

    def client(number: int) -> None:
        image = f"image{number:06}"
        with _own_client(http) as own:
            while time.perf_counter() < end:
                inferred.append(timed_ms(lambda: contender.infer(own, image)))

    def clients() -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))

    times = _info_during(http, clients)
    return {
        f"{name}, p50": statistics.median(times),
        f"{name}, p99": float(np.percentile(times, 99)),
        "number of /info in it": len(times),
        "inference meanwhile, p50": statistics.median(inferred),
    }


def _info_during(http: httpx.Client, work: Callable[[], object]) -> list[float]:
    """Milliseconds of each /info, asked one after the other for as long as the work takes."""
    busy = threading.Thread(target=work)
    times = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        busy.start()
        while busy.is_alive():
            times.append(_info_ms(http))
            time.sleep(0.01)
        busy.join()
    finally:
        sys.setswitchinterval(before)
    return times


def _info_ms(http: httpx.Client) -> float:
    return timed_ms(lambda: http.get("/info/").raise_for_status())


def _infer_once(contender: Contender, http: httpx.Client) -> None:
    with _own_client(http) as own:
        contender.infer(own, LARGE)


@contextmanager
def _own_client(http: httpx.Client) -> Iterator[httpx.Client]:
    """Another client of the same server, with a connection of its own."""
    with httpx.Client(base_url=http.base_url, timeout=http.timeout) as own:
        yield own
