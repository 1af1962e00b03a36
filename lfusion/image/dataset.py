"""A folder of images, masks and `meta.csv` as a sequence of cases."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lfusion.errors import DatasetError, ImageError
from lfusion.image.annotations import (
    PassedOver,
    image_files,
    is_annotation_folder,
    is_image,
    mask_files,
    notice,
)
from lfusion.image.classes import check_class_numbers, unnamed_classes
from lfusion.image.formats import IMAGE_SUFFIXES
from lfusion.image.image import UltrasoundImage
from lfusion.image.masks import read_mask_values, read_placed_mask
from lfusion.image.metadata import MetaRow, match_rows, read_labels, read_meta
from lfusion.image.read import read_image
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
        labels: Class number by name, for masks that name their segments.
    """

    id: str
    image_path: Path
    mask_path: Path | None = None
    split: str | None = None
    group: str | None = None
    pixel_size_mm: PixelSize | None = None
    meta: Mapping[str, str] = field(default_factory=dict, hash=False)
    labels: Mapping[str, int] = field(default_factory=dict, hash=False, compare=False)

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
        """Read the mask, laid on the image by geometry; of a cine that of its middle frame.

        Returns:
            [height, width] class numbers, of the size of the image.

        Raises:
            ImageError: If a file cannot be read, or the mask has another size or place than the
                image.
            DatasetError: If there is no mask.
        """
        if self.mask_path is None:
            raise DatasetError(f"case {self.id} has no mask; expected one in the folder masks")
        frames = read_placed_mask(self.mask_path, self.image_path, self.labels).frames
        middle: LabelMap = frames[len(frames) // 2]
        return middle


@dataclass(frozen=True)
class Dataset:
    """Cases and the names of the classes in their masks.

    Attributes:
        cases: The cases; ids are unique. No cases at all is a valid dataset.
        labels: Class numbers by name; background (0) is not named.
        root: The folder it was read from, None when it was put together otherwise.
        notice: One line on the files of the folder that were passed over, None without any.
    """

    cases: tuple[Case, ...]
    labels: dict[str, int] = field(default_factory=dict, hash=False)
    root: Path | None = None
    notice: str | None = field(default=None, compare=False)

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
        not name belong to no split. The masks are read once to check their values. Without
        `labels.json` their classes are named "class 1", "class 2", ..., or as the segments of
        3D Slicer are.

        Args:
            root: The folder.

        Returns:
            All cases, sorted by id.

        Raises:
            DatasetError: If the folder does not follow the convention, or a mask cannot be read
                or holds other values than class numbers.
        """
        root = Path(root)
        images, passed = _images_of(root)
        masks_folder, meta_path, labels_path = (
            root / name for name in ("masks", "meta.csv", "labels.json")
        )
        masks, left = mask_files(masks_folder) if masks_folder.is_dir() else ({}, [])
        rows = read_meta(meta_path) if meta_path.exists() else {}
        matched, unknown = match_rows(rows, images, meta_path)
        _check_known(masks.keys() - images.keys(), f"{masks_folder} holds a mask")
        _check_known(unknown, f"{meta_path} has a row")
        given = read_labels(labels_path) if labels_path.exists() else None
        labels = _checked_labels(masks.values(), given)
        cases = tuple(
            _to_case(name, path, masks.get(name), matched.get(name, MetaRow()), labels)
            for name, path in images.items()
        )
        return cls(cases, labels, root, notice([*passed, *left, *_passed_over_in(root)]))

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

    def renamed(self, labels: Mapping[str, int]) -> Dataset:
        """The same cases with other names of their classes.

        Args:
            labels: Class number by name.
        """
        cases = tuple(replace(case, labels=dict(labels)) for case in self.cases)
        return replace(self, cases=cases, labels=dict(labels))

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


def _images_of(root: Path) -> tuple[dict[str, Path], list[PassedOver]]:
    folder = root / "images"
    if not folder.is_dir():
        raise DatasetError(
            f"{root}: expected a dataset folder with a folder images in it, found none; "
            "put the images into images/ID.png"
        )
    images, passed = image_files(folder)
    if not images:
        left = notice(passed)
        raise DatasetError(
            f"{folder}: expected images that end in {', '.join(IMAGE_SUFFIXES)}, or DICOM files "
            f"of any name; found none{f'; {left}' if left else ''}"
        )
    return images, passed


def _passed_over_in(root: Path) -> Iterator[PassedOver]:
    """Images and annotations that lie beside the folders images and masks."""
    for path in sorted(root.iterdir()):
        if path.is_dir() and path.name != "masks" and is_annotation_folder(path.name):
            yield PassedOver(f"{path.name}/", "annotations are read from masks/ only")
        elif path.is_file() and is_image(path):
            yield PassedOver(path.name, "images are read from images/ only")


def _check_known(unknown: Iterable[str], what: str) -> None:
    names = sorted(unknown)
    if names:
        others = f" and {len(names) - 1} others" if len(names) > 1 else ""
        raise DatasetError(
            f"{what} for {names[0]}{others}, which the folder images does not have; "
            "add the image, or name both alike"
        )


def _to_case(
    name: str, image: Path, mask: Path | None, row: MetaRow, labels: Mapping[str, int]
) -> Case:
    return Case(name, image, mask, row.split, row.group, row.pixel_size_mm, row.meta, labels)


def _checked_labels(masks: Iterable[Path], given: Mapping[str, int] | None) -> dict[str, int]:
    """Class number by name, after a look at the values of all masks.

    Args:
        masks: Files.
        given: From `labels.json`; None without one.
    """
    first: dict[int, Path] = {}
    names: dict[str, int] = {}
    for mask in masks:
        try:
            frames, segments = read_mask_values(mask)
        except ImageError as error:
            raise DatasetError(str(error)) from error
        if segments and given is not None:
            continue  # laid on the image by the names of its segments
        found = np.flatnonzero(np.bincount(frames.ravel(), minlength=256)).tolist()
        if given is not None:
            try:
                check_class_numbers(found, given)
            except DatasetError as error:
                raise DatasetError(f"{mask}: {error}") from error
        for segment in segments:
            if names.setdefault(segment.name, segment.value) != segment.value:
                raise DatasetError(
                    f"{mask}: the segment {segment.name!r} has value {segment.value}, in other "
                    f"masks {names[segment.name]}; name the classes in labels.json"
                )
        first = {**dict.fromkeys(found, mask), **first}
    if given is not None:
        return dict(given)
    values = sorted(first)
    try:
        highest = unnamed_classes(values)
    except DatasetError as error:
        raise DatasetError(f"the masks, such as {first[values[-1]]}: {error}") from error
    named = {number: name for name, number in names.items()}
    return {named.get(n, f"class {n}"): n for n in range(1, highest + 1)}
