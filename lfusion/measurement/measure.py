"""The one door: probabilities and their Gaussian in, measurements with their spread out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from lfusion.biometry.angle import SQUARE, Pelvis, angle_of, angle_sensitivity, trace_pelvis
from lfusion.biometry.head import HEAD_MEASUREMENTS, MAX_RESIDUAL, head_of, head_sensitivity
from lfusion.biometry.outline import Outline, trace_outline
from lfusion.biometry.sensitivity import Sensitivity
from lfusion.measurement.displacement import displacement_weights
from lfusion.measurement.quantities import Area, Measurement
from lfusion.model.distribution import LogitDistribution
from lfusion.types import PixelSize, Probabilities
from lfusion.uncertainty.covariance import Covariance
from lfusion.uncertainty.intervals import area_weights, linear_variance

HEAD = "fetal head"
"""The structure that HC, BPD and OFD are measured on."""
SYMPHYSIS = "pubic symphysis"
"""With the head, what the angle of progression is measured on."""


def measure(
    probabilities: Probabilities,
    labels: Mapping[str, int],
    pixel_size_mm: PixelSize | None,
    logits: LogitDistribution,
    features: Tensor,
    covariance: Covariance,
    note: str | None = None,
) -> Measurement:
    """Measure everything that the labels allow, with the spread of each quantity.

    Args:
        probabilities: predicted, in native pixels.
        labels: name → class number.
        pixel_size_mm: (row, column), or None when unknown.
        logits: of this image, that the probabilities came from.
        features: φ [1, dim, height, width] that the mean logits were made from.
        covariance: of the head's weights, in the dtype and on the device of `features`.
        note: reason why there is no pixel size, where one is known.

    Returns:
        The measurement without intervals; `with_intervals` adds them.
    """
    maps = {name: probabilities[number] for name, number in labels.items()}
    head, pelvis = _traced(maps)
    found = _measurement(maps, pixel_size_mm, head, pelvis, note)
    rows, columns = probabilities.shape[1:]
    mean = logits.mean[0]
    cell_px = rows * columns / mean[0].numel()
    areas = cell_px * area_weights(mean)
    weights = {f"area {name}": areas[number] for name, number in labels.items()}
    unit = pixel_size_mm or SQUARE

    def along(sensitivity: Sensitivity, name: str) -> Tensor:
        return displacement_weights(sensitivity, mean, labels[name], (rows, columns))

    if isinstance(head, Outline):
        lengths = along(head_sensitivity(head, unit), HEAD)
        weights |= dict(zip(HEAD_MEASUREMENTS, lengths, strict=True))
    if found.angle is not None and found.angle.aop_deg is not None:
        assert pelvis is not None
        assert isinstance(pelvis.symphysis, Outline)
        assert isinstance(pelvis.head, Outline)
        bone, skull = angle_sensitivity(pelvis.symphysis, pelvis.head, unit)
        weights["aop"] = (along(bone, SYMPHYSIS) + along(skull, HEAD))[0]
    spread = linear_variance(torch.stack(list(weights.values())), logits, features, covariance)
    deviations = dict(zip(weights, spread.total.sqrt().tolist(), strict=True))
    return Measurement(found.head, found.angle, found.areas, deviations)


def measure_maps(maps: Mapping[str, NDArray[Any]], pixel_size_mm: PixelSize | None) -> Measurement:
    """Measure what was drawn or predicted, without any spread.

    Args:
        maps: label name → mask (bool) or probability [height, width], in native pixels.
        pixel_size_mm: (row, column), or None when unknown.
    """
    return _measurement(maps, pixel_size_mm, *_traced(maps))


def _traced(maps: Mapping[str, NDArray[Any]]) -> tuple[Outline | str | None, Pelvis | None]:
    """Trace what the labels allow; None where they do not."""
    if HEAD not in maps:
        return None, None
    head = trace_outline(maps[HEAD], "head", MAX_RESIDUAL)
    return head, trace_pelvis(maps[SYMPHYSIS], maps[HEAD]) if SYMPHYSIS in maps else None


def _measurement(
    maps: Mapping[str, NDArray[Any]],
    pixel_size_mm: PixelSize | None,
    head: Outline | str | None,
    pelvis: Pelvis | None,
    note: str | None = None,
) -> Measurement:
    return Measurement(
        head=None if head is None else head_of(head, pixel_size_mm, note),
        angle=None if pelvis is None else angle_of(pelvis, pixel_size_mm),
        areas={name: _area(values, pixel_size_mm) for name, values in maps.items()},
    )


def _area(values: NDArray[Any], pixel_size_mm: PixelSize | None) -> Area:
    area_px = float(values.sum(dtype=float))
    if pixel_size_mm is None:
        return Area(area_px)
    return Area(area_px, area_px * pixel_size_mm[0] * pixel_size_mm[1])
