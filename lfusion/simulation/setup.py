"""A data set → a simulation that is ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lfusion.image import Dataset
from lfusion.model import build_encoder, load_encoder_weights
from lfusion.simulation.learner import Learner
from lfusion.simulation.pool import OnImage, read_held_out, read_pool
from lfusion.simulation.records import RecordFile
from lfusion.simulation.simulate import Simulation
from lfusion.training.config import TrainingConfig


def prepare(
    pool: Dataset,
    held_out: Dataset,
    config: TrainingConfig,
    encoder_weights: Path | None,
    records: Path,
    progress: Callable[[str], OnImage],
) -> Simulation:
    """Read a data set and the pretrained weights.

    Args:
        pool: images that the oracle labels; whole examinations apart from `held_out`.
        held_out: images that everything is measured on.
        config: of every training; its seed is replaced.
        encoder_weights: file with pretrained weights; None starts from random ones.
        records: file for the results.
        progress: from what is being read to a counter.

    Raises:
        DatasetError: images without masks, or classes without names.
        EncoderError: the weights do not fit.
    """
    encoder = build_encoder(config.encoder)
    if encoder_weights is not None:
        load_encoder_weights(encoder, encoder_weights)

    def learner(seed: int) -> Learner:
        return Learner.start(replace(config, seed=seed), pool.labels, encoder_weights)

    stride = encoder.reductions[0]
    return Simulation(
        pool=read_pool(pool, config.input, stride, encoder, config.encoder, progress("pool")),
        held_out=read_held_out(held_out, progress("held out")),
        learner=learner,
        file=RecordFile(records),
    )
