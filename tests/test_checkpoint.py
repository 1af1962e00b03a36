from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lfusion.checkpoint import Checkpoint
from lfusion.errors import CheckpointError


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.load(tiny_checkpoint)


def test_a_round_trip_changes_nothing(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "copy.safetensors"
    identity = checkpoint.save(path)
    again = Checkpoint.load(path)
    assert identity == checkpoint.id == again.id
    for name, tensor in checkpoint.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor), name
    assert torch.equal(again.posterior.ggn, checkpoint.posterior.ggn)
    assert torch.equal(again.posterior.weight, checkpoint.posterior.weight)
    assert again.posterior.prior_precision == checkpoint.posterior.prior_precision
    assert again.calibration.temperature == checkpoint.calibration.temperature
    assert again.labels == {"fetal head": 1}
    assert again.fingerprint == checkpoint.fingerprint
    assert [p.name for p in path.parent.iterdir()] == ["copy.safetensors"]


def test_the_id_follows_the_content(checkpoint: Checkpoint) -> None:
    other = replace(checkpoint, labels={"head": 1})
    assert other.id != checkpoint.id


def test_it_says_what_made_it(checkpoint: Checkpoint) -> None:
    made = checkpoint.fingerprint
    assert made.images == 8
    assert len(made.data) == 64
    assert made.config["steps"] == 80


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.01, 0.5, 0.999])
def test_a_truncated_file_says_so(tiny_checkpoint: Path, tmp_path: Path, share: float) -> None:
    data = tiny_checkpoint.read_bytes()
    path = tmp_path / "half.safetensors"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CheckpointError, match=r"half\.safetensors .* truncated"):
        Checkpoint.load(path)


def _rewrite(source: Path, target: Path, **changes: object) -> Path:
    """Copy a checkpoint with other values in its description."""
    data = source.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    content = json.loads(header["__metadata__"]["lfusion"]) | changes
    save_file(load_file(source), target, {"lfusion": json.dumps(content)})
    return target


def test_a_newer_file_asks_for_an_update(tiny_checkpoint: Path, tmp_path: Path) -> None:
    path = _rewrite(tiny_checkpoint, tmp_path / "new.safetensors", version=99)
    with pytest.raises(CheckpointError, match=r"version 99.* update lfusion"):
        Checkpoint.load(path)


@pytest.mark.parametrize(
    "metadata", [None, {"lfusion": "no json"}, {"lfusion": "[]"}, {"format": "pt"}]
)
def test_a_foreign_safetensors_file_is_told_apart(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata)
    with pytest.raises(CheckpointError, match="of something else"):
        Checkpoint.load(path)


def test_tensors_that_do_not_fit_the_description_are_damage(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.safetensors"
    _rewrite(tiny_checkpoint, path, posterior_temperature=-1.0)
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.load(path)
    tensors = load_file(tiny_checkpoint)
    del tensors["network.head.mean.weight"]
    data = tiny_checkpoint.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    save_file(tensors, path, header["__metadata__"])
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoint.load(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(CheckpointError, match="found none"):
            Checkpoint.load(path)


def test_weights_that_are_not_finite_are_never_written(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    broken = Checkpoint.load(tiny_checkpoint)
    with torch.no_grad():
        broken.network.head.mean.weight.fill_(torch.inf)
    path = tmp_path / "kept.safetensors"
    path.write_bytes(b"the old one")
    with pytest.raises(CheckpointError, match="not finite"):
        broken.save(path)
    assert path.read_bytes() == b"the old one"
    assert len(list(tmp_path.iterdir())) == 1
