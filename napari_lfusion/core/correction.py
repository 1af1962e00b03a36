"""From the mask on screen to what is sent."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from lfusion.errors import ImageError
from lfusion.image import read_mask, write_mask
from lfusion.types import LabelMap
from napari_lfusion.core.case import Correction, OpenCase
from napari_lfusion.core.errors import RefusedError


def make_correction(case: OpenCase, mask: LabelMap, labels: Mapping[str, int]) -> Correction:
    """Write a mask as the server and others will read it.

    An image with a place in space gets a NIfTI file that lies on it, so that the label opens in
    3D Slicer where the image does; a picture gets a PNG.

    Args:
        case: That was corrected.
        mask: [height, width] class numbers.
        labels: Class number by name.

    Returns:
        The correction with a new idempotency key: make it once for each submission.

    Raises:
        ImageError: The mask does not fit the image.
    """
    suffix = ".nii.gz" if len(case.image.geometry.spacing) == 3 else ".png"
    with tempfile.TemporaryDirectory(prefix="lfusion-") as folder:
        file = Path(folder) / f"mask{suffix}"
        write_mask(file, mask, like=case.image)
        content = file.read_bytes()
    return Correction(
        image_id=case.offer.image_id,
        file_name=f"label{suffix}",
        content=content,
        idempotency_key=uuid.uuid4().hex,
        base_version=case.offer.base_version,
        checkpoint_id=case.proposal.checkpoint_id,
        label_names=_names_in_order(labels),
    )


def read_correction(correction: Correction) -> LabelMap:
    """The mask of a correction, as a server reads it.

    Raises:
        RefusedError: The file is no mask.
    """
    with tempfile.TemporaryDirectory(prefix="lfusion-") as folder:
        file = Path(folder) / correction.file_name
        file.write_bytes(correction.content)
        try:
            return read_mask(file)
        except ImageError as error:
            raise RefusedError(str(error)) from error


def _names_in_order(labels: Mapping[str, int]) -> tuple[str, ...]:
    """Names of the classes 1, 2, …; empty when a number is left out, as names go by order."""
    ordered = sorted(labels.items(), key=lambda item: item[1])
    whole = [number for _, number in ordered] == list(range(1, len(ordered) + 1))
    return tuple(name for name, _ in ordered) if whole else ()
