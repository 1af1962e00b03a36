"""One safetensors file with everything a prediction needs.

Network weights (float16), the curvature of the head, the calibration, the frozen encoder with the
density of normal images, the label names, the working grid and where it all came from. The MAP
weights of the posterior are those of the network, so they are not stored twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lfusion.checkpoint.reference import Reference, reference_content, restored_reference
from lfusion.checkpoint.storage import arrays, below, half
from lfusion.errors import CheckpointError, LFusionError
from lfusion.model import NetworkConfig, SegmentationNetwork
from lfusion.model.input import InputSpec
from lfusion.uncertainty import Calibration, FullCurvature, LastLayerLaplace
from lfusion.uncertainty.quality import QualityModel

FORMAT = "lfusion-checkpoint"
VERSION = 1
_NETWORK = "network."
_SCORES = "calibration.reference."
_ERRORS = "calibration.errors."
_FROZEN = "reference."


@dataclass(frozen=True)
class Fingerprint:
    """What made a checkpoint.

    Attributes:
        images: number of training images.
        data: SHA-256 over the ids, images and masks of the training set.
        code: version of lfusion.
        parent: id of the checkpoint that the training started from, if any.
        config: the training configuration.
    """

    images: int = 0
    data: str = ""
    code: str = ""
    parent: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained, fitted and calibrated model.

    Attributes:
        network: in eval mode, on the CPU; never modified after this was made.
        posterior: over the network's mean head.
        calibration: temperature and reference scores.
        labels: name → class number, background (0) left out.
        input: the working grid.
        fingerprint: what made it.
        inherited_ggn: the part of `posterior.ggn` that comes from images of an ancestor and not
            from this training set; a warm start keeps it.
        reference: what normal images look like; None for a network without pretrained weights.
        unlearned: names among `labels` that no mask has shown it yet; see `with_structures`.
    """

    network: SegmentationNetwork
    posterior: LastLayerLaplace
    calibration: Calibration
    labels: Mapping[str, int]
    input: InputSpec
    fingerprint: Fingerprint
    inherited_ggn: Tensor | None = None
    reference: Reference | None = None
    unlearned: tuple[str, ...] = ()

    @property
    def distance_features(self) -> int:
        """Number of appearance features that the posterior sees beside φ (0: plain head)."""
        return self.posterior.weight.shape[1] - self.network.config.feature_dim - 1

    def to_bytes(self) -> bytes:
        """Return the file's content; equal checkpoints give equal bytes.

        Raises:
            CheckpointError: a weight does not fit float16.
        """
        tensors = {_NETWORK + k: half(k, v) for k, v in self.network.state_dict().items()}
        tensors["posterior.ggn"] = self.posterior.ggn.cpu().double()
        if self.inherited_ggn is not None:
            tensors["posterior.inherited_ggn"] = self.inherited_ggn.cpu().double()
        calibration = self.calibration
        for prefix, values in ((_SCORES, calibration.reference), (_ERRORS, calibration.errors)):
            tensors |= {prefix + name: torch.from_numpy(array) for name, array in values.items()}
        described = None
        if self.reference is not None:
            described, frozen = reference_content(self.reference)
            tensors |= {_FROZEN + name: value for name, value in frozen.items()}
        content = {
            "format": FORMAT,
            "version": VERSION,
            "network": self.network.config.as_dict(),
            "prior_precision": self.posterior.prior_precision,
            "posterior_temperature": self.posterior.posterior_temperature,
            "calibration_temperature": calibration.temperature,
            "bands": {name: list(band) for name, band in calibration.bands.items()},
            "quality": None if calibration.quality is None else asdict(calibration.quality),
            "reference": described,
            "labels": dict(self.labels),
            "input": asdict(self.input),
            "fingerprint": asdict(self.fingerprint),
        }
        if self.unlearned:
            content["unlearned"] = list(self.unlearned)
        # one key only: safetensors does not keep the order of several
        return save(tensors, {"lfusion": json.dumps(content, sort_keys=True)})

    def save(self, path: Path) -> str:
        """Write the checkpoint atomically and return its id.

        A reader sees the old file or the new one, also after a crash in between.
        """
        data = self.to_bytes()
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
        temporary.chmod(0o644)
        temporary.replace(path)
        return _identify(data)

    @cached_property
    def id(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the file's content."""
        return _identify(self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises:
            CheckpointError: missing, truncated, foreign or newer file, or tensors that do not
                fit the described network.
        """
        if not path.is_file():
            raise CheckpointError(f"expected a checkpoint file, found none at {path}")
        data = path.read_bytes()
        try:
            tensors = load(data)
        except SafetensorError as error:
            raise CheckpointError(
                f"{path.name} ({len(data)} bytes) is truncated or no safetensors file ({error}); "
                "copy it again or train a new one with `lfusion train`"
            ) from error
        content = _content(path.name, data)
        try:
            checkpoint = _assemble(content, tensors)
        except (KeyError, TypeError, ValueError, RuntimeError, LFusionError) as error:
            raise CheckpointError(
                f"{path.name} is damaged: its tensors and its description do not belong together "
                f"({error}); copy it again or train a new one with `lfusion train`"
            ) from error
        checkpoint.__dict__["id"] = _identify(data)  # saves writing it out to know
        return checkpoint


def default_checkpoint_path() -> Path:
    """Return the path of the checkpoint shipped with the package: fetal head, HC18.

    Raises:
        CheckpointError: the package was installed without its weights.
    """
    path = Path(str(files("lfusion") / "weights" / "fetal_head.safetensors"))
    if not path.is_file():
        raise CheckpointError(
            "this installation carries no default checkpoint; reinstall lfusion or name one with "
            "--checkpoint"
        )
    return path


@torch.no_grad()
def round_to_storage(network: SegmentationNetwork) -> None:
    """Round the weights to what a file keeps, so that the posterior is fitted on just those."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())


def head_weight(network: SegmentationNetwork, distance_features: int = 0) -> Tensor:
    """Return the MAP weights of the mean head, [C, D + A + 1] float64, bias last.

    Args:
        network: whose head.
        distance_features: A appearance features after φ, whose weights are zero.
    """
    mean = network.head.mean
    assert mean.bias is not None
    weight = mean.weight.flatten(1)
    parts = (weight, weight.new_zeros(len(weight), distance_features), mean.bias[:, None])
    return torch.cat(parts, 1).detach().double().cpu()


def _identify(data: bytes) -> str:
    return sha256(data).hexdigest()[:12]


def _content(name: str, data: bytes) -> dict[str, Any]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = header.get("__metadata__", {}).get("lfusion")
    try:
        content = json.loads(text) if text else {}
    except ValueError:
        content = {}
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{name} is a safetensors file of something else, expected one written by "
            "`lfusion train`; encoder weights go to `lfusion train --encoder-weights`"
        )
    version = content.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise CheckpointError(
            f"{name} has checkpoint version {version}, this lfusion reads up to {VERSION}; "
            "update lfusion"
        )
    return content


def _assemble(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    network = SegmentationNetwork(NetworkConfig.from_dict(content["network"]))
    network.load_state_dict(below(_NETWORK, tensors), strict=True)
    ggn = tensors["posterior.ggn"]
    plain = head_weight(network)
    distance_features = len(ggn) // len(plain) - plain.shape[1]
    described = content.get("reference")
    quality = content.get("quality")
    return Checkpoint(
        network=network.eval().requires_grad_(False),
        posterior=LastLayerLaplace(
            head_weight(network, distance_features),
            FullCurvature(ggn),
            float(content["prior_precision"]),
            float(content["posterior_temperature"]),
        ),
        calibration=Calibration(
            temperature=float(content["calibration_temperature"]),
            reference=arrays(_SCORES, tensors),
            bands={name: (low, high) for name, (low, high) in content.get("bands", {}).items()},
            quality=None if quality is None else QualityModel.from_dict(quality),
            errors=arrays(_ERRORS, tensors),
        ),
        labels={str(k): int(v) for k, v in content["labels"].items()},
        input=InputSpec(**content["input"]),
        fingerprint=Fingerprint(**content["fingerprint"]),
        inherited_ggn=tensors.get("posterior.inherited_ggn"),
        reference=None
        if described is None
        else restored_reference(described, below(_FROZEN, tensors)),
        unlearned=tuple(map(str, content.get("unlearned", ()))),
    )
