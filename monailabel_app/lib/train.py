"""The trainer `lfusion`, as MONAI Label knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.modes import MODES


class Retraining(TrainTask):  # type: ignore[misc]  # MONAI Label has no types
    """Learns from all final labels, starting at the served checkpoint.

    `lfusion serve` starts trainings through the jobs. A plain MONAI Label server
    calls this object, in a process of its own.

    Args:
        jobs: The trainings.
    """

    def __init__(self, jobs: TrainingJobs) -> None:
        super().__init__("Quick retraining on all final labels, from the served checkpoint")
        self._jobs = jobs

    def config(self) -> dict[str, Any]:
        """What a client may set; of a list, the first is the default."""
        return {"mode": list(MODES), "steps": 0, "val_split": 0.0}

    def stats(self) -> dict[str, Any]:
        """How far the current or last training is, also when another process runs it."""
        return self._jobs.record().stats()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, then serve the result.

        Args:
            request: `mode`, `steps` and `val_split`, see `training_settings`.
            datastore: Where the final labels are.

        Returns:
            `stats()` of the finished training.

        Raises:
            TrainingError: There is nothing to learn from, or it went wrong; the
                served checkpoint is the one before.
            RequestError: A setting cannot be used.
            ConflictError: A training runs.
        """
        return self._jobs.run(request, datastore).stats()
