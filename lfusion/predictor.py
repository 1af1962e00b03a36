"""Image in, prediction out: the one door for the app, the command line and a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfusion.acquisition import image_scores
from lfusion.biometry import HeadBiometry, measure_head
from lfusion.checkpoint import Checkpoint, default_checkpoint_path
from lfusion.errors import NonFiniteError
from lfusion.image import UltrasoundImage, as_ultrasound_image
from lfusion.model.dropout import checked_passes, fixed_masks
from lfusion.model.input import resample
from lfusion.types import FloatMap, LabelMap, PixelSize, Probabilities
from lfusion.uncertainty import Decomposition, decompose, total_variance
from lfusion.uncertainty.gauge import contrast_basis

HEAD_LABEL = "fetal head"
"""The structure that head biometry is measured on."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one image, in the image's own pixels.

    Attributes:
        mask: most probable class.
        probabilities: E_θ E_η p, background first.
        epistemic: I(y;θ), nats; what more labels would remove.
        aleatoric: E_θ H[E_η p], nats; what the image itself leaves open.
        total: predictive entropy, nats; epistemic + aleatoric.
        scores: `TERM_AGGREGATION` → image score.
        percentiles: score → share (0 to 100) of the calibration images below it; none with
            dropout passes, without which those images were scored.
        biometry: of the head, or None when the model does not segment one.
        labels: name → class number.
        pixel_size_mm: (row, column), or None when unknown.
        checkpoint_id: of the model that said so.
    """

    mask: LabelMap
    probabilities: Probabilities
    epistemic: FloatMap
    aleatoric: FloatMap
    total: FloatMap
    scores: Mapping[str, float]
    percentiles: Mapping[str, float]
    biometry: HeadBiometry | None
    labels: Mapping[str, int]
    pixel_size_mm: PixelSize | None
    checkpoint_id: str


@dataclass(frozen=True, eq=False)
class LogitMoments:
    """Mean and both covariances of the logits on the feature grid, before calibration.

    Attributes:
        mean: μ [1, C, h, w].
        epistemic: V between class contrasts [1, C − 1, C − 1, h, w].
        aleatoric: PPᵀ + diag(d) between class contrasts, same shape.
    """

    mean: Tensor
    epistemic: Tensor
    aleatoric: Tensor

    def decompose(self, temperature: float) -> Decomposition:
        """Return the decomposition of the logits divided by the calibration temperature."""
        return decompose(
            self.mean / temperature,
            self.epistemic / temperature**2,
            self.aleatoric / temperature**2,
        )


class Predictor:
    """Applies one checkpoint. Holds no state that a call changes, so threads may share it."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str | torch.device = "auto",
        *,
        dropout_passes: int = 0,
    ) -> None:
        """Put the network on a device and prepare the posterior.

        Args:
            checkpoint: what to apply.
            device: a torch device, or "auto" for CUDA, then MPS, then the CPU.
            dropout_passes: K of calls that do not say otherwise; 0 is off.

        Raises:
            DropoutError: K = 1 or negative, or K > 0 for a network trained without dropout.
        """
        self.checkpoint = checkpoint
        self.checkpoint_id = checkpoint.id
        self.labels = checkpoint.labels
        self.device = choose_device(device)
        self._network = checkpoint.network.to(self.device)
        self._dropout_passes = checked_passes(dropout_passes, self._network.config.dropout)
        self._basis = contrast_basis(checkpoint.posterior.classes, torch.zeros(())).to(self.device)
        self._covariance = checkpoint.posterior.covariance.to(torch.zeros(()).to(self.device))

    def __call__(
        self,
        image: UltrasoundImage | NDArray[Any] | Path | str,
        pixel_size_mm: PixelSize | None = None,
        *,
        dropout_passes: int | None = None,
    ) -> Prediction:
        """Predict mask, uncertainty maps, scores and biometry.

        Args:
            image: [H, W] or [H, W, 3 or 4] array, a file, or an image already read.
            pixel_size_mm: (row, column); by default what the file says.
            dropout_passes: K, see `moments`; by default the predictor's.

        Raises:
            ImageError: not one 2-D image.
            DropoutError: K = 1 or negative, or K > 0 for a network trained without dropout.
            NonFiniteError: the network's output is not finite.
        """
        source = as_ultrasound_image(image, pixel_size_mm)
        passes = self._checked(dropout_passes)
        calibration = self.checkpoint.calibration
        terms = self.moments(source, passes).decompose(calibration.temperature)
        maps = {
            "epistemic": terms.mutual_information,
            "aleatoric": terms.expected_entropy,
            "total": terms.predictive_entropy,
        }
        on_grid = terms.probabilities[0].cpu().numpy()
        scores = image_scores(
            {name: values[0].cpu().numpy() for name, values in maps.items()},
            on_grid,
            on_grid.argmax(0).astype(np.uint8),
        )
        height, width = source.pixels.shape
        probabilities = _native_probabilities(terms.probabilities, (height, width))
        native = resample(torch.stack(list(maps.values()), 1), (height, width))[0].cpu().numpy()
        epistemic, aleatoric = native[0], native[1]
        known = () if passes else [name for name in scores if name in calibration.reference]
        return Prediction(
            mask=probabilities.argmax(0).astype(np.uint8),
            probabilities=probabilities,
            epistemic=epistemic,
            aleatoric=aleatoric,
            total=native[2],
            scores=scores,
            percentiles={name: calibration.percentile(name, scores[name]) for name in known},
            biometry=self._biometry(probabilities, source.pixel_size_mm),
            labels=self.labels,
            pixel_size_mm=source.pixel_size_mm,
            checkpoint_id=self.checkpoint_id,
        )

    @torch.inference_mode()
    def moments(self, image: UltrasoundImage, dropout_passes: int | None = None) -> LogitMoments:
        """Return the Gaussian of the logits on the feature grid.

        Args:
            image: to predict.
            dropout_passes: K passes of the decoder with dropout, on one pass of the encoder,
                widen V by total variance; mean and aleatoric covariance stay those of the network
                without dropout. 0 is off; by default the predictor's.

        Raises:
            DropoutError: K = 1 or negative, or K > 0 for a network trained without dropout.
            NonFiniteError: the network's output is not finite.
        """
        passes, network = self._checked(dropout_passes), self._network
        pixels, sector = self.checkpoint.input.prepare(
            image.pixels, image.sector, network.stride, self.device
        )
        pyramid, grid = network.encode(pixels), network.grid(pixels)
        features = network.decode(pyramid, grid)
        distribution = network.head(features, sector)
        if not torch.isfinite(distribution.mean).all():
            raise NonFiniteError(
                "the network's logits are not finite for this image; check its grey values"
            )
        if passes:
            masks = fixed_masks()
            dropped = (network.dropout_features(pyramid, grid, masks) for _ in range(passes))
            weight = self.checkpoint.posterior.weight
            epistemic = total_variance(dropped, self._covariance, weight)
        else:
            epistemic = self._covariance.contrasts(features)
        return LogitMoments(
            mean=distribution.mean,
            epistemic=epistemic * sector[:, :, None],
            aleatoric=distribution.contrast_covariance(self._basis),
        )

    def _checked(self, dropout_passes: int | None) -> int:
        passes = self._dropout_passes if dropout_passes is None else dropout_passes
        return checked_passes(passes, self._network.config.dropout)

    def _biometry(
        self, probabilities: Probabilities, pixel_size_mm: PixelSize | None
    ) -> HeadBiometry | None:
        if HEAD_LABEL not in self.labels:
            return None
        return measure_head(probabilities[self.labels[HEAD_LABEL]], pixel_size_mm)


def load(
    checkpoint: Path | str | None = None,
    device: str | torch.device = "auto",
    *,
    dropout_passes: int = 0,
) -> Predictor:
    """Load a predictor.

    Args:
        checkpoint: a file written by `lfusion train`; by default the shipped fetal-head model.
        device: a torch device, or "auto".
        dropout_passes: K of calls that do not say otherwise; 0 is off.

    Raises:
        CheckpointError: the file cannot be used; the message says why.
        DropoutError: K = 1 or negative, or K > 0 for a network trained without dropout.
    """
    path = default_checkpoint_path() if checkpoint is None else Path(checkpoint)
    return Predictor(Checkpoint.load(path), device, dropout_passes=dropout_passes)


def choose_device(device: str | torch.device) -> torch.device:
    """Return the device meant by "auto" (CUDA, then MPS, then the CPU) or by a torch name."""
    if device != "auto":
        return torch.device(device)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _native_probabilities(probabilities: Tensor, shape: tuple[int, int]) -> Probabilities:
    """Resample probabilities through their logarithm, in which a boundary is straight."""
    smallest = torch.finfo(probabilities.dtype).tiny
    logs = resample(probabilities.clamp_min(smallest).log(), shape)
    out: Probabilities = logs.softmax(1)[0].cpu().numpy()
    return out
