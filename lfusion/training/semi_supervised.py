"""Learning from images without labels: an averaged teacher and two decoders that check each other.

The teacher is the running average of the weights that becomes the result anyway. It sees an image
as it is, the network sees it strongly augmented. Each decoder learns from what the other decoder
of the teacher says, as far as the two agree.

Sources:
    Mean Teacher (Tarvainen & Valpola, NeurIPS 2017, arXiv 1703.01780); cross pseudo supervision
    (Chen et al., CVPR 2021, arXiv 2106.01226); the combination of terms is our own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lfusion.model import SegmentationNetwork
from lfusion.model.input import resample
from lfusion.training.augment import augmented_batch
from lfusion.training.config import TrainingConfig
from lfusion.training.data import Sample, collate, shuffled_batches, to_grid, with_background
from lfusion.training.losses import soft_dice_loss
from lfusion.training.precision import reduced_precision
from lfusion.training.second_decoder import SecondDecoder

CONFIDENCE = 0.8
"""Highest class probability, mean of both decoders, below which a pixel teaches nothing."""

RAMP = 0.5
"""Share of the steps in which the weight of the unlabelled images rises."""


def ramp(step: int, steps: int) -> float:
    """Return how far the weight of the unlabelled images has risen, in (0, 1].

    Args:
        step: from 0.
        steps: in which it rises; 0 has it up at once.

    Example:
        >>> [round(ramp(step, 10), 3) for step in (0, 5, 10, 20)]
        [0.007, 0.287, 1.0, 1.0]

    Source:
        exp(−5 (1 − t)²), Laine & Aila, ICLR 2017, arXiv 1610.02242.
    """
    done = min(step / steps, 1.0) if steps else 1.0
    return math.exp(-5 * (1 - done) ** 2)


def agreement_weight(first: Tensor, second: Tensor, confidence: float = CONFIDENCE) -> Tensor:
    """Return what the pseudo-label of each pixel is worth, in [0, 1].

    1 − JSD/ln 2 of the two predictions: 1 where they are the same, 0 where each is certain of
    another class; and 0 where their mean is not confident.

    Args:
        first: probabilities [batch, classes, height, width] of one decoder.
        second: of the other.
        confidence: least probability of the mean's likeliest class.

    Returns:
        [batch, 1, height, width].
    """
    mean = (first + second) / 2
    entropies = [torch.special.entr(p).sum(1, keepdim=True) for p in (mean, first, second)]
    divergence = entropies[0] - (entropies[1] + entropies[2]) / 2
    agreement: Tensor = (1 - divergence / math.log(2)).clamp(0, 1)
    confident = mean.amax(1, keepdim=True) >= confidence
    return agreement * confident


def weighted_loss(logits: Tensor, target: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Return cross-entropy, nats per valid pixel, plus soft Dice loss, both weighted by pixel.

    A pixel of weight 0 is as good as not there; smaller weights make the cross-entropy smaller.

    Args:
        logits: [batch, classes, height, width].
        target: same shape, shares that sum to one.
        weight: [batch, 1, height, width], in [0, 1].
        valid: same, 1 where a pixel counts.
    """
    weight = weight * valid
    losses = -(target * logits.log_softmax(1)).sum(1, keepdim=True) * weight
    per_image = losses.sum((1, 2, 3)) / valid.sum((1, 2, 3)).clamp_min(1)
    return per_image.mean() + soft_dice_loss(logits.softmax(1), target, weight)


def pooled_features(features: Tensor, shares: Tensor) -> Tensor:
    """Return the mean feature vector of each class, [batch, classes, D].

    Args:
        features: φ [batch, D, height, width].
        shares: of each class in each pixel [batch, classes, height, width], 0 where none counts.
    """
    pixels = shares.sum((2, 3))[..., None].clamp_min(1)
    return torch.einsum("bdhw,bchw->bcd", features, shares) / pixels


def pooled_distance(student: Tensor, teacher: Tensor, shares: Tensor) -> Tensor:
    """Return 1 − cos of the pooled features, averaged over the classes an image shows.

    Args:
        student: [batch, classes, D].
        teacher: same shape.
        shares: [batch, classes, height, width]; a class of less than a pixel counts as such a part.
    """
    present = shares.sum((2, 3)).clamp_max(1)
    distance = 1 - functional.cosine_similarity(student, teacher, dim=-1)
    return (distance * present).sum() / present.sum().clamp_min(1)


class CrossTeaching:
    """The share of the unlabelled images in a training, and the second decoder it takes.

    Args:
        network: that is trained; it is not changed here.
        average: running average of its weights, kept by the caller; put into eval mode.
        images: without labels, on the working grid.
        config: hyperparameters; `semi_supervised` is above 0.

    Attributes:
        second: the second decoder, to be trained with the network and thrown away.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        average: SegmentationNetwork,
        images: Sequence[Sample],
        config: TrainingConfig,
    ) -> None:
        self._network, self._average, self._config = network, average.eval(), config
        self._device = next(network.parameters()).device
        kind = network.config
        self.second = SecondDecoder(network.encoder.channels, kind.feature_dim, kind.classes)
        self.second.to(self._device)
        self._averaged = AveragedModel(
            self.second,
            multi_avg_fn=get_ema_multi_avg_fn(config.average_decay),  # type: ignore[no-untyped-call]
        )
        self._chance = torch.Generator().manual_seed(config.seed + 1)
        # half as many as labelled ones: they weigh little, and each is looked at twice
        size = max(1, config.batch_size // 2)
        self._batches = shuffled_batches(images, size, self._chance)
        self._step = 0

    def loss(self, pyramid: Sequence[Tensor], target: Tensor, valid: Tensor) -> Tensor:
        """Return what this step adds to the loss of the labelled images.

        Args:
            pyramid: of the labelled images, by the network.
            target: their class shares [batch, classes, h, w] on the feature grid; an image with
                a class that is `NOT_ANNOTATED` teaches the second decoder nothing.
            valid: [batch, 1, h, w].
        """
        rise = ramp(self._step, round(RAMP * self._config.steps))
        self._step += 1
        with reduced_precision(self.second, self._config.precision):
            features = self.second.features(pyramid, (target.shape[-2], target.shape[-1]))
            labelled = self.second.head(features)
        known = (target >= 0).all(1, keepdim=True).float()
        supervised = weighted_loss(labelled.float(), target.clamp_min(0), known, valid)
        return supervised + rise * self._config.semi_supervised * self._unlabelled_loss()

    def update(self) -> None:
        """Move the average of the second decoder on, after an optimiser step."""
        self._averaged.update_parameters(self.second)

    def _unlabelled_loss(self) -> Tensor:
        """Teacher and network look at the next batch; return how far they are apart."""
        samples = next(self._batches)
        labels, taught = self._teach(samples)
        image, sector, first, second, valid = self._strong_views(samples, labels)
        with reduced_precision(self._network, self._config.precision):
            pyramid, grid = self._network.encode(image), self._network.grid(image)
            features = (
                self._network.decode(pyramid, grid).float(),
                self.second.features(pyramid, grid).float(),
            )
        logits = self._network.head(features[0], sector).mean, self.second.head(features[1])
        weight = agreement_weight(first, second)
        shares = (first + second) / 2 * valid
        pooled = [
            pooled_distance(pooled_features(own, shares), other, shares)
            for own, other in zip(features, taught, strict=True)
        ]
        crossed = weighted_loss(logits[0], second, weight, valid)
        return (crossed + weighted_loss(logits[1], first, weight, valid) + sum(pooled)) / 2

    @torch.no_grad()
    def _teach(self, samples: Sequence[Sample]) -> tuple[list[Tensor], list[Tensor]]:
        """Let the teacher look at the images as they are.

        Returns:
            Per image, the foreground probabilities of one decoder and then of the other,
            [2 (C − 1), h, w] on the working grid; per decoder, its pooled features.
        """
        image, sector, _, valid = (x.to(self._device) for x in collate(samples))
        second = cast("SecondDecoder", self._averaged.module)
        with reduced_precision(self._average, self._config.precision):
            pyramid, grid = self._average.encode(image), self._average.grid(image)
            features = (
                self._average.decode(pyramid, grid).float(),
                second.features(pyramid, grid).float(),
            )
        sector, valid = to_grid(sector, self._network.stride), to_grid(valid, self._network.stride)
        opinions = [
            self._average.head(features[0], sector).mean.softmax(1),
            second.head(features[1]).softmax(1),
        ]
        shares = (opinions[0] + opinions[1]) / 2 * valid
        size = (image.shape[-2], image.shape[-1])
        labels = resample(torch.cat([p[:, 1:] for p in opinions], 1), size).cpu()
        cut = [
            x[:, : s.image.shape[-2], : s.image.shape[-1]]
            for x, s in zip(labels, samples, strict=True)
        ]
        return cut, [pooled_features(own, shares) for own in features]

    def _strong_views(self, samples: Sequence[Sample], labels: Sequence[Tensor]) -> list[Tensor]:
        """Augment the images and carry the teacher's labels along.

        Returns:
            Images on the canvas; on the feature grid the sectors, the probabilities of one decoder
            of the teacher and of the other, and the valid pixels.
        """
        taught = [replace(s, target=label) for s, label in zip(samples, labels, strict=True)]
        image, *planes = (x.to(self._device) for x in augmented_batch(taught, self._chance))
        sector, target, valid = (to_grid(x, self._network.stride) for x in planes)
        # behind a background that belongs to neither lie the foregrounds of both decoders
        first, second = (with_background(part) for part in target[:, 1:].chunk(2, 1))
        return [image, sector, first, second, valid]
