"""Masks laid on their images: every order of axes, other samplings, and other places."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image import Geometry, read_mask
from lfusion.image.decode import open_image
from lfusion.image.placement import describe_geometry, place_mask, same_grid, stored_on

if TYPE_CHECKING:
    from tests.support.volume_files import sitk
else:
    from volume_files import sitk

_SIZE = (4, 5, 6)
_ORIENTATIONS = [
    (order, signs)
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def _classes(size: tuple[int, ...] = _SIZE) -> NDArray[np.uint8]:
    return (np.arange(np.prod(size)) % 251).astype(np.uint8).reshape(size)


def _geometry(image: Any) -> Geometry:
    return Geometry(image.GetSpacing(), image.GetOrigin(), image.GetDirection(), physical=True)


def _volume(values: NDArray[Any], rotation: NDArray[Any], origin: Any = (10, -20, 30)) -> Any:
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.2, 0.3, 1.5))
    image.SetOrigin(origin)
    image.SetDirection(rotation.ravel().tolist())
    return image


def _rotation(seed: int) -> NDArray[np.float64]:
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return np.array(matrix)


@pytest.mark.parametrize(("order", "signs"), _ORIENTATIONS)
@pytest.mark.parametrize("rotation", [np.eye(3), _rotation(1)], ids=["upright", "oblique"])
def test_every_order_of_axes_is_undone_exactly(
    order: tuple[int, ...], signs: tuple[int, ...], rotation: NDArray[Any]
) -> None:
    image = _volume(_classes(), rotation)
    flips = [sign < 0 for sign in signs]
    mask = sitk.Flip(sitk.PermuteAxes(image, order), flips)
    laid = place_mask(sitk.GetArrayFromImage(mask), _geometry(mask), _geometry(image), _SIZE)
    np.testing.assert_array_equal(laid, _classes())
    assert laid.dtype == np.uint8


@given(
    orientation=st.sampled_from(_ORIENTATIONS),
    size=st.tuples(*[st.integers(1, 5)] * 3),
    seed=st.integers(0, 50),
    shift=st.tuples(*[st.floats(-0.4, 0.4)] * 3),
)
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_a_shift_of_less_than_half_a_pixel_changes_nothing(
    orientation: Any, size: tuple[int, int, int], seed: int, shift: tuple[float, ...]
) -> None:
    order, signs = orientation
    image = _volume(_classes(size), _rotation(seed))
    mask = sitk.Flip(sitk.PermuteAxes(image, order), [sign < 0 for sign in signs])
    moved = image.TransformContinuousIndexToPhysicalPoint(shift)
    mask.SetOrigin(
        (np.array(mask.GetOrigin()) + np.array(moved) - np.array(image.GetOrigin())).tolist()
    )
    laid = place_mask(sitk.GetArrayFromImage(mask), _geometry(mask), _geometry(image), size)
    np.testing.assert_array_equal(laid, _classes(size))


@pytest.mark.parametrize("factor", [(2, 2, 1), (1 / 3, 1 / 3, 1), (3, 1, 2), (0.7134, 1.3717, 1)])
def test_other_samplings_of_the_same_place_are_those_of_itk(factor: tuple[float, ...]) -> None:
    image = _volume(_classes((3, 40, 50)), _rotation(2))
    size = [round(length / step) + 2 for length, step in zip(image.GetSize(), factor, strict=True)]
    spacing = [old * step for old, step in zip(image.GetSpacing(), factor, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint([0.5 * (f - 1) - f for f in factor])
    mask = sitk.Image(size, sitk.sitkUInt8)
    mask.SetSpacing(spacing)
    mask.SetOrigin(origin)
    mask.SetDirection(image.GetDirection())
    values = sitk.GetArrayFromImage(mask)
    values[:] = np.random.default_rng(0).integers(0, 3, values.shape)
    filled = sitk.GetImageFromArray(values)
    filled.CopyInformation(mask)
    expected = sitk.Resample(filled, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    laid = place_mask(values, _geometry(mask), _geometry(image), (3, 40, 50))
    # Both round, and differ only where a pixel lies in the middle of two voxels.
    assert (laid == sitk.GetArrayFromImage(expected)).mean() > 0.99
    assert set(np.unique(laid)) <= {0, 1, 2}


def test_a_larger_mask_is_cut_to_the_image() -> None:
    image = _volume(_classes((8, 9, 10)), _rotation(4))
    inner = image[2:8, 3:8, 1:5]
    laid = place_mask(_classes((8, 9, 10)), _geometry(image), _geometry(inner), (4, 5, 6))
    np.testing.assert_array_equal(laid, sitk.GetArrayFromImage(inner))


def test_a_part_of_the_image_is_laid_only_where_that_is_allowed() -> None:
    image = _volume(_classes((8, 9, 10)), _rotation(4))
    part = sitk.Flip(image[2:8, 3:8, 1:5], (True, False, True))
    values, geometry = sitk.GetArrayFromImage(part), _geometry(part)
    with pytest.raises(ImageError, match="lies elsewhere"):
        place_mask(values, geometry, _geometry(image), (8, 9, 10))
    laid = place_mask(values, geometry, _geometry(image), (8, 9, 10), cropped=True)
    expected = np.zeros((8, 9, 10), np.uint8)
    expected[1:5, 3:8, 2:8] = _classes((8, 9, 10))[1:5, 3:8, 2:8]
    np.testing.assert_array_equal(laid, expected)
    part.SetOrigin((99, 0, 0))
    with pytest.raises(ImageError, match="lies elsewhere"):
        place_mask(values, _geometry(part), _geometry(image), (8, 9, 10), cropped=True)


@pytest.mark.parametrize("shift", [1, -1, 0.6, 200])
@pytest.mark.parametrize("axis", range(3))
def test_a_mask_that_lies_elsewhere_is_refused_with_both_geometries(
    shift: float, axis: int
) -> None:
    image = _volume(_classes(), np.eye(3))
    mask = _volume(_classes(), np.eye(3))
    index = [0.0, 0.0, 0.0]
    index[axis] = shift
    mask.SetOrigin(image.TransformContinuousIndexToPhysicalPoint(index))
    with pytest.raises(ImageError) as caught:
        place_mask(_classes(), _geometry(mask), _geometry(image), _SIZE)
    for geometry in (_geometry(mask), _geometry(image)):
        assert describe_geometry(geometry) in caught.value.reason
    assert "origin (10, -20, 30), spacing (0.2, 0.3, 1.5)" in caught.value.reason


def test_a_mask_that_is_turned_otherwise_is_refused() -> None:
    image = _volume(_classes((1, 90, 100)), np.eye(3))
    angle = np.deg2rad(30)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    mask = _volume(_classes((1, 90, 100)), turn)
    with pytest.raises(ImageError, match="lies elsewhere"):
        place_mask(_classes((1, 90, 100)), _geometry(mask), _geometry(image), (1, 90, 100))


_GRID3 = Geometry((1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1), physical=True)
_RAS3 = Geometry((1, 1, 1), (0, 0, 0), (-1, 0, 0, 0, -1, 0, 0, 0, 1), physical=True)
_PLACED = Geometry((0.2, 0.2, 1), (5, 6, 7), (1, 0, 0, 0, 1, 0, 0, 0, 1), physical=True)


@pytest.mark.parametrize(
    ("mask", "image"),
    [
        (_PLACED, Geometry.grid()),
        (_GRID3, Geometry.grid()),
        (_RAS3, Geometry.grid()),
        (Geometry.grid(), _PLACED),
        (_GRID3, _PLACED),
        (_RAS3, _PLACED),
        (_RAS3, _GRID3),
        (Geometry.grid(), Geometry.grid()),
        (Geometry((2, 2), (0, 0), (1, 0, 0, 1), physical=True), Geometry.grid()),
    ],
)
def test_without_a_place_in_space_only_the_size_counts(mask: Geometry, image: Geometry) -> None:
    classes = _classes((1, 5, 6))
    np.testing.assert_array_equal(place_mask(classes, mask, image, (1, 5, 6)), classes)
    with pytest.raises(ImageError, match="mask has 1 x 5 x 6 pixels, its image 1 x 6 x 5"):
        place_mask(classes, mask, image, (1, 6, 5))


def test_unit_steps_are_laid_by_geometry_where_that_fits() -> None:
    image = Geometry((1, 1, 1), (-5, -4, 0), _GRID3.direction, physical=True)
    laid = place_mask(_classes((1, 5, 6)), _RAS3, image, (1, 5, 6))
    np.testing.assert_array_equal(laid, _classes((1, 5, 6))[:, ::-1, ::-1])


def test_flat_and_deep_geometries_meet_in_the_plane() -> None:
    flat = Geometry((0.2, 0.2), (5, 6), (1, 0, 0, 1), physical=True)
    turned = Geometry((0.2, 0.2), (6, 6.8), (-1, 0, 0, -1), physical=True)
    classes = _classes((1, 5, 6))
    for mask, image in ((flat, _PLACED), (_PLACED, flat)):
        np.testing.assert_array_equal(place_mask(classes, mask, image, (1, 5, 6)), classes)
    for mask, image in ((turned, _PLACED), (turned, flat)):
        laid = place_mask(classes, mask, image, (1, 5, 6))
        np.testing.assert_array_equal(laid, classes[:, ::-1, ::-1])
    upright = Geometry((0.2, 0.2, 1), (5, 6, 7), (1, 0, 0, 0, 0, 1, 0, 1, 0), physical=True)
    for mask, image in ((flat, upright), (upright, flat)):
        with pytest.raises(ImageError, match="lies elsewhere"):
            place_mask(classes, mask, image, (1, 5, 6))


def test_a_mask_of_one_slice_lies_on_its_frame_of_a_cine() -> None:
    cine = Geometry((0.2, 0.2, 1), (5, 6, 7), _GRID3.direction, physical=True)
    one = _classes((1, 5, 6))
    for number in range(4):
        laid = place_mask(one, cine.slice(number), cine, _SIZE)
        np.testing.assert_array_equal(laid, one)
    with pytest.raises(ImageError, match="lies elsewhere"):
        place_mask(one, cine.slice(4), cine, _SIZE)


def test_same_grid() -> None:
    nearly = Geometry((0.2, 0.2, 1), (5.0000001, 6, 7), _GRID3.direction, physical=True)
    assert same_grid(_PLACED, nearly, (1, 500, 500))
    finer = Geometry((0.2002, 0.2, 1), (5, 6, 7), _GRID3.direction, physical=True)
    assert same_grid(_PLACED, finer, (1, 5, 5))
    assert not same_grid(_PLACED, finer, (1, 500, 500))


def _dice(first: NDArray[Any], second: NDArray[Any]) -> float:
    overlap = ((first > 0) & (second > 0)).sum()
    return float(2 * overlap / ((first > 0).sum() + (second > 0).sum()))


def test_mask_orientation_case(shared_cases: Path) -> None:
    folder = shared_cases / "mask_orientation" / "ds"
    with ExitStack() as stack:

        def opened(kind: str, name: str) -> Any:
            return stack.enter_context(open_image(folder / kind / f"{name}.nii.gz"))

        right = stored_on(opened("masks", "lps"), opened("images", "lps"))
        np.testing.assert_array_equal(right[0], read_mask(folder / "masks" / "lps.nii.gz"))
        laid = stored_on(opened("masks", "ras"), opened("images", "ras"))
        assert _dice(laid, right) > 0.99
        assert _dice(opened("masks", "ras").stored(), right) < 0.99
        with pytest.raises(ImageError, match="lies elsewhere") as caught:
            stored_on(opened("masks", "shifted"), opened("images", "shifted"))
        assert "origin (200, 200, 0)" in caught.value.reason
        assert "origin (0, 0, 0)" in caught.value.reason
