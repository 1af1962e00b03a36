"""The infer model `lfusion_uncertainty`: where to look, as segments that any client shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from monailabel.interfaces.tasks.infer_v2 import InferType
from pydantic import BaseModel

from lfusion.interaction import bands, boundary_thresholds
from lfusion.predictor import Predictor
from monailabel_app.lib.infer.answer import Answer, Frame, FrameInfer
from monailabel_app.lib.infer.request import parsed
from monailabel_app.lib.served import ServedModel

BANDS = {"unsure": 1, "very unsure": 2}
"""Class number by name of the bands."""


class _Bands(BaseModel):
    """Which uncertainty: what more labels would remove, or what the image leaves open."""

    term: Literal["epistemic", "aleatoric"] = "epistemic"


class BandsInfer(FrameInfer):
    """Runs the served predictor and cuts one of its maps into bands.

    Args:
        served: The model.
    """

    def __init__(self, served: ServedModel) -> None:
        super().__init__(
            served,
            type=InferType.SEGMENTATION,
            labels=dict(BANDS),
            description="Where the model is unsure of its mask: look there first",
            config={"term": ["epistemic", "aleatoric"]},
        )

    def classes(self, predictor: Predictor) -> Mapping[str, int]:
        """Class number by name of the bands."""
        return BANDS

    def answer(self, predictor: Predictor, frame: Frame, request: Mapping[str, Any]) -> Answer:
        """Predict one frame and return its bands."""
        term = parsed(_Bands, request).term
        prediction = predictor(frame.image)
        values = prediction.epistemic if term == "epistemic" else prediction.aleatoric
        calibrated = predictor.checkpoint.calibration.bands.get(term)
        found = bands(values, calibrated or boundary_thresholds(values, prediction.mask))
        result = {
            "scores": dict(prediction.scores),
            "percentiles": dict(prediction.percentiles),
        }
        return Answer(found, prediction.biometry, result)
