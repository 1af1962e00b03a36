"""What an encoder that stands still says, kept on disk from one retraining to the next."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lfusion.model import SegmentationNetwork
from lfusion.training.augment import apply_augmentation, draw_augmentation
from lfusion.training.config import Precision
from lfusion.training.data import Sample

VIEWS = 8
"""Augmented views of each image; a training without a cache draws a new one each time."""

LIMIT_BYTES = 1 << 30
"""What stays on disk; a view of 216 × 320 pixels takes 0.9 MB of bfloat16 with MobileNetV2."""


class FeatureCache:
    """Feature pyramids by encoder and by the very image that went into it.

    A file that is damaged or gone is made again, and one that cannot be written is done without, so
    the folder may be deleted and the disk be full at any time.

    Args:
        folder: where the files are; made when missing, and the oldest files in it are deleted.
        network: its encoder stands still; weights and configuration are part of the key.
        precision: of its arithmetic.
        limit_bytes: what earlier trainings may leave.
    """

    def __init__(
        self,
        folder: Path,
        network: SegmentationNetwork,
        precision: Precision,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        digest = sha256(f"{precision} {network.config.encoder}".encode())
        for weights in network.encoder.state_dict().values():
            digest.update(_bytes(weights))
        self._encoder = digest.digest()
        _delete_oldest(folder, limit_bytes)

    @torch.no_grad()
    def encode(self, network: SegmentationNetwork, image: Tensor) -> list[Tensor]:
        """Return what `network.encode` says to [batch, 1, height, width], finest map first.

        Args:
            network: with the encoder of this cache.
            image: in [0, 1].
        """
        files = [self._file(single) for single in image]
        found = [_read(file, image.device) for file in files]
        missing = [place for place, pyramid in enumerate(found) if pyramid is None]
        if missing:
            encoded = network.encode(image[missing])
            for row, place in enumerate(missing):
                pyramid = [level[row].clone() for level in encoded]
                _write(files[place], pyramid)
                found[place] = pyramid
        levels = zip(*(pyramid for pyramid in found if pyramid is not None), strict=True)
        return [torch.stack(level).to(memory_format=torch.channels_last) for level in levels]

    def _file(self, image: Tensor) -> Path:
        digest = sha256(self._encoder + str(tuple(image.shape)).encode() + _bytes(image))
        return self._folder / f"{digest.hexdigest()}.safetensors"


def repeated_views(
    samples: Sequence[Sample], canvas: tuple[int, int], chance: torch.Generator
) -> tuple[Tensor, ...]:
    """Apply to each sample one of the `VIEWS` augmentations that it has for ever.

    Args:
        samples: of a batch.
        canvas: (height, width), the same for all batches.
        chance: chooses the view.

    Returns:
        What `apply_augmentation` returns, stacked.
    """
    chosen = torch.randint(VIEWS, (len(samples),), generator=chance).tolist()
    views = []
    for sample, number in zip(samples, chosen, strict=True):
        seed = int.from_bytes(sha256(f"{number} {sample.id}".encode()).digest()[:4], "big")
        draw = draw_augmentation(torch.Generator().manual_seed(seed))
        views.append(apply_augmentation(sample, draw, canvas))
    return tuple(torch.stack(parts) for parts in zip(*views, strict=True))


def _bytes(values: Tensor) -> bytes:
    return values.detach().cpu().contiguous().numpy().tobytes()


def _read(file: Path, device: torch.device) -> list[Tensor] | None:
    try:
        levels = load_file(file, device=str(device))
        os.utime(file)
    except (FileNotFoundError, SafetensorError):
        return None
    return [levels[str(number)] for number in range(len(levels))]


def _write(file: Path, pyramid: Sequence[Tensor]) -> None:
    """Whoever reads meanwhile finds nothing; what a crash of the machine damages is made anew."""
    temporary = file.with_name(f".{uuid.uuid4().hex}")
    try:
        save_file({str(n): level.contiguous() for n, level in enumerate(pyramid)}, temporary)
        os.replace(temporary, file)
    except (OSError, SafetensorError):
        pass  # what is not kept is computed again
    finally:
        temporary.unlink(missing_ok=True)


def _delete_oldest(folder: Path, limit_bytes: int) -> None:
    files = sorted((f.stat().st_mtime_ns, f.stat().st_size, f) for f in folder.iterdir())
    total = sum(size for _, size, _ in files)
    for _, size, file in files:
        if total <= limit_bytes:
            break
        file.unlink(missing_ok=True)
        total -= size
