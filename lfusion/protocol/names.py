"""The names that both ends agree on."""

from __future__ import annotations

MODEL_NAME = "lfusion"
"""Name of the infer model and of the trainer."""

INFO_KEY = "lfusion"
"""Key of a `StoredScore` in the info of an image."""

INTERACTIVE_MODEL = "lfusion_interactive"
"""Name of the infer model that follows clicks and scribbles."""

COUNTERFACTUAL_MODEL = "lfusion_counterfactual"
"""Name of the infer model that returns a sample or a step along a principal mode."""

BANDS_MODEL = "lfusion_uncertainty"
"""Name of the infer model whose labels are bands of uncertainty."""

MAP_TAGS = ("epistemic", "aleatoric", "total")
"""Datastore tags of the uncertainty maps; total = epistemic + aleatoric at each pixel."""


MAP_SUFFIX = ".nii"
"""Format of the maps: float32 NIfTI keeps the image's place in space and opens in 3D Slicer and
napari; compressing three maps would take longer (0.1 s for 800 x 540) than most predictions."""
