"""Which weights are trained, and how fast."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from lfusion.model import SegmentationNetwork
from lfusion.training.config import Trained, TrainingConfig


@contextmanager
def standing_still(network: SegmentationNetwork, trained: Trained) -> Iterator[None]:
    """Keep the other weights from being trained for as long as the block runs.

    Args:
        network: all of its weights can be trained again afterwards.
        trained: what is trained; without a gradient the rest costs neither time nor memory.
    """
    if trained != "all":
        network.encoder.requires_grad_(False)
    if trained == "last_block":
        network.decoder.blocks[:-1].requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def optimizer_of(
    network: SegmentationNetwork,
    config: TrainingConfig,
    others: Sequence[torch.nn.Parameter] = (),
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimiser of the weights that are trained, and its one-cycle schedule.

    Args:
        network: the pretrained part of its encoder learns at a rate of its own.
        config: rates, decay and number of steps.
        others: parameters beside the network's, at the full rate.
    """
    encoder = network.encoder
    pretrained = list(encoder.body.parameters())
    known = set(map(id, pretrained))
    neck = [p for p in encoder.parameters() if id(p) not in known]
    parts = [
        (pretrained, config.learning_rate * config.encoder_rate),
        (neck, config.learning_rate),
        (list(network.decoder.parameters()), config.learning_rate),
        (list(network.head.parameters()), config.learning_rate),
        (list(others), config.learning_rate),
    ]
    trained = [([p for p in part if p.requires_grad], rate) for part, rate in parts]
    trained = [(part, rate) for part, rate in trained if part]
    optimizer = torch.optim.AdamW(
        [{"params": part, "lr": rate} for part, rate in trained],
        weight_decay=config.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[rate for _, rate in trained],
        total_steps=config.steps,
        # torch divides by the length of the rise less one: by zero where that is one step
        pct_start=0.11 if config.steps == 10 else 0.1,
        cycle_momentum=False,
        final_div_factor=100,
    )
    return optimizer, schedule
