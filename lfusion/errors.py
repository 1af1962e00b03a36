"""Every error L-FUSION raises on purpose.

A message says what was expected, what came, and what to do next. Callers that
only want to report a failure catch `LFusionError`; everything else is a bug.
"""

from __future__ import annotations

from pathlib import Path


class LFusionError(Exception):
    """Base of all errors that carry a message meant for the user."""


class ImageError(LFusionError):
    """An image or mask file cannot be read, or holds something else than one 2-D grey image.

    Args:
        reason: What failed, why, and what to do; without the path, which a server keeps to itself.
        path: The file, where it is known.
    """

    def __init__(self, reason: str, path: Path | None = None) -> None:
        super().__init__(reason if path is None else f"cannot read {path}: {reason}")
        self.reason = reason
        self.path = path


class ImageWriteError(ImageError):
    """A mask or map cannot be written: there is no room, no folder, or no right to write.

    Args:
        reason: What failed, without the path.
        path: The file.
    """

    def __init__(self, reason: str, path: Path) -> None:
        super().__init__(reason, path)
        self.args = (f"cannot write {path}: {reason}",)


class TooLargeError(ImageError):
    """Decoding an image would take more memory or time than the limits allow."""


class DatasetError(LFusionError):
    """A dataset folder does not follow the convention `images/ID.*`, `masks/ID.*`, `meta.csv`."""


class CheckpointError(LFusionError):
    """A checkpoint file is truncated, foreign, newer than this code, or does not fit the model."""


class EncoderError(LFusionError):
    """An encoder name is unknown or its weights cannot be loaded."""


class NotFittedError(LFusionError):
    """A posterior or calibration was used before it was fitted."""


class PosteriorError(LFusionError):
    """The curvature is not finite or not positive definite, so no posterior exists."""


class CounterfactualError(LFusionError):
    """A question that the logits of an image cannot answer, such as a click outside the sector."""


class DropoutError(LFusionError):
    """Dropout passes that say nothing: a network trained without dropout, or too few of them."""


class NonFiniteError(LFusionError):
    """A computation gave NaN or infinity; the message names the image and the quantity."""


class TrainingError(LFusionError):
    """Training cannot start or cannot go on; the served model is left as it was."""


class TrainingStopped(TrainingError):
    """Training ended because it was asked to; nothing was changed."""


class MissingExtraError(LFusionError, ImportError):
    """A feature needs an optional dependency; the message names the extra that brings it."""
