"""A predictor against the labelled images of a data set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from lfusion.errors import DatasetError, LFusionError
from lfusion.evaluation.metrics import (
    Reliability,
    brier_score,
    dice,
    expected_calibration_error,
    hausdorff95_px,
    negative_log_likelihood,
    normalised_surface_dice,
)
from lfusion.evaluation.report import EvaluationReport, ImageResult
from lfusion.image import Case, Dataset, UltrasoundImage
from lfusion.types import LabelMap

if TYPE_CHECKING:
    from lfusion.predictor import Prediction, Predictor

HC_COLUMN = "hc_mm"
"""Column of meta.csv with the sonographer's head circumference."""


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    progress: Callable[[int, int], None] | None = None,
) -> EvaluationReport:
    """Measure a predictor on every labelled image of a data set.

    Args:
        predictor: what to measure.
        dataset: its labels carry the predictor's names, or no names of their own and the
            predictor's class numbers.
        progress: called with (images done, images) after each image.

    Raises:
        DatasetError: no labelled image, or labels that are not the predictor's.
        ImageError: an image or mask cannot be read; a report never leaves images out.
        NonFiniteError: a prediction is not finite.
    """
    cases = tuple(dataset.labelled())
    if not cases:
        raise DatasetError(
            f"expected images with masks to evaluate on, got {len(dataset)} images without; "
            "choose another split or add masks"
        )
    numbers = match_labels(predictor.labels, dataset.labels)
    results, reliability = [], None
    for done, case in enumerate(cases, start=1):
        prediction, seconds = predict_case(predictor, case)
        reference = _reference(case, numbers)
        results.append(_measure(case, prediction, reference, seconds))
        own = Reliability.of(prediction.probabilities, reference)
        reliability = own if reliability is None else reliability + own
        if progress is not None:
            progress(done, len(cases))
    assert reliability is not None
    return EvaluationReport(
        images=tuple(results),
        ece=expected_calibration_error(reliability),
        unlabelled=len(dataset) - len(cases),
        labels=dict(predictor.labels),
        checkpoint_id=predictor.checkpoint_id,
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


def _reference(case: Case, numbers: Mapping[int, int]) -> LabelMap:
    """The mask of a case in the predictor's class numbers."""
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
    classes = list(prediction.labels.values())
    pairs = [(prediction.mask == c, reference == c) for c in classes]
    biometry = prediction.biometry
    return ImageResult(
        id=case.id,
        dice=float(np.mean([dice(p, r) for p, r in pairs])),
        hd95_px=float(np.mean([hausdorff95_px(p, r) for p, r in pairs])),
        nsd=float(np.mean([normalised_surface_dice(p, r) for p, r in pairs])),
        nll=negative_log_likelihood(prediction.probabilities, reference),
        brier=brier_score(prediction.probabilities, reference),
        hc_mm=None if biometry is None else biometry.hc_mm,
        hc_reference_mm=None if biometry is None else _reference_hc(case),
        hc_refusal=None if biometry is None else biometry.refusal,
        seconds=seconds,
        scores=dict(prediction.scores),
    )


def _reference_hc(case: Case) -> float | None:
    """The sonographer's HC in mm; None when the data set gives none for this image."""
    text = case.meta.get(HC_COLUMN, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise DatasetError(f"image {case.id}: expected a positive {HC_COLUMN}, got {text!r}")
    return value
