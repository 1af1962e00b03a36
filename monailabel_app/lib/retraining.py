"""One retraining, from an order to the next served checkpoint, in a process of its own.

A training that is killed, runs out of memory or crashes takes no server with it, and inference
keeps its interpreter to itself. This module knows no MONAI Label, so the process starts in the
time that torch takes: `python -m monailabel_app.lib.retraining STATE` carries out the order that
lies in the state folder. It inherits the lock that makes it the only one.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from lfusion.checkpoint import Checkpoint
from lfusion.errors import LFusionError, TrainingError
from lfusion.image import Case, Dataset, write_mask
from lfusion.image.write import atomic_path
from lfusion.training import train
from lfusion.types import PixelSize
from monailabel_app.lib.errors import client_message
from monailabel_app.lib.labels import read_label
from monailabel_app.lib.modes import MODES
from monailabel_app.lib.progress import ProgressWriter
from monailabel_app.lib.served import ServedModel
from monailabel_app.lib.structures import as_label_info, drawn_in, not_looked_for
from monailabel_app.lib.training_state import TrainingState

logger = logging.getLogger(__name__)

MIN_CALIBRATION_IMAGES = 20
"""Held-out images below which the calibration of the model before is kept."""

NICENESS = 19
"""Of a training: it takes what predictions and answers leave."""

OOM_SCORE = 500
"""Of 1000: when memory runs out, Linux ends the training and not the server."""


class OrderedLabel(BaseModel):
    """A final label to learn from.

    Attributes:
        id: Image id.
        image: Image file.
        label: Label file.
        label_info: Names of the segments as saved with the label, or whatever else is there.
        structures: Class number by name of what could be drawn when it was saved; None when that
            is not known.
        new: Whether the served checkpoint has not learned from it.
        pixel_size_mm: (row, column) from `meta.csv`, which wins over the file's own; None without.
        group: Exam or patient from `meta.csv`; None without.
    """

    id: str
    image: Path
    label: Path
    label_info: Any = None
    structures: dict[str, int] | None = None
    new: bool = True
    pixel_size_mm: PixelSize | None = None
    group: str | None = None

    @property
    def user_path(self) -> str:
        """The label file as its user finds it, below the studies folder."""
        return "/".join(self.label.parts[-3:])


class TrainingOrder(BaseModel):
    """What one training is to do.

    Attributes:
        base: Checkpoint that is served while nothing was published.
        mode: One of `MODES`.
        steps: Optimiser steps.
        val_split: Share of the labels that are held out to measure Dice.
        labels: What to learn from.
    """

    base: Path
    mode: str
    steps: int
    val_split: float = 0.0
    labels: list[OrderedLabel]

    def save(self, state: Path) -> None:
        """Leave it for the training process."""
        with atomic_path(state / _ORDER) as temporary:
            temporary.write_text(self.model_dump_json(), encoding="utf-8")


_ORDER = "training_order.json"


def carry_out(order: TrainingOrder, served: ServedModel, state: TrainingState) -> None:
    """Train and serve the result; the caller holds the training's lock.

    Args:
        order: What to do.
        served: The model; publishes the result.
        state: Hears how far it is.

    Raises:
        TrainingError: There is nothing to learn from, or it went wrong; the served checkpoint is
            the one before.
    """
    progress = ProgressWriter(state)
    try:
        trained = _train(order, served, progress)
        progress.change(stage="swap", swap=trained.id)
        served.publish(trained, state.record().started)
        progress.end(status="done", checkpoint_id=trained.id)
    except (LFusionError, OSError) as error:
        progress.end(status="failed", error=client_message(error))
        raise
    except Exception as error:  # whatever it is, people who wait must hear of it
        name = type(error).__name__
        progress.end(status="failed", error=f"{name}; the server's log says more")
        raise


def _train(order: TrainingOrder, served: ServedModel, progress: ProgressWriter) -> Checkpoint:
    """Collect and learn."""
    progress.change(stage="read")
    mode = MODES[order.mode]
    start = Checkpoint.load(served.path if order.mode == "quick" else order.base)
    folder = progress.state.folder / "training_masks"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        cases, skipped = collect_cases(order.labels, start.labels, folder)
        progress.change(images=[case.id for case in cases], skipped=skipped)
        if not cases:
            first = next(iter(skipped.values()), "none")
            raise TrainingError(
                f"expected at least one final label to learn from; got {len(skipped)} that "
                f"cannot be used ({first}); save a label first"
            )
        held_out = [case for case in cases if _is_held_out(case.group or case.id, order.val_split)]
        if len(held_out) == len(cases):
            held_out = []
        learned = [case for case in cases if case not in held_out]
        offered = {label.id: label.structures for label in order.labels}
        unlearned = {start.labels[name] for name in start.unlearned}
        config = mode.config_of(order.steps, first=bool(unlearned & drawn_in(learned)))
        trained = train(
            _dataset(learned, start.labels),
            config,
            start=start,
            validation=_dataset(held_out, start.labels) if held_out else None,
            new=[label.id for label in order.labels if label.new and order.mode == "quick"],
            not_annotated=not_looked_for(learned, offered, start.labels),
            cache=progress.state.folder / "features",
            on_progress=progress.report,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if len(held_out) < MIN_CALIBRATION_IMAGES and start.calibration.held_out:
        return replace(trained, calibration=start.calibration)
    return trained


def collect_cases(
    ordered: list[OrderedLabel], labels: Mapping[str, int], folder: Path
) -> tuple[list[Case], dict[str, str]]:
    """Labels as training cases, every format brought to [H, W] class numbers.

    Args:
        ordered: What to learn from.
        labels: Class number by name of the model.
        folder: Where the masks are written in one format.

    Returns:
        The cases in the order given, and the reason by image id for each label that cannot be
        used.
    """
    cases: list[Case] = []
    skipped: dict[str, str] = {}
    for number, label in enumerate(ordered):
        written = folder / f"{number:06}.png"
        try:
            names = label.label_info or as_label_info(label.structures or {})
            write_mask(written, read_label(label.label, label.image, names, labels))
        except LFusionError as error:
            skipped[label.id] = f"{label.user_path}: {client_message(error)}"
            logger.warning("the label %s is left out", skipped[label.id])
        else:
            size, group = label.pixel_size_mm, label.group
            cases.append(Case(label.id, label.image, written, group=group, pixel_size_mm=size))
    return cases, skipped


def _dataset(cases: list[Case], labels: Mapping[str, int]) -> Dataset:
    return Dataset(cases=tuple(cases), labels=dict(labels), root=None)


def _is_held_out(name: str, share: float) -> bool:
    """Whether an exam or image is for validation: by its name, so that it never changes sides."""
    draw = int.from_bytes(sha256(name.encode("utf-8", "surrogateescape")).digest()[:4], "big")
    return draw < share * 2**32


def main(folder: Path) -> None:
    """Carry out the order that lies in the folder."""
    # Ctrl-C reaches the whole group; the server then stops the training itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s training %(name)s: %(message)s"
    )
    _stand_back()
    began = time.monotonic()
    order = TrainingOrder.model_validate_json((folder / _ORDER).read_bytes())
    served = ServedModel(order.base, folder)
    carry_out(order, served, TrainingState(folder, lambda: served.checkpoint_id))
    logger.info("done after %.0f s", time.monotonic() - began)


def _stand_back() -> None:
    """Leave processor and memory to those who annotate."""
    os.nice(NICENESS)
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
