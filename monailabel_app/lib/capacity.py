"""How many predictions run at a time, and how the processor is shared among all that runs."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

AT_ONCE = min(_CORES, 4)
"""Predictions at a time: more would only share the same cores and finish later, all of them."""

SWITCH_SECONDS = 0.0005
"""How long one thread of Python may keep the others waiting. Answering takes a few turns, and each
turn waits for every thread that prepares a prediction; the default, 5 ms, adds up."""

NICENESS = 5
"""Of predictions: other answers take milliseconds and go first; a training, with 19, goes last."""

SCORING_NICENESS = 10
"""Of scoring the pool: somebody may wait for a prediction."""


def _stand_back(niceness: int) -> None:
    """Let the server's other threads go first; only Linux has a priority for each thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        nice = os.getpriority(os.PRIO_PROCESS, thread) + niceness
        os.setpriority(os.PRIO_PROCESS, thread, nice)


predictions = ThreadPoolExecutor(AT_ONCE, "prediction", _stand_back, (NICENESS,))
"""Threads for predictions only, so that no number of them keeps other requests from a thread."""

scorings = ThreadPoolExecutor(AT_ONCE, "scoring", _stand_back, (SCORING_NICENESS,))
"""Threads that score the pool, as many as there are cores for."""


decodings = ThreadPoolExecutor(AT_ONCE, "decoding")
"""Threads that decode images for lists: each may take a gigabyte for the largest image."""

decoding_slots = threading.BoundedSemaphore(2 * AT_ONCE)
"""For uploads; each may take a gigabyte when it is decoded. Predictions of uploads take at
most half of them, so that a label never waits for a prediction."""


def share_cores() -> None:
    """Let predictions that run together use each core once, and answers come between them."""
    torch.set_num_threads(max(1, min(torch.get_num_threads(), _CORES // AT_ONCE)))
    sys.setswitchinterval(SWITCH_SECONDS)
