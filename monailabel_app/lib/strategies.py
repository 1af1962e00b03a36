"""Which image to label next: strategies that sort stored scores."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from lfusion.acquisition import random_score, rank
from lfusion.protocol import StoredScore
from monailabel_app.lib.scoring import PoolScoring, stored_score
from monailabel_app.lib.served import ServedModel


class ScoredStrategy(Strategy):  # type: ignore[misc]  # MONAI Label has no types
    """Offers the unlabelled image whose stored score is highest.

    Args:
        key: The image score to sort by, one of `lfusion.acquisition.STRATEGIES`.
        served: The model whose scores count.
        scoring: Fills in scores that are missing, after a retraining or for new images.
    """

    def __init__(self, key: str, served: ServedModel, scoring: PoolScoring) -> None:
        super().__init__(f"The unlabelled image with the highest {key}")
        self._key = key
        self._served = served
        self._scoring = scoring

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Offer an image.

        Args:
            request: Ignored; MONAI Label passes it.
            datastore: The pool.

        Returns:
            `id`, `score` and `pool` (how many images can be offered), or None
            when nothing is left to label.

        Raises:
            LFusionError: Scores were missing and could not be made.
        """
        scores = self._scores(datastore)
        if any(score is None for score in scores.values()):
            self._scoring(request, datastore)
            scores = self._scores(datastore)
        ranking = rank(
            {
                image_id: score.scores[self._key]
                for image_id, score in scores.items()
                if score is not None and score.unreadable is None
            }
        )
        if not ranking:
            return None
        return {"id": ranking[0].id, "score": ranking[0].score, "pool": len(ranking)}

    def _scores(self, datastore: Datastore) -> dict[str, StoredScore | None]:
        """The stored score of each unlabelled image, None where it is missing or stale."""
        checkpoint_id = self._served.predictor().checkpoint_id
        return {
            image_id: stored_score(datastore.get_image_info(image_id), checkpoint_id)
            for image_id in datastore.get_unlabeled_images()
        }


class RandomStrategy(Strategy):  # type: ignore[misc]  # MONAI Label has no types
    """Offers an unlabelled image at random, skipping those known to be unreadable.

    Args:
        served: The model whose scoring may have found an image unreadable.
    """

    def __init__(self, served: ServedModel) -> None:
        super().__init__("An unlabelled image at random; repeatable with a `seed`")
        self._served = served

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Offer an image.

        Args:
            request: `seed`, an integer, makes the choice repeatable.
            datastore: The pool.

        Returns:
            `id` and `pool` (how many images can be offered), or None when
            nothing is left to label.
        """
        seed = request.get("seed")
        seed = seed if isinstance(seed, int) else secrets.randbits(32)
        checkpoint_id = self._served.predictor().checkpoint_id
        scores = {}
        for image_id in datastore.get_unlabeled_images():
            known = stored_score(datastore.get_image_info(image_id), checkpoint_id)
            if known is None or known.unreadable is None:
                scores[image_id] = random_score(image_id, seed)
        return {"id": rank(scores)[0].id, "pool": len(scores)} if scores else None
