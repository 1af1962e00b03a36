"""From one forward pass to maps and scores; shared by prediction and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lfusion.acquisition import image_scores
from lfusion.checkpoint import Reference
from lfusion.model.input import resample
from lfusion.predictor.fields import Fields
from lfusion.predictor.unusual import (
    ABNORMALITY,
    MAP_KINDS,
    abnormality_score,
    region_score_name,
    strongest_region,
)
from lfusion.types import LabelMap, Probabilities
from lfusion.uncertainty import Calibration, Decomposition

GridMaps: TypeAlias = Mapping[str, NDArray[np.float32]]
"""Name → map on its own grid: epistemic, aleatoric and total in nats on the feature grid, and
unfamiliarity on that of the frozen encoder."""

TERMS = ("epistemic", "aleatoric", "total")
EXPECTED_DICE_LOSS = "expected_dice_loss"
"""Image score: 1 − the Dice coefficient to expect, of a checkpoint calibrated for it."""

QUALITY_SCORES = (
    *(f"epistemic_{name}" for name in ("per_sqrt_area", "per_area", "patch_max")),
    *(f"aleatoric_{name}" for name in ("per_sqrt_area", "per_area", "patch_max")),
    "soft_dice_loss",
    "shape_misfit",
)
"""Image scores that the expected Dice coefficient is computed from."""


def uncertainty_maps(terms: Decomposition) -> dict[str, NDArray[np.float32]]:
    """Return epistemic, aleatoric and total uncertainty of one image on the CPU."""
    tensors = (terms.mutual_information, terms.expected_entropy, terms.predictive_entropy)
    return {name: values[0].cpu().numpy() for name, values in zip(TERMS, tensors, strict=True)}


def unfamiliarity_map(seen: Fields, reference: Reference | None) -> dict[str, NDArray[np.float32]]:
    """Return the map of the frozen encoder under its name; none without one."""
    if reference is None or seen.appearance is None:
        return {}
    found = reference.normative.unfamiliarity(seen.appearance.patches.cpu())
    return {"unfamiliarity": (found * seen.appearance.sector.cpu()).float().numpy()}


def signals_of(seen: Fields, reference: Reference | None) -> dict[str, float]:
    """Return the signals of an image; none without a frozen encoder."""
    if reference is None or seen.appearance is None:
        return {}
    return reference.normative.signals(seen.appearance.statistics.cpu())


def plain_scores(maps: GridMaps, terms: Decomposition) -> dict[str, float]:
    """Return the scores that need no calibration."""
    probabilities = terms.probabilities[0].cpu().numpy()
    mask = most_probable(probabilities)
    return image_scores({name: maps[name] for name in TERMS}, probabilities, mask)


def most_probable(probabilities: Probabilities) -> LabelMap:
    """Return the most probable class at each place, the lower number where two are equal."""
    if len(probabilities) == 2:  # one pass in place of argmax's slow one over a first axis
        foreground: LabelMap = np.greater(probabilities[1], probabilities[0]).astype(np.uint8)
        return foreground
    numbers: LabelMap = np.argmax(probabilities, 0).astype(np.uint8)
    return numbers


def calibrated_scores(
    maps: GridMaps,
    plain: Mapping[str, float],
    signals: Mapping[str, float],
    calibration: Calibration,
) -> dict[str, float]:
    """Return the scores that calibration made possible, those of the regions among them."""
    scores = {
        region_score_name(name): strongest_region(maps[name], calibration.bands[name][1])
        for name in MAP_KINDS
        if name in maps and name in calibration.bands
    }
    abnormality = abnormality_score(signals, calibration)
    if abnormality is not None:
        scores[ABNORMALITY] = abnormality
    if calibration.quality is not None:
        scores[EXPECTED_DICE_LOSS] = calibration.quality.expected_loss(plain)
    return scores


def native_probabilities(terms: Decomposition, shape: tuple[int, int]) -> Probabilities:
    """Return the probabilities in native pixels.

    They are resampled through their logarithm, in which a boundary is straight.
    """
    smallest = torch.finfo(terms.probabilities.dtype).tiny
    logs = resample(terms.probabilities.clamp_min(smallest).log(), shape)
    out: Probabilities = logs.softmax(1)[0].cpu().numpy()
    return out


def native_maps(maps: GridMaps, shape: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
    """Return all maps in native pixels; those of one grid are resampled together."""
    finest = [name for name in maps if maps[name].shape == maps["total"].shape]
    stacked = torch.from_numpy(np.stack([maps[name] for name in finest]))[None]
    native = resample(stacked, shape)[0].numpy()
    found: dict[str, NDArray[np.float32]] = dict(zip(finest, native, strict=True))
    for name in maps.keys() - found.keys():
        found[name] = resample(torch.from_numpy(maps[name])[None, None], shape)[0, 0].numpy()
    return found
