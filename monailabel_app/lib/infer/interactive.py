"""The infer models that are asked "what if": clicks, samples and modes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferType

from lfusion.errors import CounterfactualError
from lfusion.interaction import Possibilities, Segmentation, corrected, modes, sample, step_along
from lfusion.predictor import Predictor
from lfusion.protocol import Alternative, AlternativeResult
from lfusion.uncertainty.counterfactual import Counterfactual
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.infer.answer import Answer, Frame, FrameInfer, head_biometry
from monailabel_app.lib.infer.remembered import RememberedPossibilities
from monailabel_app.lib.infer.request import clicked, parsed
from monailabel_app.lib.served import ServedModel

_FARTHEST = 6.0
"""Standard deviations along a mode; farther than that is no answer to "what if"."""


class _WhatIfInfer(FrameInfer):
    """A model that asks `lfusion.interaction`.

    Args:
        served: The model.
        remembered: Forward passes, shared by these models.
        options: Of the `InferTask`.
    """

    def __init__(
        self, served: ServedModel, remembered: RememberedPossibilities, **options: Any
    ) -> None:
        super().__init__(served, labels=dict(served.labels()), **options)
        self._remembered = remembered

    def answer(self, predictor: Predictor, frame: Frame, request: Mapping[str, Any]) -> Answer:
        """Answer from one forward pass, which later requests find again."""
        seen = self._remembered.of(predictor, frame.image)
        found, result = self.ask(predictor, seen, frame, request)
        calibration = frame.image.calibration(found.mask)
        head = head_biometry(predictor, found.probabilities, calibration)
        return Answer(found.mask, head, result)

    def ask(
        self, predictor: Predictor, seen: Possibilities, frame: Frame, request: Mapping[str, Any]
    ) -> tuple[Segmentation, dict[str, Any]]:
        """The segmentation asked for, and further fields of the result."""
        raise NotImplementedError


class InteractiveInfer(_WhatIfInfer):
    """The model `lfusion_interactive`: the mask follows foreground and background clicks."""

    def __init__(self, served: ServedModel, remembered: RememberedPossibilities) -> None:
        super().__init__(
            served,
            remembered,
            type=InferType.DEEPEDIT,
            description="Correct the mask by clicks inside and outside of a structure",
        )

    def ask(
        self, predictor: Predictor, seen: Possibilities, frame: Frame, request: Mapping[str, Any]
    ) -> tuple[Segmentation, dict[str, Any]]:
        """Correct one frame by the clicks on it; without any it is the prediction."""
        said = clicked(request, predictor.labels, frame.number)
        try:
            return corrected(seen, said), {}
        except CounterfactualError as error:
            raise RequestError(str(error)) from error


class CounterfactualInfer(_WhatIfInfer):
    """The model `lfusion_counterfactual`: a sample, or a step along a principal mode."""

    result_type = AlternativeResult

    def __init__(self, served: ServedModel, remembered: RememberedPossibilities) -> None:
        super().__init__(
            served,
            remembered,
            type=InferType.SEGMENTATION,
            description="Another mask that the image allows: along a mode of variation, or drawn",
            # A list is a choice for 3D Slicer, its first entry the default.
            config={"kind": ["mode", "sample"], "mode": 0, "t": 2.0, "seed": 0},
        )

    def ask(
        self, predictor: Predictor, seen: Possibilities, frame: Frame, request: Mapping[str, Any]
    ) -> tuple[Segmentation, dict[str, Any]]:
        """The alternative that the request describes."""
        asked = parsed(Alternative, request)
        known = modes(seen)
        result: dict[str, Any] = {"variance_shares": [mode.variance_share for mode in known]}
        if asked.kind == "sample":
            if not 0 <= asked.seed < 2**63:
                raise RequestError(f"expected a seed from 0 to 2^63 - 1; got {asked.seed}")
            return sample(seen, asked.seed), result
        if not 0 <= asked.mode < len(known):
            raise RequestError(
                f"expected one of the {len(known)} modes of this image, from 0; got {asked.mode}"
            )
        if not math.isfinite(asked.t) or abs(asked.t) > _FARTHEST:
            raise RequestError(
                f"expected t from {-_FARTHEST:g} to {_FARTHEST:g} standard deviations; "
                f"got {asked.t}"
            )
        mode = known[asked.mode]
        step = Counterfactual(asked.t, mode.deviation)
        result |= {
            "density_ratio": step.density_ratio,
            "tail_probability": step.tail_probability,
        }
        return step_along(seen, mode, asked.t), result
