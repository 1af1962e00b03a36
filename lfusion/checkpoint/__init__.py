"""Everything a prediction needs, in one safetensors file."""

from lfusion.checkpoint.checkpoint import (
    Checkpoint,
    Fingerprint,
    default_checkpoint_path,
    head_weight,
    round_to_storage,
)
from lfusion.checkpoint.reference import Reference
from lfusion.checkpoint.structures import with_structures

__all__ = [
    "Checkpoint",
    "Fingerprint",
    "Reference",
    "default_checkpoint_path",
    "head_weight",
    "round_to_storage",
    "with_structures",
]
