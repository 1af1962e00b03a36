"""What is unusual about an image, where, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from lfusion.protocol import Abnormality, RegionKind, UnusualRegion
from lfusion.types import FloatMap
from lfusion.uncertainty import Calibration
from lfusion.uncertainty.calibration import FALSE_ALARM_RATE
from lfusion.uncertainty.normative import DENSITY

ABNORMALITY = "abnormality"
"""Image score: the largest of the standardised signals."""

MAP_KINDS: Mapping[str, RegionKind] = {
    "unfamiliarity": "unfamiliar",
    "epistemic": "unlearned",
    "aleatoric": "ambiguous",
}
"""Map → kind of the regions where it is high."""

MAX_REGIONS = 12
_NAMES = {
    DENSITY: "it is unlike the images the model knows",
    "shadow": "as with an acoustic shadow",
    "gain": "as with a wrong gain or depth compensation",
    "reverberation": "as with reverberation",
    "speckle": "as with unusually strong speckle",
    "lesion": "as with a mass or a foreign structure",
}


def region_score_name(name: str) -> str:
    """Return the name of the score of the strongest region of a map."""
    return f"{name}_region"


def abnormality_score(signals: Mapping[str, float], calibration: Calibration) -> float | None:
    """Return by how many standard deviations the most unusual signal is high.

    Source:
        The smallest of several p-values (L. H. C. Tippett, The Methods of Statistics, 1931) in
        standard deviations; the p-value of the result is conformal, so it needs no correction.

    Returns:
        None without signals or when one of them was not calibrated.
    """
    if not signals or not all(name in calibration.reference for name in signals):
        return None
    return max(calibration.standardised(name, value) for name, value in signals.items())


def judge(
    signals: Mapping[str, float],
    score: float,
    calibration: Calibration,
    false_alarm_rate: float = FALSE_ALARM_RATE,
) -> Abnormality:
    """Say how unusual an image is, and which signal says so.

    Args:
        signals: of the image, all calibrated.
        score: their `abnormality_score`, calibrated too.
        calibration: of the checkpoint.
        false_alarm_rate: share of normal images to call unusual.
    """
    p_values = {name: calibration.p_value(name, value) for name, value in signals.items()}
    p_value = calibration.p_value(ABNORMALITY, score)
    unusual = p_value <= false_alarm_rate
    strongest = max(signals, key=lambda name: calibration.standardised(name, signals[name]))
    share = f"at most {100 * p_value:.0f} % of normal images look as unusual"
    reason = _NAMES.get(strongest, strongest)
    sentence = f"Unusual, {reason}; {share}." if unusual else f"Nothing unusual: {share}."
    return Abnormality(
        p_value=p_value,
        false_alarm_rate=false_alarm_rate,
        unusual=unusual,
        p_values=p_values,
        sentence=sentence,
    )


def strongest_region(values: FloatMap, threshold: float) -> float:
    """Return the largest sum of a map over a connected region above a threshold, per pixel."""
    _, shares, _ = _summed(values, threshold)
    return float(shares.max(initial=0.0))


def unusual_regions(
    maps: Mapping[str, NDArray[np.float32]], calibration: Calibration, shape: tuple[int, int]
) -> tuple[UnusualRegion, ...]:
    """Return the connected regions of each map above its upper band.

    Args:
        maps: by name, each on any grid; those not in `MAP_KINDS` and those without calibrated
            bands and region scores are left out.
        calibration: of the checkpoint.
        shape: of the image in pixels.

    Returns:
        At most `MAX_REGIONS`, the least probable in normal images first.
    """
    found = []
    for name, kind in MAP_KINDS.items():
        known = name in calibration.bands and region_score_name(name) in calibration.reference
        if known and name in maps:
            found += _regions(maps[name], kind, calibration, name, shape)
    found.sort(key=lambda region: (region.p_value, -region.score))
    return tuple(found[:MAX_REGIONS])


def _regions(
    values: FloatMap,
    kind: RegionKind,
    calibration: Calibration,
    name: str,
    shape: tuple[int, int],
) -> list[UnusualRegion]:
    regions, shares, cells = _summed(values, calibration.bands[name][1])
    pixels = shape[0] * shape[1]
    scale = np.array(shape) / values.shape
    found = []
    for box, share, size in zip(find_objects(regions), shares, cells, strict=True):
        low = np.floor([box[0].start, box[1].start] * scale).astype(int)
        high = np.ceil([box[0].stop, box[1].stop] * scale).astype(int)
        found.append(
            UnusualRegion(
                kind=kind,
                box=(int(low[0]), int(low[1]), int(high[0]), int(high[1])),
                area_px=round(float(size) * pixels / values.size),
                score=float(share) * pixels,
                p_value=calibration.p_value(region_score_name(name), float(share)),
            )
        )
    return found


def _summed(
    values: FloatMap, threshold: float
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.intp]]:
    """Return regions above a threshold, the share of each in the map's mean, and their cells."""
    regions, _ = label(values > threshold)
    numbers = regions.ravel()
    shares = np.bincount(numbers, values.ravel())[1:] / values.size
    return regions, shares, np.bincount(numbers)[1:]
