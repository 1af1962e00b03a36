"""The optimisation loop: samples in, network weights out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lfusion.errors import TrainingError, TrainingStopped
from lfusion.model import SegmentationNetwork
from lfusion.model.encoders import has_placeholder_norms, recenter_batch_norm
from lfusion.training.augment import augmented_batch, canvas_of
from lfusion.training.cached_features import FeatureCache, repeated_views
from lfusion.training.config import TrainingConfig, TrainingProgress
from lfusion.training.data import Sample, collate, shuffled_batches, to_grid
from lfusion.training.lora import low_rank_adapters
from lfusion.training.losses import soft_dice_loss, ssn_loss
from lfusion.training.optimizer import optimizer_of, standing_still
from lfusion.training.precision import reduced_precision
from lfusion.training.semi_supervised import CrossTeaching

OnProgress = Callable[[TrainingProgress], None]
ShouldStop = Callable[[], bool]


@dataclass
class _Best:
    """The best weights so far, by validation Dice."""

    dice: float | None = None
    state: dict[str, Tensor] | None = None
    looks_without: int = 0

    def look(self, dice: float, network: torch.nn.Module) -> None:
        if self.dice is None or dice > self.dice:
            self.dice, self.looks_without = dice, 0
            self.state = {k: v.detach().clone() for k, v in network.state_dict().items()}
        else:
            self.looks_without += 1


def fit_network(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    config: TrainingConfig,
    *,
    validation: Sequence[Sample] = (),
    unlabelled: Sequence[Sample] = (),
    features: FeatureCache | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> SegmentationNetwork:
    """Train `network` in place and return it in eval mode.

    Deterministic for a seed, a device and a number of threads.

    Args:
        network: the start, on the device to train on.
        samples: training samples on the working grid.
        config: hyperparameters.
        validation: samples for early stopping; without them the last weights are taken.
        unlabelled: further samples, without targets, for `config.semi_supervised`.
        features: of an encoder that stands still by `config.trained`; each sample is then seen in
            a few views only.
        on_progress: called after each step.
        should_stop: asked before each step.

    Raises:
        TrainingStopped: `should_stop` said so.
        TrainingError: the loss is not finite, or nothing is to adapt by `config.lora_rank`.
    """
    torch.manual_seed(config.seed)  # dropout and adapters know no generator of their own
    adapters = low_rank_adapters(network.encoder, config.lora_rank)
    with standing_still(network, config.trained), adapters:
        _fit(network, samples, config, validation, unlabelled, features, on_progress, should_stop)
    return network.eval()


def _fit(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    config: TrainingConfig,
    validation: Sequence[Sample],
    unlabelled: Sequence[Sample],
    features: FeatureCache | None,
    on_progress: OnProgress | None,
    should_stop: ShouldStop | None,
) -> None:
    """Take the steps and leave the best or the averaged weights in `network`."""
    averaged = AveragedModel(
        _recentred(network, samples),
        multi_avg_fn=get_ema_multi_avg_fn(config.average_decay),  # type: ignore[no-untyped-call]
    )
    average = cast("SegmentationNetwork", averaged.module)
    best, running, dice, start = _Best(), 0.0, None, time.monotonic()
    teaching = None
    if config.semi_supervised and unlabelled:
        teaching = CrossTeaching(network, average, unlabelled, config)
    losses = _descend(network, samples, config, teaching, features)
    with _flushed_denormals():
        for step in range(1, config.steps + 1):
            if should_stop is not None and should_stop():
                raise TrainingStopped(f"training was stopped at step {step} of {config.steps}")
            loss = next(losses)
            averaged.update_parameters(network)
            running = loss if step == 1 else 0.98 * running + 0.02 * loss
            if validation and (step % config.validate_every == 0 or step == config.steps):
                dice = validation_dice(average, validation)
                best.look(dice, average)
            if on_progress is not None:
                left = (time.monotonic() - start) / step * (config.steps - step)
                on_progress(
                    TrainingProgress("fit", step, config.steps, running, dice, best.dice, left)
                )
            if best.looks_without >= config.patience:
                break
    network.load_state_dict(best.state or average.state_dict())


def _recentred(network: SegmentationNetwork, samples: Sequence[Sample]) -> SegmentationNetwork:
    if has_placeholder_norms(network.encoder):
        device = next(network.parameters()).device
        recenter_batch_norm(network.encoder, collate(samples[:32])[0].to(device))
    return network


def _descend(
    network: SegmentationNetwork,
    samples: Sequence[Sample],
    config: TrainingConfig,
    teaching: CrossTeaching | None,
    features: FeatureCache | None,
) -> Iterator[float]:
    """Take one optimiser step per value asked for, the loss before the step."""
    device = next(network.parameters()).device
    chance = torch.Generator().manual_seed(config.seed)
    noise = torch.Generator(device).manual_seed(config.seed)
    others = [] if teaching is None else list(teaching.second.parameters())
    optimizer, schedule = optimizer_of(network, config, others)
    canvas = canvas_of(samples)
    network.train()
    for step, chosen in enumerate(shuffled_batches(samples, config.batch_size, chance), start=1):
        views = (
            augmented_batch(chosen, chance)
            if features is None
            else repeated_views(chosen, canvas, chance)
        )
        loss = _loss(network, [x.to(device) for x in views], config, noise, teaching, features)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {step}; lower the learning rate "
                f"({config.learning_rate}) or look for a broken image"
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        optimizer.step()
        schedule.step()
        if teaching is not None:
            teaching.update()
        yield value


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Treat denormal numbers as zero in this thread: they slow a CPU down tenfold.

    The caller's mode comes back, because others rely on IEEE arithmetic.
    """
    flushed_before = bool(torch.tensor(1e-40) * 1 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_before)


def _loss(
    network: SegmentationNetwork,
    batch: Sequence[Tensor],
    config: TrainingConfig,
    noise: torch.Generator,
    teaching: CrossTeaching | None,
    cache: FeatureCache | None,
) -> Tensor:
    image, sector, target, valid = batch
    sector, target, valid = (to_grid(x, network.stride) for x in (sector, target, valid))
    with reduced_precision(network, config.precision):
        pyramid = network.encode(image) if cache is None else cache.encode(network, image)
        features = network.decode(pyramid, network.grid(image))
    distribution = network.head(features.float(), sector)
    loss = ssn_loss(distribution, target, valid, config.ssn_samples, noise) + soft_dice_loss(
        distribution.mean.softmax(1), target, valid
    )
    return loss if teaching is None else loss + teaching.loss(pyramid, target, valid)


@torch.inference_mode()
def validation_dice(
    network: SegmentationNetwork, samples: Sequence[Sample], batch_size: int = 8
) -> float:
    """Return the mean Dice over images and foreground classes, on the feature grid.

    A class that is neither in the mask nor predicted counts as 1.
    """
    mode = network.training
    network.eval()
    device = next(network.parameters()).device
    values: list[Tensor] = []
    for first in range(0, len(samples), batch_size):
        planes = [x.to(device) for x in collate(samples[first : first + batch_size])]
        image, sector, target, valid = planes
        sector, target, valid = (to_grid(x, network.stride) for x in (sector, target, valid))
        mean = network(image, sector).mean
        predicted = torch.nn.functional.one_hot(mean.argmax(1), mean.shape[1]).movedim(-1, 1)
        p, y = (x[:, 1:] * (valid > 0.5) for x in (predicted, target > 0.5))
        size = (p.sum((2, 3)) + y.sum((2, 3))).float()
        dice = torch.where(size > 0, 2 * (p * y).sum((2, 3)) / size.clamp_min(1), 1.0)
        values.append(dice.mean(1))
    network.train(mode)
    return float(torch.cat(values).mean())
