"""Labelled images → checkpoint: fit the network, then the posterior, then the calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from lfusion import __version__
from lfusion.checkpoint import (
    Checkpoint,
    Fingerprint,
    head_weight,
    round_to_storage,
)
from lfusion.errors import TrainingError
from lfusion.image import Case, Dataset
from lfusion.measurement import reference_hc
from lfusion.model import (
    NetworkConfig,
    SegmentationNetwork,
    build_encoder,
    load_encoder_weights,
)
from lfusion.model.input import InputSpec
from lfusion.predictor import choose_device
from lfusion.training.cached_features import FeatureCache
from lfusion.training.calibrate import calibrate
from lfusion.training.config import TrainingConfig
from lfusion.training.corrections import favour_new, keep_start, weigh_corrections
from lfusion.training.curvature import looks_of, network_curvature
from lfusion.training.data import Sample, load_samples, load_unlabelled
from lfusion.training.fit import OnProgress, ShouldStop, fit_network
from lfusion.training.reference import fit_reference, reference_of
from lfusion.uncertainty import (
    Calibration,
    FullCurvature,
    LastLayerLaplace,
    fit_prior_precision,
)


def train(
    dataset: Dataset,
    config: TrainingConfig,
    *,
    start: Checkpoint | None = None,
    validation: Dataset | None = None,
    new: Collection[str] = (),
    cache: Path | None = None,
    not_annotated: Mapping[str, Collection[int]] | None = None,
    encoder_weights: Path | Literal["hub"] | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    device: str = "auto",
) -> Checkpoint:
    """Train on the labelled images of a dataset.

    Args:
        dataset: images with masks; its labels name the classes.
        config: hyperparameters.
        start: checkpoint to go on from. Its architecture and working grid are kept. Of its
            curvature, that of the images behind the first of a chain of warm starts is kept; those
            of later ones have to be in `dataset` again, and those of the first must not be, unless
            `dataset` is what it was trained on.
        validation: held-out labelled images for early stopping and calibration. Without them the
            last weights are taken and the calibration of `start` is kept if held-out images made
            it; otherwise the temperature is 1, and the usual range of the scores is that of the
            training images.
        new: ids of the images that `start` has not learned from; they are drawn more often.
        cache: folder that keeps what an encoder that stands still says.
        not_annotated: image id → numbers of the classes that nobody looked for in it: there they
            may be anywhere on the background of its mask.
        encoder_weights: local file with pretrained weights for a new network, or "hub" to fetch
            timm's own over the network.
        on_progress: called after each step of each stage.
        should_stop: asked before each optimiser step.
        device: a torch device, or "auto".

    Raises:
        TrainingError: nothing to train on, labels that do not fit `start`, a single image where
            what is normal is to be learned as well, or a diverging loss.
        DatasetError: a circumference in `meta.csv` is no positive number.
        TrainingStopped: `should_stop` said so.
        EncoderError: `encoder_weights` do not fit or cannot be fetched.
    """
    labels = _common_labels(dataset, start)
    network, spec = _initial_network(config, start, max(labels.values()) + 1, encoder_weights)
    frozen = None
    if start is None and encoder_weights is not None and config.reference:
        frozen = reference_of(network.encoder, config.encoder)
    if start is None and config.distance_features and frozen is None:
        raise TrainingError(
            "expected pretrained encoder weights for a distance-aware head, got none: without "
            "them a frozen copy knows nothing of appearance; give --encoder-weights"
        )
    network = network.to(choose_device(device))
    classes = network.config.classes
    samples = load_samples(dataset, spec, network.stride, classes)
    held_out = (
        load_samples(validation, spec, network.stride, classes)
        if validation is not None and validation.labelled()
        else []
    )
    if frozen is not None and len(samples) < 2:
        raise TrainingError(
            f"expected two labelled images or more to learn what is normal, got {len(samples)}; "
            "label another"
        )
    usual = _calibrated_on(dataset, start, validation if held_out else None)
    for case in usual:
        reference_hc(case)  # a cell that is no number is said before the long work, not after it
    left_out = not_annotated or {}
    learned = [replace(s, not_annotated=tuple(left_out.get(s.id, ()))) for s in samples]
    if start is not None:
        learned = weigh_corrections(network, favour_new(learned, new), config.correction_weight)
    fit_network(
        network,
        learned,
        config,
        validation=held_out,
        unlabelled=load_unlabelled(dataset, spec, network.stride) if config.semi_supervised else [],
        features=_features(network, config, cache),
        on_progress=on_progress,
        should_stop=should_stop,
    )
    if start is not None:
        keep_start(network, start.network.state_dict(), config.kept)
    round_to_storage(network)
    report = on_progress or (lambda _: None)
    reference, count = (None, config.distance_features)
    if start is not None:
        reference, count = start.reference, start.distance_features
    elif frozen is not None:
        reference = fit_reference(frozen, dataset.labelled().cases, config.seed, report)
    looks = looks_of(dataset, reference, count)
    own = network_curvature(network, samples, config.seed, report, looks)
    data = fingerprint(dataset)
    inherited = _inherited(start, data)
    ggn = own if inherited is None else inherited + own
    weight = head_weight(network, count)
    posterior = fit_prior_precision(LastLayerLaplace(weight, FullCurvature(ggn)))
    checkpoint = Checkpoint(
        network=network.cpu().requires_grad_(False),
        posterior=posterior,
        calibration=start.calibration if start else Calibration(),
        labels=labels,
        input=spec,
        fingerprint=Fingerprint(
            images=len(samples),
            data=data,
            code=__version__,
            parent=start.id if start else None,
            config=config.as_dict(),
        ),
        inherited_ggn=inherited,
        reference=reference,
        unlearned=_still_unlearned(start, samples),
    )
    if not usual:
        return checkpoint
    return calibrate(checkpoint, usual, report, held_out=bool(held_out), device=device)


def _calibrated_on(
    dataset: Dataset, start: Checkpoint | None, held_out: Dataset | None
) -> Sequence[Case]:
    """Return the images that say what is usual; none where the start keeps saying it."""
    if held_out is not None:
        return held_out.labelled().cases
    if start is not None and start.calibration.held_out:
        return ()
    return dataset.labelled().cases


def _features(
    network: SegmentationNetwork, config: TrainingConfig, folder: Path | None
) -> FeatureCache | None:
    if folder is None or config.trained == "all":
        return None
    return FeatureCache(folder, network, config.precision)


def _common_labels(dataset: Dataset, start: Checkpoint | None) -> dict[str, int]:
    labels = dict(dataset.labels)
    if not labels:
        raise TrainingError("the dataset names no labels; add labels.json or draw a mask")
    if start is not None and labels != dict(start.labels):
        raise TrainingError(
            f"expected the labels of the starting checkpoint, {dict(start.labels)}, got {labels}; "
            "train a new network for another set of structures, or start from "
            "lfusion.checkpoint.with_structures"
        )
    return labels


def _initial_network(
    config: TrainingConfig,
    start: Checkpoint | None,
    classes: int,
    weights: Path | Literal["hub"] | None,
) -> tuple[SegmentationNetwork, InputSpec]:
    if start is not None:
        network = SegmentationNetwork(start.network.config)
        network.load_state_dict(start.network.state_dict())
        return network, start.input
    return new_network(config, classes, weights), config.input


def new_network(
    config: TrainingConfig, classes: int, weights: Path | Literal["hub"] | None
) -> SegmentationNetwork:
    """Return an untrained network, the same for a seed.

    Args:
        config: architecture and seed.
        classes: C, background included.
        weights: local file with pretrained encoder weights, "hub" to fetch timm's own over the
            network, or None for random ones.

    Raises:
        EncoderError: they do not fit or cannot be fetched.
    """
    torch.manual_seed(config.seed)
    network = SegmentationNetwork(
        NetworkConfig(config.encoder, classes, config.feature_dim, config.rank, config.dropout)
    )
    if weights == "hub":
        fetched = build_encoder(config.encoder, pretrained=True)
        network.encoder.load_state_dict(fetched.state_dict())
    elif weights is not None:
        load_encoder_weights(network.encoder, weights)
    return network


def _still_unlearned(start: Checkpoint | None, samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return the structures new to `start` of which these samples show nothing either."""
    if start is None or not start.unlearned:
        return ()
    shown = torch.stack([sample.target.amax((1, 2)) for sample in samples]).amax(0) > 0
    return tuple(name for name in start.unlearned if not shown[start.labels[name] - 1])


def _inherited(start: Checkpoint | None, data: str) -> Tensor | None:
    """Curvature of images that are not in the new training set.

    A chain of warm starts sees the growing set of corrections each time anew; only what came
    before the chain is inherited, so no image counts twice.

    Args:
        start: of the training.
        data: fingerprint of the new training set.
    """
    if start is None or start.fingerprint.data == data:
        return None if start is None else start.inherited_ggn
    return start.posterior.ggn if start.inherited_ggn is None else start.inherited_ggn


def fingerprint(dataset: Dataset) -> str:
    """Return a SHA-256 over the ids, image files and mask files of a dataset's labelled cases."""
    digest = sha256()
    for case in dataset.labelled():
        assert case.mask_path is not None
        digest.update(case.id.encode())
        for path in (case.image_path, case.mask_path):
            digest.update(sha256(path.read_bytes()).digest())
    return digest.hexdigest()
