"""Fetal-ultrasound segmentation that says where it is unsure, and why.

`lfusion.load()` gives a predictor. Nothing heavy is imported before it is needed, so that the
torch-free parts work in an installation without torch.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lfusion.predictor import Prediction, Predictor, load

__version__ = version("lfusion")
__all__ = ["Prediction", "Predictor", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lfusion import predictor

        return getattr(predictor, name)
    raise AttributeError(f"module 'lfusion' has no attribute {name!r}")
