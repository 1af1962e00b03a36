"""What a layer is for, told by its metadata and never by its name, which people change."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Layer

KEY = "lfusion"
"""Key of `layer.metadata` under which everything of ours is kept."""


class Role(StrEnum):
    """What a layer of a case is for, from the bottom of the layer list to the top."""

    IMAGE = "image"
    TOTAL = "total"
    ALEATORIC = "aleatoric"
    EPISTEMIC = "epistemic"
    PROPOSAL = "proposal"
    ALTERNATIVE = "alternative"
    MEASUREMENT = "measurement"
    REGION = "region"
    MASK = "mask"
    CLICKS = "clicks"


MAPS = (Role.EPISTEMIC, Role.ALEATORIC, Role.TOTAL)
"""The uncertainty maps; one of them is visible at a time."""


def mark(layer: Layer, role: Role, case: str, model_version: str) -> None:
    """Write into a layer what it is for.

    Args:
        layer: The layer.
        role: Its role.
        case: Id of the image that it shows.
        model_version: Checkpoint that the content comes from; empty without one.
    """
    layer.metadata = {
        **layer.metadata,
        KEY: {"role": role.value, "case": case, "model_version": model_version},
    }
