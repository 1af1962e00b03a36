"""A second look at masks: which ones a model contradicts, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from lfusion.acquisition import rank
from lfusion.errors import DatasetError
from lfusion.evaluation.contradiction import Contradiction, DoubtedRegion, contradiction
from lfusion.evaluation.evaluate import Progress, match_labels, predict_case, read_reference
from lfusion.evaluation.metrics import dice
from lfusion.image import Dataset
from lfusion.types import LabelMap

if TYPE_CHECKING:
    from lfusion.predictor import Prediction, Predictor

SUSPECT = 0.25
"""Score from which a mask is worth a second look; docs/evidence/audit.md says what it finds."""


@dataclass(frozen=True)
class AuditedImage:
    """One labelled image.

    Attributes:
        rank: 1 is contradicted most.
        id: of the image.
        score: of the contradiction, nats per pixel of the structures.
        dice: overlap of the mask with the model's, mean over the structures.
        regions: those that the model would draw otherwise, the most nats first.
    """

    rank: int
    id: str
    score: float
    dice: float
    regions: tuple[DoubtedRegion, ...]

    @property
    def suspect(self) -> bool:
        """Whether the mask is worth a second look."""
        return self.score >= SUSPECT

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready copy."""
        return {
            "rank": self.rank,
            "id": self.id,
            "score": self.score,
            "suspect": self.suspect,
            "dice": self.dice,
            "regions": [region.as_dict() for region in self.regions],
        }


@dataclass(frozen=True)
class AuditReport:
    """All labelled images of a data set.

    Attributes:
        images: the most contradicted first.
        unlabelled: images without a mask, left out.
        labels: name → class number, the model's.
        checkpoint_id: of the model.
    """

    images: tuple[AuditedImage, ...]
    unlabelled: int
    labels: dict[str, int]
    checkpoint_id: str

    @property
    def suspects(self) -> tuple[AuditedImage, ...]:
        """The images whose mask is worth a second look."""
        return tuple(image for image in self.images if image.suspect)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready copy."""
        return {
            "checkpoint_id": self.checkpoint_id,
            "labels": self.labels,
            "suspect_from": SUSPECT,
            "unlabelled": self.unlabelled,
            "images": [image.as_dict() for image in self.images],
        }


def audit(predictor: Predictor, dataset: Dataset, progress: Progress | None = None) -> AuditReport:
    """Rank the labelled images of a data set by how surely a model contradicts their mask.

    A model that learned from a mask may have learned its mistake: use one that did not.

    Args:
        predictor: whose word is taken.
        dataset: its labels carry the predictor's names, or no names of their own and the
            predictor's class numbers.
        progress: called with (images done, images) after each image.

    Raises:
        DatasetError: no labelled image, or labels that are not the predictor's.
        ImageError: an image or mask cannot be read.
        NonFiniteError: a prediction is not finite.
    """
    cases = tuple(dataset.labelled())
    if not cases:
        raise DatasetError(
            f"expected images with masks to look at, got {len(dataset)} images without; "
            "choose another split or add masks"
        )
    numbers = match_labels(predictor.labels, dataset.labels)
    found: dict[str, AuditedImage] = {}
    for done, case in enumerate(cases, start=1):
        prediction = predict_case(predictor, case)[0]
        given = read_reference(case, numbers)
        agreement = np.mean([dice(prediction.mask == c, given == c) for c in numbers.values() if c])
        against = judged(predictor, prediction, given)
        found[case.id] = AuditedImage(0, case.id, against.score, float(agreement), against.regions)
        if progress is not None:
            progress(done, len(cases))
    order = rank({name: image.score for name, image in found.items()})
    return AuditReport(
        images=tuple(replace(found[place.id], rank=place.rank) for place in order),
        unlabelled=len(dataset) - len(cases),
        labels=dict(predictor.labels),
        checkpoint_id=predictor.checkpoint_id,
    )


def judged(predictor: Predictor, prediction: Prediction, given: LabelMap) -> Contradiction:
    """Return how far a prediction contradicts a mask in the predictor's class numbers.

    Where the epistemic map is above the checkpoint's upper band, nothing counts; a checkpoint
    without calibration has no band.
    """
    _, highest = predictor.checkpoint.calibration.bands.get("epistemic", (math.inf, math.inf))
    return contradiction(given, prediction.probabilities, prediction.epistemic, highest)
