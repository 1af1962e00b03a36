"""A model for other structures than it was trained for: what it knows stays, the rest is empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lfusion.checkpoint.checkpoint import Checkpoint, head_weight, round_to_storage
from lfusion.errors import CheckpointError
from lfusion.model import SegmentationNetwork
from lfusion.uncertainty import Calibration, FullCurvature, LastLayerLaplace

UNLIKELY = 6.0
"""Nats by which a structure that was never seen is less probable than background, everywhere."""


def with_structures(checkpoint: Checkpoint, labels: Mapping[str, int]) -> Checkpoint:
    """Return the same model with a head for these structures.

    Structures of the same name keep their weights and what the posterior knows of them. A new one
    begins as background that is `UNLIKELY` nats less probable, with the same noise: the mask stays
    what it was, and the first training starts from there. Of its weights only the prior is known.
    Scores and intervals were calibrated for other structures; the calibration is dropped.

    Args:
        checkpoint: any.
        labels: name → class number, 1, 2, ... without gaps.

    Returns:
        The checkpoint itself when it has just these labels.

    Raises:
        CheckpointError: the numbers have gaps or repeat, or there is none.
    """
    if dict(labels) == dict(checkpoint.labels):
        return checkpoint
    if not labels or sorted(labels.values()) != list(range(1, len(labels) + 1)):
        raise CheckpointError(
            f"expected structures numbered from 1 without gaps, got {dict(labels)}; name them in "
            "the order of their class numbers"
        )
    names = sorted(labels, key=labels.__getitem__)
    sources = [0, *(checkpoint.labels.get(name) for name in names)]
    known = checkpoint.network.config
    network = SegmentationNetwork(replace(known, classes=len(sources)))
    network.load_state_dict(_grown(checkpoint.network.state_dict(), sources, known.rank))
    round_to_storage(network)
    posterior, inherited = checkpoint.posterior, checkpoint.inherited_ggn
    return replace(
        checkpoint,
        network=network.eval().requires_grad_(False),
        posterior=LastLayerLaplace(
            head_weight(network, checkpoint.distance_features),
            FullCurvature(_blocks(posterior.ggn, sources, posterior.classes)),
            posterior.prior_precision,
            posterior.posterior_temperature,
        ),
        calibration=Calibration(),
        labels=dict(labels),
        inherited_ggn=None if inherited is None else _blocks(inherited, sources, posterior.classes),
        unlearned=tuple(
            name
            for name, source in zip(names, sources[1:], strict=True)
            if source is None or name in checkpoint.unlearned
        ),
    )


def _grown(
    state: Mapping[str, Tensor], sources: Sequence[int | None], rank: int
) -> dict[str, Tensor]:
    """Return the weights with the head's rows taken from these classes, background's for None."""
    rows = torch.tensor([source or 0 for source in sources])
    new = torch.tensor([source is None for source in sources])
    grown = dict(state)
    for layer, per_class in (("mean", 1), ("log_diag", 1), ("factor", rank)):
        for kind in ("weight", "bias"):
            name = f"head.{layer}.{kind}"
            values = state[name]
            by_class = values.reshape(-1, per_class, *values.shape[1:])
            grown[name] = by_class[rows].flatten(0, 1)
    grown["head.mean.bias"] = grown["head.mean.bias"] - UNLIKELY * new
    return grown


def _blocks(ggn: Tensor, sources: Sequence[int | None], classes: int) -> Tensor:
    """Return the curvature between the classes that are taken over; that of the others is zero."""
    dim = len(ggn) // classes
    before = ggn.reshape(classes, dim, classes, dim)
    kept = [(place, source) for place, source in enumerate(sources) if source is not None]
    blocks = ggn.new_zeros(len(sources), dim, len(sources), dim)
    for a, source_a in kept:
        for b, source_b in kept:
            blocks[a, :, b] = before[source_a, :, source_b]
    return blocks.reshape(len(sources) * dim, len(sources) * dim)
