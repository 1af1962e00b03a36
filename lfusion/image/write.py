"""Masks and maps to files: whole or not at all, and where the image lies."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfusion.errors import ImageError, ImageWriteError
from lfusion.image.formats import suffix_of
from lfusion.image.grey import to_labels
from lfusion.image.image import Geometry, UltrasoundImage
from lfusion.image.pictures import write_picture
from lfusion.image.volumes import write_volume

_TIFF = (".tif", ".tiff")
_VOLUMES = (".nii.gz", ".nii", ".mha", ".nrrd")


def write_mask(
    path: str | os.PathLike[str],
    mask: NDArray[Any],
    like: UltrasoundImage | None = None,
    *,
    compress: bool = True,
) -> None:
    """Write a mask of class numbers as 8-bit integers.

    Args:
        path: `.png` or `.tif` (which hold no geometry), `.nii.gz`, `.nii`, `.mha` or `.nrrd`.
        mask: [height, width], class numbers from 0 to 255 as booleans, integers or whole floats;
            [frames, height, width] for the frames of a cine, not as `.png` or `.tif`.
        like: The image it belongs to, or the first frame, whose place in space the file gets.
        compress: Losslessly; some browsers' viewers cannot unpack a NRRD.

    Raises:
        ImageError: For another suffix, a mask that does not fit the image, or a file that
            cannot be written. An older file of that name is then still there.
    """
    suffixes = (".png", *_TIFF, *_VOLUMES) if mask.ndim == 2 else _VOLUMES
    # One tall picture: what holds for a mask holds for every frame of a stack.
    labels = to_labels(mask.reshape(-1, mask.shape[-1]) if mask.ndim == 3 else mask)
    _write(Path(path), labels.reshape(mask.shape), like, suffixes, compress=compress)


def write_map(
    path: str | os.PathLike[str],
    values: NDArray[np.floating[Any]],
    like: UltrasoundImage | None = None,
) -> None:
    """Write a map of real numbers as float32.

    Args:
        path: `.tif` (which holds no geometry), `.nii.gz`, `.nii`, `.mha` or `.nrrd`.
        values: [height, width].
        like: The image it belongs to, whose place in space the file gets.

    Raises:
        ImageError: As for `write_mask`; also for `.png`, which would round the values.
    """
    if values.ndim != 2 or values.size == 0:
        raise ImageError(f"expected a map [height, width], got shape {list(values.shape)}")
    _write(Path(path), values.astype(np.float32), like, (*_TIFF, *_VOLUMES))


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path to write to instead of `path`; the file takes its place when the block succeeds.

    A reader sees the old file or the whole new one, and after a failure nothing is left over.

    Args:
        path: Where the file belongs.

    Yields:
        A hidden path in the same folder, with the same suffix.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}{suffix_of(path)}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, where the system can (Windows cannot)."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(
    path: Path,
    values: NDArray[Any],
    like: UltrasoundImage | None,
    suffixes: tuple[str, ...],
    *,
    compress: bool = True,
) -> None:
    suffix = suffix_of(path)
    if suffix not in suffixes:
        raise ImageError(
            f"cannot write {path}: expected a lossless format ({', '.join(suffixes)}), "
            f"got {suffix or 'no suffix'}"
        )
    if like is not None and like.pixels.shape != values.shape[-2:]:
        raise ImageError(
            f"cannot write {path}: it has size {list(values.shape)}, "
            f"its image {list(like.pixels.shape)}; they must be equal"
        )
    geometry = Geometry.grid() if like is None else like.geometry
    try:
        with atomic_path(path) as temporary:
            if suffix in _VOLUMES:
                write_volume(temporary, values, geometry, compress=compress)
                _check_written(temporary, values)
            else:
                write_picture(temporary, values)
    except (OSError, RuntimeError) as error:  # SimpleITK's writers raise RuntimeError
        cause = error.strerror if isinstance(error, OSError) else "the writer of this format failed"
        raise ImageWriteError(
            f"{cause}; check that the folder exists and make room on its disk", path
        ) from error


def _check_written(path: Path, values: NDArray[Any]) -> None:
    """Read a volume back: on a full disk ITK writes a part of it and reports no error.

    Raises:
        OSError: The file holds something else than the values.
        RuntimeError: It cannot be read.
    """
    import SimpleITK  # as in `volumes`: it comes with the first volume

    written = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    if not np.array_equal(written.reshape(-1), values.reshape(-1), equal_nan=True):
        raise OSError(errno.EIO, "the file was not written completely")
