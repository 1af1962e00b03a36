"""The trainer `lfusion`: from saved labels to the next served checkpoint.

MONAI Label runs a trainer in a process of its own, and we keep that: a training
that is killed, runs out of memory or crashes takes no server with it, inference
keeps its interpreter to itself, and stopping is a signal that always works. The
two processes share two files only, both replaced atomically: the checkpoint,
which the server follows, and the status.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.train import TrainTask
from pydantic import ValidationError

from lfusion.checkpoint import Checkpoint
from lfusion.errors import LFusionError, TrainingError
from lfusion.image import Case, Dataset, write_mask
from lfusion.image.write import atomic_path
from lfusion.protocol import TrainingStatus
from lfusion.training import TrainingConfig, TrainingProgress, train
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.labels import read_label
from monailabel_app.lib.served import ServedModel

logger = logging.getLogger(__name__)

MAX_STEPS = 10_000
"""Of one retraining; more is a job for `lfusion train`."""


class Retraining(TrainTask):  # type: ignore[misc]  # MONAI Label has no types
    """Learns from all final labels, starting at the served checkpoint.

    Args:
        served: The model; publishes the result.
        state: Folder for the status file.
    """

    def __init__(self, served: ServedModel, state: Path) -> None:
        super().__init__("Quick retraining on all final labels, from the served checkpoint")
        self._served = served
        self._file = state / "training.json"
        self._begin = time.monotonic()

    def config(self) -> dict[str, Any]:
        """What a client may set."""
        return training_settings({})

    @property
    def status(self) -> TrainingStatus:
        """How far the current or last training is, also when another process runs it."""
        try:
            return TrainingStatus.model_validate_json(self._file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return TrainingStatus()

    def stats(self) -> dict[str, Any]:
        """The status as MONAI Label's clients read it, ours under `progress`."""
        status = self.status
        if status.status == "idle":
            return {}
        passed = str(datetime.timedelta(seconds=int(status.seconds)))
        ended = status.status in ("done", "failed")
        return {
            "epoch": status.step,
            "total_epochs": status.steps,
            "total_time" if ended else "current_time": passed,
            "best_metric": status.dice or 0.0,
            "progress": status.model_dump(),
        }

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, then serve the result.

        Args:
            request: `steps`, an integer, instead of the preset's.
            datastore: Where the final labels are.

        Returns:
            `stats()` of the finished training.

        Raises:
            TrainingError: There is nothing to learn from, or it went wrong; the
                served checkpoint is the one before.
            RequestError: `steps` is no integer in the allowed range.
        """
        self._begin = time.monotonic()
        self._write(TrainingStatus(status="running"))
        try:
            steps = training_settings(request)["steps"]
            self._train(dataclasses.replace(TrainingConfig.quick(), steps=steps), datastore)
        except (LFusionError, OSError) as error:
            self._update(status="failed", error=str(error))
            raise
        return self.stats()

    def _train(self, config: TrainingConfig, datastore: Datastore) -> None:
        """Collect, learn, publish."""
        start = Checkpoint.load(self._served.path)
        labels = dict(start.labels)
        with tempfile.TemporaryDirectory(prefix="lfusion-masks-") as folder:
            cases, skipped = collect_cases(datastore, labels, Path(folder))
            self._update(images=[case.id for case in cases], skipped=skipped)
            if not cases:
                raise TrainingError(
                    f"expected at least one final label to learn from; got {len(skipped)} that "
                    "cannot be used; save a label first"
                )
            dataset = Dataset(cases=tuple(cases), labels=labels, root=None)
            trained = train(dataset, config, start=start, on_progress=self._on_progress)
        self._update(status="done", checkpoint_id=self._served.publish(trained))

    def _on_progress(self, progress: TrainingProgress) -> None:
        """Pass a step on to whoever asks."""
        self._update(
            stage=progress.stage,
            step=progress.step,
            steps=progress.steps,
            loss=progress.loss,
            dice=progress.best_dice,
            seconds_left=progress.seconds_left,
        )

    def _update(self, **changes: Any) -> None:
        """Change some fields of the status."""
        changes["seconds"] = time.monotonic() - self._begin
        self._write(self.status.model_copy(update=changes))

    def _write(self, status: TrainingStatus) -> None:
        """Replace the status file."""
        with atomic_path(self._file) as temporary:
            temporary.write_text(status.model_dump_json(), encoding="utf-8")


def collect_cases(
    datastore: Datastore, labels: Mapping[str, int], folder: Path
) -> tuple[list[Case], dict[str, str]]:
    """All final labels as training cases, every format brought to [H, W] class numbers.

    Args:
        datastore: The labels and their images.
        labels: Class number by name of the model.
        folder: Where the masks are written in one format.

    Returns:
        The cases, ordered by id, and the reason by image id for each label that
        cannot be used.
    """
    cases: list[Case] = []
    skipped: dict[str, str] = {}
    for image_id in sorted(datastore.get_labeled_images()):
        label = Path(datastore.get_label_uri(image_id, DefaultLabelTag.FINAL))
        info = datastore.get_label_info(image_id, DefaultLabelTag.FINAL)
        case = Case(
            id=image_id,
            image_path=Path(datastore.get_image_uri(image_id)),
            mask_path=folder / f"{image_id}.png",
        )
        try:
            write_mask(
                folder / f"{image_id}.png", read_label(label, info.get("label_info"), labels)
            )
            case.read_mask()
        except LFusionError as error:
            logger.warning("the label of image %s is not used: %s", image_id, error)
            skipped[image_id] = str(error)
        else:
            cases.append(case)
    return cases, skipped


def training_settings(request: Mapping[str, Any]) -> dict[str, int]:
    """What a client may decide about a training, checked.

    Args:
        request: The client's parameters; those that are not ours are left out.

    Returns:
        `steps`.

    Raises:
        RequestError: `steps` is no integer in the allowed range.
    """
    steps = request.get("steps", TrainingConfig.quick().steps)
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise RequestError(f"expected steps from 1 to {MAX_STEPS}; got {str(steps)[:80]!r}")
    return {"steps": steps}
