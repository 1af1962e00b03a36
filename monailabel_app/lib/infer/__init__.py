"""The infer models: a prediction, a correction by clicks, another mask, bands of uncertainty."""

from __future__ import annotations

from monailabel_app.lib.infer.bands import BandsInfer
from monailabel_app.lib.infer.interactive import CounterfactualInfer, InteractiveInfer
from monailabel_app.lib.infer.segmentation import UncertaintyInfer

__all__ = ["BandsInfer", "CounterfactualInfer", "InteractiveInfer", "UncertaintyInfer"]
