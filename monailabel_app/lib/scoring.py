"""Scoring the pool, in this process, with the checkpoint that is served.

MONAI Label starts one process per scoring method and next sample; here one
thread scores each image once per checkpoint and stores the result in the info
of the image, where the strategies only sort it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException
from monailabel.interfaces.tasks.scoring import ScoringMethod
from pydantic import ValidationError

from lfusion.errors import ImageError, NonFiniteError
from lfusion.predictor import Predictor
from lfusion.protocol import INFO_KEY, ScoringStatus, StoredScore
from monailabel_app.lib.served import ServedModel

logger = logging.getLogger(__name__)


def stored_score(info: Mapping[str, Any], checkpoint_id: str) -> StoredScore | None:
    """What the info of an image says about it under one checkpoint.

    Args:
        info: The image's info in the datastore.
        checkpoint_id: The checkpoint that is served.

    Returns:
        None when the image was not scored by this checkpoint.
    """
    try:
        score = StoredScore.model_validate(info.get(INFO_KEY))
    except ValidationError:
        return None
    return score if score.checkpoint_id == checkpoint_id else None


class PoolScoring(ScoringMethod):  # type: ignore[misc]  # MONAI Label has no types
    """Scores every unlabelled image that the served checkpoint has not scored yet.

    Args:
        served: The model.
    """

    def __init__(self, served: ServedModel) -> None:
        super().__init__("Uncertainty scores of all unlabelled images, by the served checkpoint")
        self._served = served
        self._one_run = threading.Lock()
        self._starting = threading.Lock()
        self._status = ScoringStatus()

    @property
    def status(self) -> ScoringStatus:
        """How far the current or last run is."""
        return self._status

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score what is missing; a second caller waits and then finds it done.

        Args:
            request: Ignored; MONAI Label passes it.
            datastore: The pool.

        Returns:
            The final `ScoringStatus` as JSON.

        Raises:
            LFusionError: The model failed on a readable image.
        """
        with self._one_run:
            try:
                self._run(datastore)
            except Exception as error:
                self._update(status="failed", error=str(error))
                raise
            self._update(status="done")
            return self._status.model_dump()

    def start(self, datastore: Datastore) -> None:
        """Score in the background; while a run goes on, that one is enough.

        Args:
            datastore: The pool.
        """
        with self._starting:
            if self._status.status == "running":
                return
            self._status = ScoringStatus(status="running")
        threading.Thread(target=self, args=({}, datastore), name="scoring", daemon=True).start()

    def _run(self, datastore: Datastore) -> None:
        """Score image after image; each result is stored at once, so a run can be resumed."""
        model = self._served.predictor()
        pool = sorted(datastore.get_unlabeled_images())
        self._status = ScoringStatus(
            status="running", checkpoint_id=model.checkpoint_id, total=len(pool)
        )
        for done, image_id in enumerate(pool, start=1):
            score = self._score(model, image_id, datastore)
            if score is not None and score.unreadable is not None:
                self._update(skipped={**self._status.skipped, image_id: score.unreadable})
            self._update(done=done)

    def _score(self, model: Predictor, image_id: str, datastore: Datastore) -> StoredScore | None:
        """The stored score of one image, made when it is missing; None when the image is gone."""
        score = stored_score(datastore.get_image_info(image_id), model.checkpoint_id)
        if score is not None:
            return score
        try:
            prediction = model(Path(datastore.get_image_uri(image_id)))
            score = StoredScore(checkpoint_id=model.checkpoint_id, scores=dict(prediction.scores))
        except (ImageError, NonFiniteError) as error:
            logger.warning("image %s is not scored: %s", image_id, error)
            score = StoredScore(checkpoint_id=model.checkpoint_id, unreadable=str(error))
        try:
            datastore.update_image_info(image_id, {INFO_KEY: score.model_dump()})
        except ImageNotFoundException:
            return None
        return score

    def _update(self, **changes: Any) -> None:
        """Replace the status as a whole: readers see one or the other."""
        self._status = self._status.model_copy(update=changes)
