"""The curvature of the loss at the labelled images, which the posterior is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lfusion.checkpoint import Reference
from lfusion.image import Dataset
from lfusion.model import SegmentationNetwork
from lfusion.model.input import resample
from lfusion.model.reference import appearance_of
from lfusion.training.config import TrainingProgress
from lfusion.training.data import Sample, to_grid
from lfusion.training.fit import OnProgress
from lfusion.uncertainty import expected_curvature, full_ggn
from lfusion.uncertainty.curvature import CURVATURE_SAMPLES


@torch.inference_mode()
def network_curvature(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    seed: int,
    report: OnProgress,
    looks: Sequence[Tensor] = (),
) -> Tensor:
    """Return the SSN-averaged GGN over the ultrasound sectors of the samples, float64, CPU.

    Args:
        network: trained.
        samples: to sum over.
        seed: of the logit samples.
        report: called after each image.
        looks: of each sample, the coarse appearance features of a distance-aware head.
    """
    device = next(network.parameters()).device
    noise = torch.Generator(device).manual_seed(seed)
    total: Tensor | None = None
    for step, sample in enumerate(samples, start=1):
        sector = to_grid(sample.sector[None].to(device), network.stride)
        image = sample.image[None].to(device)
        features = network.features(image)
        logits = network.head(features, sector).sample(CURVATURE_SAMPLES, noise)
        if looks:
            look = resample(looks[step - 1].to(features), network.grid(image))
            features = torch.cat((features, look), 1)
        ggn = full_ggn(features, expected_curvature(logits), sector).cpu()
        total = ggn if total is None else total + ggn
        report(TrainingProgress("posterior", step, len(samples)))
    assert total is not None
    return total


def looks_of(dataset: Dataset, reference: Reference | None, count: int) -> list[Tensor]:
    """Return what a distance-aware head appends to φ, coarse; nothing for a plain head.

    Args:
        dataset: its labelled images are looked at.
        reference: the frozen encoder, if there is one.
        count: appearance features.
    """
    if reference is None or not count:
        return []
    encoder = reference.encoder
    return [
        reference.distance_features(appearance_of(encoder, case.read()), count)
        for case in dataset.labelled()
    ]
