"""Applies a checkpoint to an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from lfusion.checkpoint import Checkpoint, default_checkpoint_path
from lfusion.errors import NonFiniteError
from lfusion.image import Calibration, UltrasoundImage, as_ultrasound_image
from lfusion.measurement import HEAD, Measurement, measure
from lfusion.model.dropout import checked_passes, fixed_masks
from lfusion.model.input import resample
from lfusion.model.reference import appearance_of
from lfusion.predictor.description import ScoredImage, described
from lfusion.predictor.fields import Fields, LogitMoments
from lfusion.predictor.prediction import Prediction
from lfusion.predictor.steps import (
    GridMaps,
    calibrated_scores,
    most_probable,
    native_maps,
    native_probabilities,
    plain_scores,
    signals_of,
    uncertainty_maps,
    unfamiliarity_map,
)
from lfusion.predictor.unusual import ABNORMALITY, judge, unusual_regions
from lfusion.types import PixelSize, Probabilities
from lfusion.uncertainty import Decomposition, total_variance
from lfusion.uncertainty.gauge import contrast_basis

HEAD_LABEL = HEAD
"""The structure that head biometry is measured on."""


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
        like = torch.zeros(()).to(self.device)
        self._basis = contrast_basis(checkpoint.posterior.classes, torch.zeros(())).to(self.device)
        self._covariance = checkpoint.posterior.covariance.to(like)
        known = checkpoint.reference
        self._reference = None if known is None else known.to(like)

    def __call__(
        self,
        image: UltrasoundImage | NDArray[Any] | Path | str,
        pixel_size_mm: PixelSize | None = None,
        *,
        dropout_passes: int | None = None,
    ) -> Prediction:
        """Predict mask, uncertainty maps, scores, measurements and what is unusual.

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
        seen, terms, maps, scores = self._looked_at(source, passes)
        signals = signals_of(seen, self._reference)
        known = () if passes else [name for name in scores if name in calibration.reference]
        height, width = source.pixels.shape
        shape = (height, width)
        probabilities = native_probabilities(terms, shape)
        mask = most_probable(probabilities)
        scale = source.calibration(mask)
        measured = self.measured(seen, probabilities, scale)
        native = native_maps(maps, shape)
        return Prediction(
            mask=mask,
            probabilities=probabilities,
            epistemic=native["epistemic"],
            aleatoric=native["aleatoric"],
            total=native["total"],
            scores=scores,
            percentiles={name: calibration.percentile(name, scores[name]) for name in known},
            biometry=measured.head,
            labels=self.labels,
            pixel_size_mm=scale.pixel_size_mm,
            calibration_note=scale.note,
            checkpoint_id=self.checkpoint_id,
            unfamiliarity=native.get("unfamiliarity"),
            abnormality=judge(signals, scores[ABNORMALITY], calibration)
            if ABNORMALITY in known
            else None,
            regions=() if passes else unusual_regions(maps, calibration, shape),
            angle=measured.angle,
            areas=measured.areas,
        )

    @torch.inference_mode()
    def score(self, image: UltrasoundImage | Path | str) -> ScoredImage:
        """Return what ranks an image, without the maps and measurements of a prediction.

        Args:
            image: a file, or an image already read.

        Raises:
            ImageError: not one 2-D image.
            NonFiniteError: the network's output is not finite.
        """
        seen, _, _, scores = self._looked_at(as_ultrasound_image(image), 0)
        return described(scores, seen, self.checkpoint.posterior)

    @torch.inference_mode()
    def fields(self, image: UltrasoundImage) -> Fields:
        """Return one forward pass.

        Raises:
            NonFiniteError: the network's output is not finite.
        """
        return self._pass(image)[0]

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
        return self._seen(image, self._checked(dropout_passes))[1]

    def moments_of(self, seen: Fields) -> LogitMoments:
        """Return the same of a forward pass that was made, without dropout."""
        return self._moments(seen, self._covariance.contrasts(seen.features))

    @torch.inference_mode()
    def _seen(self, image: UltrasoundImage, passes: int) -> tuple[Fields, LogitMoments]:
        seen, pyramid = self._pass(image)
        if not passes:
            return seen, self.moments_of(seen)
        masks = fixed_masks()
        grid = (seen.features.shape[-2], seen.features.shape[-1])
        appended = seen.features[:, self._network.config.feature_dim :]
        dropped = (
            torch.cat((self._network.dropout_features(pyramid, grid, masks), appended), 1)
            for _ in range(passes)
        )
        weight = self.checkpoint.posterior.weight
        return seen, self._moments(seen, total_variance(dropped, self._covariance, weight))

    def _looked_at(
        self, image: UltrasoundImage, passes: int
    ) -> tuple[Fields, Decomposition, GridMaps, dict[str, float]]:
        """Return what was seen, what that means at each place, and for the whole image."""
        calibration = self.checkpoint.calibration
        seen, moments = self._seen(image, passes)
        terms = moments.decompose(calibration.temperature)
        maps = {**uncertainty_maps(terms), **unfamiliarity_map(seen, self._reference)}
        signals = signals_of(seen, self._reference)
        scores = {**plain_scores(maps, terms), **signals}
        # the calibration images were scored without dropout
        if not passes:
            scores |= calibrated_scores(maps, scores, signals, calibration)
        return seen, terms, maps, scores

    def _pass(self, image: UltrasoundImage) -> tuple[Fields, list[Tensor]]:
        network = self._network
        pixels, sector = self.checkpoint.input.prepare(
            image.pixels, image.sector, network.stride, self.device
        )
        pyramid, grid = list(network.encode(pixels)), network.grid(pixels)
        features = network.decode(pyramid, grid)
        logits = network.head(features, sector)
        if not torch.isfinite(logits.mean).all():
            raise NonFiniteError(
                "the network's logits are not finite for this image; check its grey values"
            )
        reference = self._reference
        appearance = None if reference is None else appearance_of(reference.encoder, image)
        if self.checkpoint.distance_features:
            assert reference is not None
            assert appearance is not None
            looks = reference.distance_features(appearance, self.checkpoint.distance_features)
            features = torch.cat((features, resample(looks, grid)), 1)
        return Fields(features, logits, sector, appearance), pyramid

    def _moments(self, seen: Fields, epistemic: Tensor) -> LogitMoments:
        return LogitMoments(
            mean=seen.logits.mean,
            epistemic=epistemic * seen.sector[:, :, None],
            aleatoric=seen.logits.contrast_covariance(self._basis),
        )

    def _checked(self, dropout_passes: int | None) -> int:
        passes = self._dropout_passes if dropout_passes is None else dropout_passes
        return checked_passes(passes, self._network.config.dropout)

    @torch.inference_mode()
    def measured(
        self, seen: Fields, probabilities: Probabilities, calibration: Calibration
    ) -> Measurement:
        """Return what can be measured, with intervals where the checkpoint is calibrated for them.

        Args:
            seen: forward pass of the image.
            probabilities: that followed from it, in native pixels.
            calibration: pixel size, or the reason why it is unknown.
        """
        measured = measure(
            probabilities,
            self.labels,
            calibration.pixel_size_mm,
            seen.logits,
            seen.features,
            self._covariance,
            calibration.note,
        )
        return measured.with_intervals(self.checkpoint.calibration.errors)


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
