"""Labels → model, the same way in every round: same start, same steps, nothing kept from before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lfusion import __version__
from lfusion.biometry import measure_head
from lfusion.checkpoint import Checkpoint, Fingerprint, head_weight, round_to_storage
from lfusion.evaluation.metrics import dice
from lfusion.measurement import HEAD
from lfusion.model import NetworkConfig, SegmentationNetwork
from lfusion.predictor import Predictor
from lfusion.predictor.steps import most_probable, native_probabilities
from lfusion.simulation.pool import HeldOutImage
from lfusion.training.config import TrainingConfig
from lfusion.training.curvature import network_curvature
from lfusion.training.data import Sample
from lfusion.training.fit import fit_network
from lfusion.training.train import new_network
from lfusion.uncertainty import (
    Calibration,
    FullCurvature,
    LastLayerLaplace,
    fit_prior_precision,
)


@dataclass(frozen=True, eq=False)
class Learner:
    """What every training of a simulation shares.

    Attributes:
        network: architecture.
        weights: initial state of the network, pretrained encoder included.
        config: of the training.
        labels: class number by name.
    """

    network: NetworkConfig
    weights: Mapping[str, Tensor]
    config: TrainingConfig
    labels: Mapping[str, int]

    @classmethod
    def start(
        cls, config: TrainingConfig, labels: Mapping[str, int], encoder_weights: Path | None
    ) -> Learner:
        """Return a learner whose initial weights depend on `config.seed` alone.

        Args:
            config: of the training.
            labels: class number by name.
            encoder_weights: file with pretrained weights; None starts from random ones.

        Raises:
            EncoderError: the weights do not fit.
        """
        network = new_network(config, max(labels.values()) + 1, encoder_weights)
        return cls(network.config, network.state_dict(), config, labels)

    def initial(self) -> SegmentationNetwork:
        """Return a network with the initial weights."""
        network = SegmentationNetwork(self.network)
        network.load_state_dict(self.weights)
        return network

    def learn(self, samples: Sequence[Sample], seed: int) -> Checkpoint:
        """Train anew on these samples and fit the posterior.

        Args:
            samples: the labelled images.
            seed: of the order of the samples, the augmentation and the dropout.

        Raises:
            TrainingError: the loss diverges.
        """
        network = self.initial()
        fit_network(network, samples, replace(self.config, seed=seed))
        network.requires_grad_(False)
        round_to_storage(network)
        ggn = network_curvature(network, samples, seed, lambda _: None)
        laplace = LastLayerLaplace(head_weight(network), FullCurvature(ggn))
        return Checkpoint(
            network=network,
            posterior=fit_prior_precision(laplace),
            calibration=Calibration(),
            labels=self.labels,
            input=self.config.input,
            fingerprint=Fingerprint(images=len(samples), code=__version__),
        )


@dataclass(frozen=True)
class Performance:
    """What a model does on held-out images.

    Attributes:
        dice: per image, mean over the foreground classes.
        hc_error_mm: measured minus given circumference of the images that have both.
        refused: images with a given circumference that could not be measured.
    """

    dice: tuple[float, ...]
    hc_error_mm: tuple[float, ...]
    refused: int


@torch.inference_mode()
def measure(checkpoint: Checkpoint, images: Sequence[HeldOutImage]) -> Performance:
    """Measure a model in native pixels."""
    predictor = Predictor(checkpoint, "cpu")
    found, errors, refused = [], [], 0
    for held_out in images:
        rows, columns = held_out.image.pixels.shape
        terms = predictor.moments(held_out.image).decompose(1.0)
        probabilities = native_probabilities(terms, (rows, columns))
        mask = most_probable(probabilities)
        found.append(
            float(np.mean([dice(mask == c, held_out.mask == c) for c in predictor.labels.values()]))
        )
        if held_out.hc_mm is None or HEAD not in predictor.labels:
            continue
        size = held_out.image.calibration(mask).pixel_size_mm
        head = measure_head(probabilities[predictor.labels[HEAD]], size)
        if head.hc_mm is None:
            refused += 1
        else:
            errors.append(head.hc_mm - held_out.hc_mm)
    return Performance(tuple(found), tuple(errors), refused)
