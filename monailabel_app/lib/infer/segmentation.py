"""The infer model `lfusion`: a mask that clients open in place, and where it is uncertain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType

from lfusion.image import write_map
from lfusion.predictor import Prediction, Predictor
from lfusion.protocol import MAP_SUFFIX, MAP_TAGS
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.infer.answer import Answer, Frame, FrameInfer, as_slice, new_file
from monailabel_app.lib.served import ServedModel


class UncertaintyInfer(FrameInfer):
    """Runs the served predictor.

    Args:
        served: The model.
        datastore: Where maps of its own images are kept; None when it cannot keep them.
    """

    def __init__(self, served: ServedModel, datastore: StudiesDatastore | None) -> None:
        super().__init__(
            served,
            type=InferType.SEGMENTATION,
            labels=dict(served.labels()),
            description="Segmentation with aleatoric and epistemic uncertainty",
        )
        self._datastore = datastore

    def answer(self, predictor: Predictor, frame: Frame, request: Mapping[str, Any]) -> Answer:
        """Predict one frame, and keep its maps when its image is one of the datastore."""
        prediction = predictor(frame.image)
        result = {
            "scores": dict(prediction.scores),
            "percentiles": dict(prediction.percentiles),
            "maps": self._keep_maps(frame, prediction),
            "angle": None if prediction.angle is None else prediction.angle.as_dict(),
            "areas": {name: area.as_dict() for name, area in prediction.areas.items()},
            "abnormality": prediction.abnormality,
            "regions": list(prediction.regions),
        }
        return Answer(prediction.mask, prediction.biometry, result)

    def _keep_maps(self, frame: Frame, prediction: Prediction) -> dict[str, str]:
        """Store the uncertainty maps beside the labels; returns their tags by name."""
        if frame.image_id is None or self._datastore is None:
            return {}
        for tag in MAP_TAGS:
            file = new_file(MAP_SUFFIX)
            try:
                write_map(file, getattr(prediction, tag), like=as_slice(frame.image))
                info = {"checkpoint_id": prediction.checkpoint_id, "unit": "nat"}
                self._datastore.save_label(frame.image_id, str(file), tag, info)
            finally:
                file.unlink(missing_ok=True)
        return {tag: tag for tag in MAP_TAGS}
