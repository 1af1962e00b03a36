"""A data set → a simulation that is ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from lfusion.errors import DatasetError
from lfusion.image import Dataset
from lfusion.model import build_encoder, load_encoder_weights
from lfusion.simulation.learner import Learner
from lfusion.simulation.pool import OnImage, read_held_out, read_pool
from lfusion.simulation.records import RecordFile
from lfusion.simulation.simulate import Simulation
from lfusion.training.config import TrainingConfig
from lfusion.training.train import fingerprint


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
        DatasetError: images without masks, classes without names, images or examinations that are
            in both parts, or `records` that were begun with something else.
        EncoderError: the weights do not fit.
    """
    _require_apart(pool, held_out)
    settings = {
        **{name: value for name, value in config.as_dict().items() if name != "seed"},
        "labels": dict(pool.labels),
        "images to label": fingerprint(pool),
        "held-out images": fingerprint(held_out),
        "encoder weights": encoder_weights and sha256(encoder_weights.read_bytes()).hexdigest(),
    }
    file = RecordFile(records, settings)
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
        file=file,
    )


def _require_apart(pool: Dataset, held_out: Dataset) -> None:
    """Nothing may be learned of what is measured on."""
    files = {case.image_path for case in pool.labelled()}
    groups = {case.group for case in pool.labelled() if case.group}
    for case in held_out.labelled():
        if case.image_path in files or case.group in groups:
            what = f"image {case.id}" if case.image_path in files else f"examination {case.group}"
            raise DatasetError(
                "expected images to label and held-out images of different examinations, got "
                f"{what} among both; give each examination one split in meta.csv"
            )
