"""Folders of images that the model was not made for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lfusion.errors import DatasetError
from lfusion.image import Case, Dataset
from lfusion.image.annotations import image_files, notice


def read_foreign(folders: Sequence[Path], split: str) -> dict[str, Dataset]:
    """Read folders of images out of distribution, by name of the folder.

    Args:
        folders: each a dataset folder with `images/` in it, of which the split is taken where it
            has that split and all images where it has not, or a plain folder of images.
        split: such as test.

    Raises:
        DatasetError: no images, or two folders of one name.
    """
    found: dict[str, Dataset] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in found:
            raise DatasetError(f"expected folders of different names, got {name} twice; rename one")
        dataset = _read(folder)
        found[name] = dataset.split(split) if split in dataset.splits else dataset
    return found


def _read(folder: Path) -> Dataset:
    if (folder / "images").is_dir():
        return Dataset.read(folder)
    images, passed = image_files(folder) if folder.is_dir() else ({}, [])
    left = notice(passed)
    if not images:
        raise DatasetError(
            f"{folder}: expected a folder of images, or one with a folder images in it, found none"
            f"{f'; {left}' if left else ''}"
        )
    cases = tuple(Case(name, path) for name, path in images.items())
    return Dataset(cases, root=folder, notice=left)
