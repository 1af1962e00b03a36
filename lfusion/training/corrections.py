"""What a warm start takes from corrections, and what it keeps of its starting checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lfusion.model import SegmentationNetwork
from lfusion.model.input import resample
from lfusion.training.data import Sample, to_grid, with_background

MOST_OFTEN = 8.0
"""Share of one new label among very many old ones: it is not learned by heart."""


@torch.inference_mode()
def weigh_corrections(
    network: SegmentationNetwork, samples: Sequence[Sample], weight: float
) -> list[Sample]:
    """Let the pixels count more where the labels contradict the network.

    Args:
        network: before the training; what it says is what the annotators were shown.
        samples: with their labels.
        weight: of such a pixel, where any other counts 1; 1 leaves the samples as they are.
    """
    if weight == 1:
        return list(samples)
    mode = network.training
    network.eval()
    device = next(network.parameters()).device
    weighed = []
    for sample in samples:
        image, sector = sample.image[None].to(device), sample.sector[None].to(device)
        logits = network(image, to_grid(sector, network.stride)).mean
        rows, columns = sample.image.shape[-2:]
        said = resample(logits, (rows, columns)).argmax(1).cpu()
        wrong = said != with_background(sample.target).argmax(0, keepdim=True)
        weighed.append(replace(sample, weight=1 + (weight - 1) * wrong.float()))
    network.train(mode)
    return weighed


def favour_new(samples: Sequence[Sample], new: Collection[str]) -> list[Sample]:
    """Draw new labels as often as all the others together, which are repeated beside them.

    Args:
        samples: all labels.
        new: ids of those that the network has not learned from.

    Example:
        >>> plane = torch.zeros(1, 1, 1)
        >>> samples = [Sample(name, plane, plane, plane) for name in "abcd"]
        >>> [sample.share for sample in favour_new(samples, {"d"})]
        [1.0, 1.0, 1.0, 3.0]
    """
    count = sum(sample.id in new for sample in samples)
    if not 0 < count < len(samples) / 2:
        return list(samples)
    share = min((len(samples) - count) / count, MOST_OFTEN)
    return [replace(s, share=share) if s.id in new else s for s in samples]


@torch.no_grad()
def keep_start(network: SegmentationNetwork, start: Mapping[str, Tensor], share: float) -> None:
    """Move the weights back towards those that the training began with.

    Most of what was learned is kept and most of what was forgotten comes back, because along the
    way between the two the loss of the earlier images rises late.

    Args:
        network: trained; changed in place.
        start: weights before the training.
        share: of the way back; 0 changes nothing.

    Source:
        WiSE-FT, Wortsman et al., CVPR 2022, arXiv 2109.01903.
    """
    for name, weight in network.state_dict().items():
        if weight.is_floating_point():
            weight.lerp_(start[name].to(weight), share)
