"""Active learning played through where all labels are known: does a ranking save any?"""

from __future__ import annotations

from lfusion.simulation.analysis import Curves, training_noise
from lfusion.simulation.learner import Learner, Performance, measure
from lfusion.simulation.pool import HeldOutImage, PoolImage, read_held_out, read_pool
from lfusion.simulation.records import Cell, Record, RecordFile
from lfusion.simulation.setup import prepare
from lfusion.simulation.simulate import FIRST, Plan, Simulation, first_labels
from lfusion.simulation.strategies import STRATEGIES

__all__ = [
    "FIRST",
    "STRATEGIES",
    "Cell",
    "Curves",
    "HeldOutImage",
    "Learner",
    "Performance",
    "Plan",
    "PoolImage",
    "Record",
    "RecordFile",
    "Simulation",
    "first_labels",
    "measure",
    "prepare",
    "read_held_out",
    "read_pool",
    "training_noise",
]
