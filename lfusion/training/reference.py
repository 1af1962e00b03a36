"""What normal images look like to the frozen encoder, and what artefacts make of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lfusion.checkpoint import Reference
from lfusion.checkpoint.reference import round_reference
from lfusion.image import Case
from lfusion.image.artefacts import ARTEFACTS, draw_artefact
from lfusion.model import Encoder, EncoderConfig, build_encoder, load_encoder_weights
from lfusion.model.reference import ReferenceConfig, ReferenceEncoder, appearance_of
from lfusion.training.config import TrainingProgress
from lfusion.training.fit import OnProgress
from lfusion.uncertainty.normative import fit_normative

SEVERITIES = (2, 3, 4, 5)
"""Of the pseudo-outliers to learn from; severity 1 is hardly seen."""

MAX_PATCHES = 100_000
"""Patches kept for their density, drawn evenly from all images."""


def fit_reference(
    encoder: ReferenceEncoder,
    cases: Sequence[Case],
    seed: int,
    report: OnProgress,
) -> Reference:
    """Fit the densities on normal images and a direction for each artefact.

    Each image is seen as it is and once with each kind of artefact, of a random severity.

    Args:
        encoder: with its pretrained weights, rounded to storage.
        cases: normal images; they need no masks.
        seed: of the artefacts.
        report: called after each image.

    Raises:
        NotFittedError: fewer than two images.
    """
    statistics, patches = [], []
    spoilt: dict[str, list[Tensor]] = defaultdict(list)
    kept = max(MAX_PATCHES // max(len(cases), 1), 1)
    for step, case in enumerate(cases, start=1):
        image = case.read()
        normal = appearance_of(encoder, image)
        statistics.append(normal.statistics)
        cells = normal.patches.flatten(1).T[normal.sector.flatten() > 0]
        patches.append(cells[:: -(-len(cells) // kept)])
        for number, kind in enumerate(ARTEFACTS):
            rng = np.random.default_rng([seed, step, number])
            artefact = draw_artefact(kind, int(rng.choice(SEVERITIES)), rng)
            spoilt[kind].append(appearance_of(encoder, artefact(image).image).statistics)
        report(TrainingProgress("reference", step, len(cases)))
    return Reference(
        encoder,
        fit_normative(
            torch.stack(statistics) if statistics else torch.zeros(0, 1),
            torch.cat(patches) if patches else torch.zeros(0, 1),
            {kind: torch.stack(values) for kind, values in spoilt.items()},
        ),
    )


def pretrained_reference(config: EncoderConfig, weights: Path) -> ReferenceEncoder:
    """Return a frozen encoder with published weights.

    Raises:
        EncoderError: `weights` do not fit.
    """
    encoder = build_encoder(config)
    load_encoder_weights(encoder, weights)
    return reference_of(encoder, config)


def reference_of(pretrained: Encoder, config: EncoderConfig) -> ReferenceEncoder:
    """Return a frozen copy of an encoder with its pretrained weights, rounded to storage."""
    frozen = ReferenceEncoder.of(pretrained, ReferenceConfig(config))
    round_reference(frozen)
    return frozen
