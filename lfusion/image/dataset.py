"""A folder of images, masks and `meta.csv` as a sequence of cases."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lfusion.errors import DatasetError, ImageError
from lfusion.image.formats import IMAGE_SUFFIXES, MASK_SUFFIXES
from lfusion.image.image import UltrasoundImage
from lfusion.image.metadata import MetaRow, files_by_id, read_labels, read_meta
from lfusion.image.read import read_image, read_mask, read_size
from lfusion.types import LabelMap, PixelSize


@dataclass(frozen=True)
class Case:
    """One image of a dataset and what is known about it; the files are read on demand.

    Attributes:
        id: The name of the image file without its suffix.
        image_path: The image file.
        mask_path: The mask file, None when the image is unlabelled.
        split: Such as train, val or test; None when not given.
        group: Exam or patient; images of one group belong into one split.
        pixel_size_mm: (row, column) size that wins over the file's own; None when not given.
        meta: The other columns of `meta.csv` as text.
    """

    id: str
    image_path: Path
    mask_path: Path | None = None
    split: str | None = None
    group: str | None = None
    pixel_size_mm: PixelSize | None = None
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)

    def read(self) -> UltrasoundImage:
        """Read the image.

        Raises:
            ImageError: If the file cannot be read.
        """
        image = read_image(self.image_path)
        if self.pixel_size_mm is None:
            return image
        return replace(image, pixel_size_mm=self.pixel_size_mm)

    def read_mask(self) -> LabelMap:
        """Read the mask.

        Returns:
            [height, width] class numbers, of the size of the image.

        Raises:
            ImageError: If a file cannot be read.
            DatasetError: If there is no mask, or its size is not that of the image.
        """
        if self.mask_path is None:
            raise DatasetError(f"case {self.id} has no mask; expected one in the folder masks")
        mask, size = read_mask(self.mask_path), read_size(self.image_path)
        if mask.shape != size:
            raise DatasetError(
                f"the mask {self.mask_path} has size {list(mask.shape)}, its image {list(size)} "
                "[height, width]; they must be equal: draw the mask on the image as it is stored"
            )
        return mask


@dataclass(frozen=True)
class Dataset:
    """Cases and the names of the classes in their masks.

    Attributes:
        cases: The cases; ids are unique. No cases at all is a valid dataset.
        labels: Class numbers by name; background (0) is not named.
        root: The folder it was read from, None when it was put together otherwise.
    """

    cases: tuple[Case, ...]
    labels: dict[str, int] = field(default_factory=dict, hash=False)
    root: Path | None = None

    def __post_init__(self) -> None:
        """Refuse two cases of one id: scores and masks are stored by it."""
        seen: set[str] = set()
        for case in self.cases:
            if case.id in seen:
                raise DatasetError(f"expected each id once, got {case.id} twice; rename one image")
            seen.add(case.id)

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        """The cases in order."""
        return iter(self.cases)

    @classmethod
    def read(cls, root: str | os.PathLike[str]) -> Dataset:
        """Read a dataset folder: `images/ID.png`, `masks/ID.png`, `meta.csv`, `labels.json`.

        Only `images` is required, and any supported suffix will do. Images that `meta.csv` does
        not name belong to no split. Without `labels.json` the masks are read once to find their
        classes, which are then named "class 1", "class 2", ...

        Args:
            root: The folder.

        Returns:
            All cases, sorted by id.

        Raises:
            DatasetError: If the folder does not follow the convention.
        """
        root = Path(root)
        images = _images_of(root)
        masks_folder, meta_path, labels_path = (
            root / name for name in ("masks", "meta.csv", "labels.json")
        )
        masks = files_by_id(masks_folder, MASK_SUFFIXES) if masks_folder.is_dir() else {}
        rows = read_meta(meta_path) if meta_path.exists() else {}
        _check_known(masks, images, f"{masks_folder} holds a mask")
        _check_known(rows, images, f"{meta_path} has a row")
        cases = tuple(
            _to_case(name, path, masks.get(name), rows.get(name, MetaRow()))
            for name, path in images.items()
        )
        labels = read_labels(labels_path) if labels_path.exists() else _found_labels(cases)
        return cls(cases, labels, root)

    @classmethod
    def join(cls, datasets: Sequence[Dataset]) -> Dataset:
        """Put datasets of the same classes together, in the given order.

        Args:
            datasets: At least one; ids are unique over all of them.

        Raises:
            DatasetError: If the datasets name their classes differently, or share an id.
        """
        first, *others = datasets
        for other in others:
            if other.labels != first.labels:
                raise DatasetError(
                    f"expected datasets with the same labels, got {first.labels} in {first.root} "
                    f"and {other.labels} in {other.root}; name them alike in labels.json"
                )
        if not others:
            return first
        return cls(tuple(case for dataset in datasets for case in dataset), first.labels)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of all splits, sorted."""
        return tuple(sorted({case.split for case in self.cases if case.split is not None}))

    def split(self, name: str) -> Dataset:
        """The cases of one split.

        Args:
            name: Such as train, val or test.

        Returns:
            A dataset with the same labels.

        Raises:
            DatasetError: If no case belongs to a split of this name.
        """
        if name not in self.splits:
            known = ", ".join(self.splits) or "none: add a column split to meta.csv"
            raise DatasetError(
                f"{self.root or 'the dataset'} has no split {name!r}; its splits are {known}"
            )
        return replace(self, cases=tuple(case for case in self.cases if case.split == name))

    def labelled(self) -> Dataset:
        """The cases that have a mask."""
        return replace(self, cases=tuple(case for case in self.cases if case.mask_path is not None))

    def unlabelled(self) -> Dataset:
        """The cases that have no mask."""
        return replace(self, cases=tuple(case for case in self.cases if case.mask_path is None))


def _images_of(root: Path) -> dict[str, Path]:
    folder = root / "images"
    if not folder.is_dir():
        raise DatasetError(
            f"{root}: expected a dataset folder with a folder images in it, found none; "
            "put the images into images/ID.png"
        )
    images = files_by_id(folder, IMAGE_SUFFIXES)
    if not images:
        raise DatasetError(
            f"{folder}: expected images that end in {', '.join(IMAGE_SUFFIXES)}, found none"
        )
    return images


def _check_known(names: Mapping[str, object], images: Mapping[str, Path], what: str) -> None:
    unknown = sorted(set(names) - set(images))
    if unknown:
        others = f" and {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise DatasetError(
            f"{what} for {unknown[0]}{others}, which the folder images does not have; "
            "add the image, or name both alike"
        )


def _to_case(name: str, image_path: Path, mask_path: Path | None, row: MetaRow) -> Case:
    return Case(name, image_path, mask_path, row.split, row.group, row.pixel_size_mm, row.meta)


def _found_labels(cases: tuple[Case, ...]) -> dict[str, int]:
    present = np.zeros(256, dtype=np.bool_)
    for case in cases:
        if case.mask_path is not None:
            try:
                present[np.bincount(read_mask(case.mask_path).ravel(), minlength=256) > 0] = True
            except ImageError as error:
                raise DatasetError(str(error)) from error
    numbers = np.flatnonzero(present)
    highest = int(numbers.max(initial=0))
    if highest == 255:
        raise DatasetError(
            "expected masks of class numbers 1, 2, ..., got the value 255, which looks like a "
            "black-and-white picture; replace 255 by the class number, or name it in labels.json"
        )
    return {f"class {number}": number for number in range(1, highest + 1)}
