"""Where a model contradicts a mask and is sure of it.

With ŷ the model's class of a pixel, y that of the mask and p the calibrated predictive, a pixel
contradicts the mask by the logarithm of the odds, ln p(ŷ) − ln p(y): little where it is not sure.
Where its epistemic uncertainty is unusual nothing counts. Summed, per pixel of the structures, it
is the score of an image: no unit of length is in it, so large and small images and structures
compare. Regions are where the odds are high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label, regionprops

from lfusion.types import BoolMap, FloatMap, LabelMap, Probabilities

ODDS = 4.0
"""From what the model gives for its class against the mask's on, a pixel is in a region: 80 to 20.
The score has no such step: it would be 0 for a model that is seldom sure (docs/evidence/audit.md).
"""

DOUBT = 0.01
"""Share of a uniform guess that is mixed into the predictive, so that no pixel counts without end:
of two classes at most ln 199 = 5.3 nats."""

SPECK = 1e-3
"""Regions of a smaller share of the structures' pixels are not listed: a pixel here and there."""

Kind: TypeAlias = Literal["missing", "extra", "swapped"]
"""The mask lacks a structure here, has one too many, or has another one."""


@dataclass(frozen=True)
class DoubtedRegion:
    """A connected region that the model would draw otherwise, and is sure of.

    Attributes:
        kind: what is wrong with the mask, if the model is right.
        given: class number in the mask.
        model: class number of the model.
        box: first row, first column, last row, last column, the last ones excluded.
        area_px: its pixels.
        confidence: mean probability of the model's class, in [0, 1].
        nats: sum of the log odds over its pixels.
    """

    kind: Kind
    given: int
    model: int
    box: tuple[int, int, int, int]
    area_px: int
    confidence: float
    nats: float

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready copy."""
        return asdict(self) | {"box": list(self.box)}

    def in_words(self, labels: Mapping[str, int]) -> str:
        """Return what is wrong here, if the model is right.

        Args:
            labels: name → class number, the model's.
        """
        names = {number: name for name, number in labels.items()}
        what = {
            "missing": f"{names.get(self.model)} missing",
            "extra": f"{names.get(self.given)} too much",
            "swapped": f"{names.get(self.given)} where the model sees {names.get(self.model)}",
        }[self.kind]
        return f"{what}, {self.area_px} px, {100 * self.confidence:.1f} % sure"


@dataclass(frozen=True, eq=False)
class Contradiction:
    """How far a model contradicts one mask.

    Attributes:
        score: nats per pixel of the structures in either mask; 0 when both are empty.
        where: [H, W], the pixels of regions and specks.
        regions: connected ones of one kind without specks, the most nats first.
    """

    score: float
    where: BoolMap
    regions: tuple[DoubtedRegion, ...]


def contradiction(
    given: LabelMap,
    probabilities: Probabilities,
    epistemic: FloatMap,
    highest_epistemic: float = math.inf,
) -> Contradiction:
    """Compare a mask with the predictive of a model.

    Args:
        given: [H, W], the mask in the model's class numbers.
        probabilities: [C, H, W], the calibrated predictive.
        epistemic: [H, W], nats.
        highest_epistemic: pixels above it do not count: there the model knows that it does not
            know.

    Source:
        Our own derivation. That a label which a model finds improbable is probably wrong is the
        premise of confident learning: Northcutt et al., J. Artif. Intell. Res. 70 (2021) 1373,
        doi:10.1613/jair.1.12125.

    Example:
        One of three head pixels is missing in the mask, at the highest odds there are.

        >>> head = np.array([[1, 1, 1, 0]], np.float32)
        >>> found = contradiction(
        ...     np.array([[1, 1, 0, 0]], np.uint8), np.stack([1 - head, head]), 0 * head
        ... )
        >>> round(found.score, 3) == round(math.log(199) / 3, 3), found.regions[0].kind
        (True, 'missing')
    """
    model = probabilities.argmax(0).astype(np.uint8)
    nats = log_odds(given, model, probabilities)
    nats[epistemic > highest_epistemic] = 0.0
    where = nats >= math.log(ODDS)
    structures = int(((given > 0) | (model > 0)).sum())
    return Contradiction(
        score=float(nats.sum(dtype=np.float64)) / max(structures, 1),
        where=where,
        regions=_regions(where, given, model, probabilities.max(0), nats, SPECK * structures),
    )


def log_odds(
    given: LabelMap, model: LabelMap, probabilities: Probabilities
) -> NDArray[np.floating[Any]]:
    """Return ln p(model's class) − ln p(mask's class) of each pixel [H, W], nats.

    Both probabilities are mixed with a uniform guess of weight `DOUBT`.
    """
    share = DOUBT / len(probabilities)
    own, other = (
        np.log(np.take_along_axis(probabilities, classes[None], 0)[0] * (1 - DOUBT) + share)
        for classes in (model, given)
    )
    found: NDArray[np.floating[Any]] = own - other
    return found


def _regions(
    where: BoolMap,
    given: LabelMap,
    model: LabelMap,
    confidence: FloatMap,
    nats: NDArray[np.floating[Any]],
    smallest_px: float,
) -> tuple[DoubtedRegion, ...]:
    """Return the regions of one class in the mask and one of the model."""
    pairs = np.where(where, 1 + 256 * given.astype(np.int32) + model, 0)
    numbers = label(pairs, background=0, connectivity=2)  # type: ignore[no-untyped-call]
    found = []
    values = np.stack([confidence, nats], axis=-1)
    for region in regionprops(numbers, values):  # type: ignore[no-untyped-call]
        area = int(region.area)
        if area < smallest_px:
            continue
        row, column = region.coords[0]
        own, other = int(model[row, column]), int(given[row, column])
        top, left, bottom, right = map(int, region.bbox)
        mean_confidence, mean_nats = map(float, region.intensity_mean)
        box = (top, left, bottom, right)
        kind = _kind(other, own)
        found.append(DoubtedRegion(kind, other, own, box, area, mean_confidence, mean_nats * area))
    return tuple(sorted(found, key=lambda region: (-region.nats, region.box)))


def _kind(given: int, model: int) -> Kind:
    if given == 0:
        return "missing"
    return "extra" if model == 0 else "swapped"
