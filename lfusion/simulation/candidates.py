"""What a strategy may look at: the unlabelled images through the eyes of the present model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from lfusion.acquisition import standardised
from lfusion.acquisition.aggregation import AGGREGATIONS
from lfusion.acquisition.batch import Embeddings
from lfusion.checkpoint import Checkpoint
from lfusion.model.dropout import fixed_masks
from lfusion.predictor import Predictor
from lfusion.predictor.description import information_of
from lfusion.predictor.steps import most_probable, plain_scores, uncertainty_maps
from lfusion.simulation.pool import PoolImage
from lfusion.uncertainty.decomposition import entropy

DROPOUT_PASSES = 5
"""Of the strategies by dropout; MONAI Label's default number of simulations."""

_SMALLEST = 5e-5
"""What MONAI Label puts in place of a probability of zero."""


class Candidates:
    """The unlabelled part of a pool. Nothing is computed before a strategy asks for it.

    Args:
        pool: all images.
        labelled: ids of those with a label.
        checkpoint: trained on them.
        seed: of everything that a strategy draws.
    """

    def __init__(
        self, pool: Sequence[PoolImage], labelled: Sequence[str], checkpoint: Checkpoint, seed: int
    ) -> None:
        taken = set(labelled)
        self._images = [image for image in pool if image.id not in taken]
        self._known = [image for image in pool if image.id in taken]
        self._predictor = Predictor(checkpoint, "cpu")
        self.ids = [image.id for image in self._images]
        self.seed = seed

    @cached_property
    def looks(self) -> tuple[Embeddings, Embeddings]:
        """Standardised embeddings of the candidates and of the labelled images."""
        unknown, known = (
            np.stack([image.embedding for image in part]) for part in (self._images, self._known)
        )
        first, second = standardised(unknown, known)
        return first, second

    @cached_property
    def scores(self) -> Mapping[str, NDArray[np.float64]]:
        """All image scores of our model that need no calibration, by name, [candidates]."""
        rows = [self._scores(image) for image in self._images]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    @cached_property
    def information(self) -> NDArray[np.float32]:
        """Packed information of every candidate, see `acquisition.greedy_batch`."""
        posterior = self._predictor.checkpoint.posterior
        return np.stack(
            [
                information_of(self._predictor.fields(image.image), posterior)
                for image in self._images
            ]
        )

    @cached_property
    def by_dropout(self) -> Mapping[str, NDArray[np.float64]]:
        """Scores of every candidate from passes with dropout.

        `monai_entropy` and `monai_variance` are computed as MONAI Label 0.8.5 does in
        `tasks/scoring/epistemic_v2.py`: entropy of the mean over the passes, or variance over
        them, summed over the classes and averaged over the pixels. `bald` is the mutual
        information between class and pass per √area, as our own epistemic score.
        """
        rows = [self._dropout_scores(image) for image in self._images]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    @torch.inference_mode()
    def _scores(self, candidate: PoolImage) -> dict[str, float]:
        moments = self._predictor.moments(candidate.image)
        terms = moments.decompose(self._predictor.checkpoint.calibration.temperature)
        return plain_scores(uncertainty_maps(terms), terms)

    @torch.inference_mode()
    def _dropout_scores(self, candidate: PoolImage) -> dict[str, float]:
        network, sample = self._predictor.checkpoint.network, candidate.sample
        image = sample.image[None]
        pyramid, grid, masks = network.encode(image), network.grid(image), fixed_masks()
        weight = self._predictor.checkpoint.posterior.weight.float()
        passes = []
        for _ in range(DROPOUT_PASSES):
            features = network.dropout_features(pyramid, grid, masks)[0]
            logits = (
                torch.einsum("dhw,cd->chw", features, weight[:, :-1]) + weight[:, -1, None, None]
            )
            passes.append(logits.softmax(0))
        probabilities = torch.stack(passes).clamp_min(_SMALLEST)
        mean = probabilities.mean(0)
        mutual = entropy(mean, 0) - entropy(probabilities, 1).mean(0)
        mask = most_probable(mean.numpy())
        return {
            "monai_entropy": float(-(mean * mean.log()).sum(0).mean()),
            "monai_variance": float(probabilities.var(0, correction=0).sum(0).mean()),
            "bald": AGGREGATIONS["per_sqrt_area"](mutual.clamp_min(0).numpy(), mask),
        }
