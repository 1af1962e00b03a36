"""A viewer without a window, the demonstration as a backend, and time that a test moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel

from lfusion.image import as_ultrasound_image
from lfusion.types import LabelMap
from napari_lfusion.controller.annotator import Annotator
from napari_lfusion.controller.requests import Finished
from napari_lfusion.core.case import BackendInfo, Offer, OpenCase, Proposal

MakeCase = Callable[..., OpenCase]


@dataclass
class SteppingRunner:
    """Runs work when a test says so; at once unless it is held."""

    held: bool = False
    waiting: deque[tuple[Callable[[], object], Finished]] = field(default_factory=deque)

    def start(self, work: Callable[[], object], finished: Finished) -> None:
        self.waiting.append((work, finished))
        if not self.held:
            self.go_on()

    def go_on(self) -> None:
        while self.waiting:
            self.step()

    def step(self) -> None:
        """Answer the oldest question."""
        work, finished = self.waiting.popleft()
        try:
            result, error = work(), None
        except Exception as raised:
            result, error = None, raised
        finished(result, error)


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def runner() -> SteppingRunner:
    return SteppingRunner()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def annotator(
    viewer: ViewerModel, runner: SteppingRunner, clock: Clock, tmp_path: Path
) -> Iterator[Annotator]:
    made = Annotator(viewer, runner, tmp_path / "work", clock)
    made.advance = False
    yield made
    runner.held = False
    made.shut_down()


@pytest.fixture
def info() -> BackendInfo:
    """A server with two classes and nothing else."""
    return BackendInfo("test", {"fetal head": 1, "pubic symphysis": 2}, ("random",), None, False)


def _mask(shape: tuple[int, int]) -> LabelMap:
    mask = np.zeros(shape, np.uint8)
    mask[10:30, 20:50] = 1
    return mask


@pytest.fixture
def make_case() -> MakeCase:
    """Cases with a rectangle, a doubtful spot of 5 x 5 and a worse one of 5 x 6 pixels."""

    def make(
        image_id: str = "case",
        shape: tuple[int, int] = (64, 96),
        pixel_size_mm: tuple[float, float] | None = (0.5, 0.25),
        maps: bool = True,
    ) -> OpenCase:
        values = np.zeros(shape, np.float32)
        values[40:45, 10:15] = 0.4
        values[40:45, 60:66] = 0.6
        named = {"epistemic": values, "aleatoric": values / 2, "total": values * 1.5}
        image = as_ultrasound_image(np.full(shape, 0.25, np.float32), pixel_size_mm)
        return OpenCase(
            Offer(image_id), image, Proposal(image_id, _mask(shape), named if maps else {})
        )

    return make
