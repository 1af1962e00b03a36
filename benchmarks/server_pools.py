"""What `benchmarks/server.py` serves: a tiny trained network, and pools of any size."""

from __future__ import annotations

import os
import random
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfusion.checkpoint import Checkpoint
from lfusion.image import Dataset
from lfusion.image.phantom import generate_phantom
from lfusion.model import EncoderConfig
from lfusion.model.input import InputSpec
from lfusion.protocol import StoredScore
from lfusion.training import TrainingConfig, train

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # MONAI Label's imports warn of their own future
    from monailabel_app.lib.datastore import StudiesDatastore
    from monailabel_app.lib.index.results import (
        RANKED,
        checkpoint_number,
        note_scored,
        pool_generation,
        store_contents,
        store_score,
        unscored,
    )

SIDE = 256
"""Pixels along each side of the images."""

GRID = 64
"""The same of the tiny network's input."""

LARGE, LARGE_SIDE = "large", 2048
"""Id and side of one more image, for an inference that takes its time."""

_DISTINCT = 8


def write_images(folder: Path) -> list[Path]:
    """Write a few phantoms of 256 × 256 pixels and their masks in a data set folder."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    images = []
    for seed in range(_DISTINCT):
        phantom = generate_phantom(seed)
        images.append(folder / "images" / f"phantom{seed}.png")
        _resized(phantom.image, SIDE, Image.Resampling.BILINEAR).save(images[-1])
        mask = _resized(phantom.mask.astype(np.uint8), SIDE, Image.Resampling.NEAREST)
        mask.save(folder / "masks" / images[-1].name)
    (folder / "labels.json").write_text('{"fetal head": 1}\n')
    return images


def train_tiny(dataset: Path, path: Path) -> None:
    """Train the tiny network for seconds: it is to be fast, not good."""
    config = TrainingConfig(
        encoder=EncoderConfig("tiny"),
        input=InputSpec(GRID),
        feature_dim=8,
        rank=2,
        steps=80,
        batch_size=4,
        learning_rate=1e-2,
        ssn_samples=4,
        average_decay=0.9,
        validate_every=80,
    )
    cases = Dataset.read(dataset)
    train(cases, config, validation=cases, device="cpu").save(path)


def make_pool(studies: Path, images: list[Path], count: int) -> Path:
    """Fill a folder with links to the images; the pool's size is all that grows."""
    studies.mkdir(parents=True)
    for number in range(count):
        os.link(images[number % len(images)], studies / f"image{number:06}.png")
    return studies


def labelled_store(dataset: Path, labels: Callable[[], Mapping[str, int]]) -> StudiesDatastore:
    """The images of a data set and their masks, in a studies folder beside it."""
    studies = dataset.with_name("labelled")
    shutil.copytree(dataset / "images", studies)
    shutil.copytree(dataset / "masks", studies / "labels" / "final")
    return StudiesDatastore(str(studies), labels, auto_reload=False, read_only=False)


def make_distinct(studies: Path, images: list[Path], count: int) -> Path:
    """Fill a folder with images of which no two are equal: each is to be scored."""
    studies.mkdir(parents=True)
    for number in range(count):
        pixels = np.asarray(Image.open(images[number % len(images)]))
        moved = np.roll(pixels, number // len(images), axis=1)
        Image.fromarray(moved).save(studies / f"image{number:06}.png")
    return studies


def write_large(source: Path, target: Path, side: int) -> None:
    """Write a copy of an image with more pixels."""
    pixels = np.asarray(Image.open(source))
    _resized(pixels, side, Image.Resampling.BILINEAR).save(target)


def seed_scores(studies: Path, checkpoint: Path) -> None:
    """Put every image of a folder into our index, each with a content and a score of its own.

    The images are links to a few files; a pool in use has as many contents as images.
    """
    checkpoint_id = Checkpoint.load(checkpoint).id
    store = StudiesDatastore(str(studies), dict, auto_reload=False, read_only=False)
    chance = random.Random(0)
    with store.index.write() as db:
        number = checkpoint_number(db, checkpoint_id)
        images = unscored(db, number, open_images=True, after=0, limit=1_000_000)
        for image in images:
            # The large image comes last: the masks that are saved have another size.
            scores = {n: 0.0 if image.id == LARGE else chance.random() for n in sorted(RANKED)}
            score = StoredScore(checkpoint_id=checkpoint_id, scores=scores)
            store_score(db, number, f"{image.number:064x}", score)
        store_contents(db, ((image, f"{image.number:064x}") for image in images))
        note_scored(db, number, pool_generation(db))
    store.close()


def _resized(pixels: NDArray[np.uint8], side: int, how: Image.Resampling) -> Image.Image:
    return Image.fromarray(pixels).resize((side, side), how)
