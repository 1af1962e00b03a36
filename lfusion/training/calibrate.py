"""What is usual, learned from held-out images: the last step of a training, or one of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfusion.checkpoint import Checkpoint
from lfusion.image import Case, UltrasoundImage
from lfusion.measurement import Measurement, measure_maps, reference_hc, standardised_errors
from lfusion.predictor import LogitMoments, Predictor
from lfusion.predictor.steps import (
    QUALITY_SCORES,
    GridMaps,
    calibrated_scores,
    native_probabilities,
    plain_scores,
    signals_of,
    uncertainty_maps,
    unfamiliarity_map,
)
from lfusion.training.config import TrainingProgress
from lfusion.training.data import ellipse_mask, load_sample, to_grid, with_background
from lfusion.training.fit import OnProgress
from lfusion.training.losses import soft_cross_entropy
from lfusion.types import LabelMap
from lfusion.uncertainty.calibration import BANDS, Calibration, fit_temperature, reference_scores
from lfusion.uncertainty.quality import MIN_IMAGES, fit_quality


@dataclass(frozen=True, eq=False)
class _Look:
    """One image as the model saw it before calibration.

    Attributes:
        moments: of the logits.
        target: class shares on the feature grid.
        unfamiliarity: map of the frozen encoder by name, if any.
        signals: of the frozen encoder.
        dice: mean over the foreground classes, in native pixels.
        errors: quantity → |value − truth| / σ.
    """

    moments: LogitMoments
    target: Tensor
    unfamiliarity: GridMaps
    signals: Mapping[str, float]
    dice: float
    errors: Mapping[str, float]


def calibrate(
    checkpoint: Checkpoint,
    cases: Sequence[Case],
    report: OnProgress,
    *,
    held_out: bool = True,
    device: str | torch.device = "auto",
) -> Checkpoint:
    """Return the checkpoint with everything refitted that says what is usual.

    Args:
        checkpoint: to calibrate.
        cases: labelled images of the kind that is normal; in memory as logits, 0.4 MB an image.
        report: called after each image.
        held_out: whether the checkpoint has never learned from these images. From those that it
            has, only ranges of scores are taken: temperature, expected quality and intervals
            would be too good to be true.
        device: a torch device, or "auto".

    Raises:
        DatasetError: a circumference in `meta.csv` is no positive number.
    """
    predictor = Predictor(checkpoint, device)
    looks = []
    for step, case in enumerate(cases, start=1):
        looks.append(_look(predictor, case))
        report(TrainingProgress("calibration", step, len(cases)))
    old = checkpoint.calibration
    calibration = Calibration(
        temperature=_temperature(looks) if held_out else old.temperature,
        errors=_errors(looks) if held_out else old.errors,
        quality=None if held_out else old.quality,
    )
    terms = [look.moments.decompose(calibration.temperature) for look in looks]
    maps = [
        {**uncertainty_maps(term), **look.unfamiliarity}
        for term, look in zip(terms, looks, strict=True)
    ]
    plain = [plain_scores(own, term) for own, term in zip(maps, terms, strict=True)]
    if held_out and len(looks) >= MIN_IMAGES:
        quality = fit_quality(plain, [look.dice for look in looks], QUALITY_SCORES)
        calibration = replace(calibration, quality=quality)
    known = [{**own, **look.signals} for own, look in zip(plain, looks, strict=True)]
    calibration = replace(calibration, bands=_bands(maps), reference=reference_scores(known))
    derived = [
        calibrated_scores(own, scores, look.signals, calibration)
        for own, scores, look in zip(maps, plain, looks, strict=True)
    ]
    reference = {**calibration.reference, **reference_scores(derived)}
    return replace(checkpoint, calibration=replace(calibration, reference=reference))


def _look(predictor: Predictor, case: Case) -> _Look:
    checkpoint, image = predictor.checkpoint, case.read()
    network = checkpoint.network
    seen = predictor.fields(image)
    moments = predictor.moments_of(seen)
    sample = load_sample(case, checkpoint.input, network.stride, network.config.classes)
    rows, columns = image.pixels.shape
    terms = moments.decompose(checkpoint.calibration.temperature)
    probabilities = native_probabilities(terms, (rows, columns))
    truth = case.read_mask()
    measured = predictor.measured(seen, probabilities, image.calibration(truth))
    return _Look(
        moments=moments,
        target=with_background(to_grid(sample.target[None], network.stride)).to(predictor.device),
        unfamiliarity=unfamiliarity_map(seen, checkpoint.reference),
        signals=signals_of(seen, checkpoint.reference),
        dice=_dice(probabilities.argmax(0), truth, predictor.labels),
        errors=standardised_errors(measured, _true(case, image, truth, predictor.labels)),
    )


def _dice(mask: NDArray[np.int64], truth: LabelMap, labels: Mapping[str, int]) -> float:
    """Return the mean Dice coefficient; a class that neither mask holds is left out."""
    values = []
    for number in labels.values():
        found, wanted = mask == number, truth == number
        size = int(found.sum()) + int(wanted.sum())
        if size:
            values.append(2 * int((found & wanted).sum()) / size)
    return float(np.mean(values)) if values else 1.0


def _true(
    case: Case, image: UltrasoundImage, mask: LabelMap, labels: Mapping[str, int]
) -> Measurement:
    """Return what the sonographer measured where the table has it, else the outline's."""
    drawn = ellipse_mask(case, *mask.shape) if len(labels) == 1 else None
    outline = mask if drawn is None else drawn
    truth = measure_maps(
        {name: outline == number for name, number in labels.items()},
        image.calibration(mask).pixel_size_mm,
    )
    written = reference_hc(case)
    if written is not None and truth.head is not None and truth.head.hc_mm is not None:
        truth = replace(truth, head=replace(truth.head, hc_mm=written))
    return truth


def _errors(looks: Sequence[_Look]) -> dict[str, NDArray[np.float64]]:
    names = {name for look in looks for name in look.errors}
    return {
        name: np.sort([look.errors[name] for look in looks if name in look.errors])
        for name in sorted(names)
    }


def _temperature(looks: Sequence[_Look]) -> float:
    def negative_log_likelihood(temperature: float) -> float:
        losses = [
            float(
                soft_cross_entropy(look.moments.decompose(temperature).probabilities, look.target)
            )
            for look in looks
        ]
        return sum(losses) / len(losses)

    return fit_temperature(negative_log_likelihood)


def _bands(maps: Sequence[GridMaps]) -> dict[str, tuple[float, float]]:
    """Return the `BANDS` quantiles of each map over the pixels of all images."""
    names = maps[0] if maps else ()
    pixels = {name: np.concatenate([own[name].ravel() for own in maps]) for name in names}
    return {name: tuple(np.quantile(values, BANDS).tolist()) for name, values in pixels.items()}
