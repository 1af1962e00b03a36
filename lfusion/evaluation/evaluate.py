"""A predictor against the labelled images of a data set."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypedDict

import numpy as np

from lfusion.errors import DatasetError, LFusionError
from lfusion.evaluation.metrics import (
    Reliability,
    SurfaceDistances,
    brier_score,
    dice,
    negative_log_likelihood,
)
from lfusion.evaluation.results import EvaluationReport, ForeignSet, ImageResult, ScoredImage
from lfusion.image import Case, Dataset, UltrasoundImage
from lfusion.measurement import measure_maps, reference_hc
from lfusion.types import BoolMap, LabelMap, PixelSize

if TYPE_CHECKING:
    from lfusion.predictor import Prediction, Predictor

NSD_TOLERANCE_PX = 2.0
"""About the width of an annotator's line in HC18."""
NSD_TOLERANCE_MM = 1.0

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (images done, images)."""


class BoundaryFigures(TypedDict):
    """The part of an `ImageResult` that tells how far the boundaries are apart."""

    hd95_px: float
    hd95_mm: float | None
    nsd: float
    nsd_mm: float | None


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    progress: Progress | None = None,
    *,
    foreign: Mapping[str, Dataset] | None = None,
) -> EvaluationReport:
    """Measure a predictor on every labelled image of a data set.

    One image at a time: what is kept of each is a row of figures, a few kilobytes.

    Args:
        predictor: what to measure.
        dataset: its labels carry the predictor's names, or no names of their own and the
            predictor's class numbers.
        progress: called with (images done, images) after each image; an exception that it
            raises stops the evaluation.
        foreign: images out of distribution by name; they are scored, their masks not looked at.

    Raises:
        DatasetError: no labelled image, a foreign set without images, or labels that are not
            the predictor's.
        ImageError: an image or mask cannot be read; a report never leaves images out.
        NonFiniteError: a prediction is not finite.
    """
    cases, others = tuple(dataset.labelled()), foreign or {}
    _require_images(dataset, len(cases), others)
    numbers = match_labels(predictor.labels, dataset.labels)
    total = len(cases) + sum(map(len, others.values()))
    results, reliability, sets = [], [], []
    report_progress = _Counter(total, progress)
    for case in cases:
        prediction, seconds = predict_case(predictor, case)
        reference = read_reference(case, numbers)
        results.append(_measure(case, prediction, reference, seconds))
        reliability.append(Reliability.of(prediction.probabilities, reference))
        report_progress()
    for name, part in others.items():
        scored = []
        for case in part:
            scores = predict_case(predictor, case)[0].scores
            scored.append(ScoredImage(case.id, case.group, dict(scores)))
            report_progress()
        sets.append(ForeignSet(name, tuple(scored)))
    return EvaluationReport(
        images=tuple(results),
        reliability=Reliability.stack(reliability),
        unlabelled=len(dataset) - len(cases),
        labels=dict(predictor.labels),
        checkpoint_id=predictor.checkpoint_id,
        foreign=tuple(sets),
    )


def predict_case(predictor: Predictor, case: Case) -> tuple[Prediction, float]:
    """Predict one image of a data set.

    Returns:
        The prediction and the seconds it took, reading the file not counted.

    Raises:
        LFusionError: of the type that reading or predicting raised; the message names the image.
    """
    try:
        image: UltrasoundImage = case.read()
        start = time.perf_counter()
        return predictor(image), time.perf_counter() - start
    except LFusionError as error:
        raise type(error)(f"image {case.id}: {error}") from error


def match_labels(predicted: Mapping[str, int], reference: Mapping[str, int]) -> dict[int, int]:
    """Return class number in the masks → class number of the predictor, background included.

    Names decide. Masks without the predictor's names are matched by number, as long as the
    numbers are the same and no name stands for two of them.

    Args:
        predicted: the predictor's labels.
        reference: the data set's labels.

    Raises:
        DatasetError: the two do not describe the same structures.

    Example:
        >>> match_labels({"head": 1, "bone": 2}, {"bone": 1, "head": 2})
        {0: 0, 2: 1, 1: 2}
        >>> match_labels({"head": 1}, {"class 1": 1})
        {0: 0, 1: 1}
    """
    if set(predicted) == set(reference):
        return {0: 0} | {reference[name]: number for name, number in predicted.items()}
    shared = set(predicted) & set(reference)
    same_numbers = set(predicted.values()) == set(reference.values())
    if same_numbers and all(predicted[name] == reference[name] for name in shared):
        return {0: 0} | {number: number for number in predicted.values()}
    raise DatasetError(
        f"expected masks of the model's structures {dict(predicted)}, got {dict(reference)}; "
        "name the classes of the masks in labels.json or choose another checkpoint"
    )


def read_reference(case: Case, numbers: Mapping[int, int]) -> LabelMap:
    """Read the mask of a case in the predictor's class numbers.

    Args:
        case: one with a mask.
        numbers: from `match_labels`.

    Raises:
        ImageError: the mask cannot be read.
        DatasetError: it does not fit its image, or holds a class that has no number.
    """
    mask = case.read_mask()
    unknown = sorted(set(np.unique(mask).tolist()) - set(numbers))
    if unknown:
        raise DatasetError(
            f"image {case.id}: expected mask classes {sorted(numbers)}, got also {unknown}; "
            "correct the mask or labels.json"
        )
    table = np.zeros(256, np.uint8)
    for own, number in numbers.items():
        table[own] = number
    return np.asarray(table[mask])


def _measure(
    case: Case, prediction: Prediction, reference: LabelMap, seconds: float
) -> ImageResult:
    pairs = [(prediction.mask == c, reference == c) for c in prediction.labels.values()]
    biometry, angle = prediction.biometry, prediction.angle
    return ImageResult(
        id=case.id,
        group=case.group,
        scores=dict(prediction.scores),
        dice=float(np.mean([dice(p, r) for p, r in pairs])),
        **_boundary_figures(pairs, prediction.pixel_size_mm),
        nll=negative_log_likelihood(prediction.probabilities, reference),
        brier=brier_score(prediction.probabilities, reference),
        hc_mm=None if biometry is None else biometry.hc_mm,
        hc_reference_mm=None if biometry is None else reference_hc(case),
        hc_refusal=None if biometry is None else biometry.refusal,
        seconds=seconds,
        hc_interval_mm=None if biometry is None else biometry.hc_mm_interval,
        interval_level=None if biometry is None else biometry.interval_level,
        aop_deg=None if angle is None else angle.aop_deg,
        aop_reference_deg=None if angle is None else _reference_angle(prediction, reference),
    )


def _reference_angle(prediction: Prediction, reference: LabelMap) -> float | None:
    """The angle of progression of the reference; no data set gives it as a number."""
    maps = {name: reference == number for name, number in prediction.labels.items()}
    angle = measure_maps(maps, prediction.pixel_size_mm).angle
    return None if angle is None else angle.aop_deg


def _boundary_figures(
    pairs: Sequence[tuple[BoolMap, BoolMap]], pixel_size_mm: PixelSize | None
) -> BoundaryFigures:
    """Hausdorff distance and surface Dice in pixels and, where their size is known, in mm."""
    px = [SurfaceDistances.of(p, r) for p, r in pairs]
    mm = [] if pixel_size_mm is None else [SurfaceDistances.of(*m, pixel_size_mm) for m in pairs]
    return {
        "hd95_px": float(np.mean([d.hausdorff95() for d in px])),
        "nsd": float(np.mean([d.surface_dice(NSD_TOLERANCE_PX) for d in px])),
        "hd95_mm": float(np.mean([d.hausdorff95() for d in mm])) if mm else None,
        "nsd_mm": float(np.mean([d.surface_dice(NSD_TOLERANCE_MM) for d in mm])) if mm else None,
    }


def _require_images(dataset: Dataset, labelled: int, foreign: Mapping[str, Dataset]) -> None:
    if not labelled:
        raise DatasetError(
            f"expected images with masks to evaluate on, got {len(dataset)} images without; "
            "choose another split or add masks"
        )
    for name, part in foreign.items():
        if not len(part):
            raise DatasetError(f"expected images out of distribution in {name}, got none")


class _Counter:
    """Counts steps and tells each of them."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress

    def __call__(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)
