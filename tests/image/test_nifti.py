"""NIfTI: every option of its header, against SimpleITK and nibabel."""

from __future__ import annotations

import gzip
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import read_image, read_mask
from lfusion.image.nifti import parse_nifti

if TYPE_CHECKING:
    from tests.support.volume_files import MemoryFile, Oracle
else:
    from volume_files import MemoryFile, Oracle

nib: Any = nibabel

_VALUES = [[[1, 20, 3], [40, 5, 60]]]
_FIELDS = {
    "rank": (40, "h"), "dim1": (42, "h"), "dim3": (46, "h"), "dim4": (48, "h"), "dim5": (50, "h"),
    "intent": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"), "qfac": (76, "f"),
    "pixdim1": (80, "f"), "pixdim2": (84, "f"), "pixdim3": (88, "f"), "vox_offset": (108, "f"),
    "slope": (112, "f"), "inter": (116, "f"), "units": (123, "B"), "quatern_b": (256, "f"),
}  # fmt: skip
_D = np.diag([2.0, 3.0, 4.0, 1.0])
_D[:3, 3] = 5, 6, 7
_R = np.array([[0, -3, 0, 5], [2, 0, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1.0]])
_S = _D.copy()
_S[0, 1] = 1
_OBLIQUE = np.eye(4)
_OBLIQUE[:3, :3] = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] * (2, 3, 4)
_OBLIQUE[:3, 3] = -5, 60, 7


def _file(
    values: NDArray[Any] | None = None,
    affine: NDArray[Any] = _D,
    codes: tuple[int, int] = (1, 1),
    transforms: tuple[NDArray[Any], NDArray[Any]] | None = None,
    kind: Any = None,
    order: str = "<",
    **fields: float,
) -> bytes:
    """A file of nibabel, with fields of the header of NIfTI-1 overwritten."""
    if values is None:
        values = np.array(_VALUES, np.uint8)
    kind = kind or nib.Nifti1Image
    header = kind.header_class(endianness=order)
    header.set_data_dtype(values.dtype)
    image = kind(values.T, affine, header=header, dtype=values.dtype)
    qform, sform = transforms or (affine, affine)
    image.set_qform(qform, codes[0])
    image.set_sform(sform, codes[1])
    content = bytearray(image.to_bytes())
    for name, value in fields.items():
        offset, code = _FIELDS[name]
        struct.pack_into(order + code, content, offset, value)
    return bytes(content)


def _parse(content: bytes) -> Any:
    return parse_nifti(MemoryFile(content))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"affine": np.eye(4)},
        {"codes": (0, 0)},
        {"codes": (1, 0)},
        {"codes": (0, 2)},
        {"codes": (1, 2), "transforms": (_R, _D)},
        {"codes": (1, 1), "transforms": (_R, _D)},
        {"codes": (2, 3), "transforms": (_R, _D)},
        {"codes": (4, 4), "transforms": (_D, _R)},
        {"codes": (1, 1), "transforms": (_D, _S)},
        {"affine": _R},
        {"affine": _R, "codes": (1, 0)},
        {"affine": _R, "codes": (0, 1)},
        {"affine": _OBLIQUE},
        {"affine": _OBLIQUE, "codes": (1, 0)},
        {"affine": _OBLIQUE, "codes": (0, 4)},
        {"affine": _OBLIQUE, "codes": (2, 2)},
        {"affine": np.diag([2.0, 3.0, -4.0, 1.0]), "codes": (1, 0)},
        {"affine": np.diag([-2.0, 3.0, 4.0, 1.0]), "codes": (1, 0)},
        {"affine": np.diag([-2.0, -3.0, 4.0, 1.0]), "codes": (0, 1)},
        {"codes": (1, 0), "qfac": 0.0},
        {"codes": (1, 0), "qfac": 3.0},
        {"units": 1},
        {"units": 3},
        {"units": 2 + 8},
        {"units": 4},
        {"codes": (1, 0), "pixdim1": 0.0},
        {"codes": (1, 0), "pixdim1": -2.0},
        {"codes": (1, 0), "pixdim1": float("nan")},
        {"codes": (0, 1), "pixdim1": 0.0},
        {"codes": (0, 1), "pixdim1": 9.0},
        {"values": np.array(_VALUES, np.uint8)[0]},
        {"values": np.array(_VALUES, np.uint8)[0], "codes": (0, 0)},
        {"values": np.array(_VALUES, np.uint8)[0], "affine": _R},
        {"values": np.array([_VALUES], np.uint8)},
        {"values": np.array(_VALUES * 2, np.uint8)},
        {"dim3": 0},
        {"slope": 2.0, "inter": 1.0},
        {"slope": 1.0, "inter": 5.0},
        {"slope": 0.5, "inter": 0.0},
        {"slope": -1.0, "inter": 0.0},
        {"slope": 1.0, "inter": float("nan")},
        {"slope": float("inf"), "inter": 0.0},
        {"slope": 0.0, "inter": 0.0},
    ],
)
def test_place_and_values_are_those_of_itk(tmp_path: Path, options: dict[str, Any]) -> None:
    content = _file(**options)
    (tmp_path / "a.nii").write_bytes(content)
    Oracle.read(tmp_path / "a.nii").check(_parse(content), atol=1e-5)


@pytest.mark.parametrize("code", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("packed", [False, True])
def test_types_byte_orders_and_versions(code: str, order: str, kind: Any, packed: bool) -> None:
    content = _file(np.array(_VALUES, order + code), kind=kind, order=order)
    parsed = _parse(gzip.compress(content) if packed else content)
    assert parsed.stored().dtype == np.dtype(code)
    assert parsed.stored().tolist() == parsed.shown().tolist() == _VALUES
    assert parsed.geometry == _parse(_file()).geometry
    assert parsed.pixel_size_mm == (3, 2)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_extensions_lie_between_header_and_pixels(kind: Any) -> None:
    image = kind(np.array(_VALUES, np.uint8).T, _D)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    assert _parse(image.to_bytes()).stored().tolist() == _VALUES


def test_offset_of_zero_counts_as_absent() -> None:
    assert _parse(_file(vox_offset=0.0)).stored().tolist() == _VALUES


def test_slope_of_zero_or_nan_means_no_scale() -> None:
    for slope in (0.0, float("nan")):
        assert _parse(_file(slope=slope, inter=3.0)).stored().tolist() == _VALUES


def test_scaled_masks_hold_the_classes_that_viewers_show(tmp_path: Path) -> None:
    path = tmp_path / "a.nii"
    path.write_bytes(_file(slope=2.0, inter=1.0))
    assert read_mask(path).tolist() == [[3, 41, 7], [81, 11, 121]]
    path.write_bytes(_file(slope=0.5, inter=0.0))
    with pytest.raises(ImageError, match="fractions"):
        read_mask(path)
    path.write_bytes(_file(slope=10.0, inter=0.0))
    with pytest.raises(ImageError, match="0 to 255"):
        read_mask(path)


@pytest.mark.parametrize("channels", [3, 4])
def test_interleaved_colours(channels: int) -> None:
    names = ["R", "G", "B", "A"][:channels]
    values = np.zeros((1, 2, 3), [(name, "u1") for name in names])
    for number, name in enumerate(names):
        values[name] = np.array(_VALUES) + number if name != "A" else 255
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parsed = _parse(_file(values))
    expected = np.stack([np.array(_VALUES) + number for number in range(3)], -1)
    np.testing.assert_array_equal(parsed.shown(), expected)
    with pytest.raises(ImageError, match="one channel"):
        parsed.stored()


@pytest.mark.parametrize("intent", [1007, 2003])
def test_colours_in_the_fifth_dimension(intent: int) -> None:
    planes = np.stack([np.array(_VALUES, np.uint8) + number for number in range(3)])
    parsed = _parse(_file(planes[:, None], intent=intent))
    np.testing.assert_array_equal(parsed.shown(), np.moveaxis(planes, 0, -1))


@pytest.mark.parametrize("found", [0, 1, 5])
@pytest.mark.parametrize("packed", [False, True])
def test_short_data_are_refused_with_both_numbers(found: int, packed: bool) -> None:
    content = _file()[: 352 + found]
    parsed = _parse(gzip.compress(content) if packed else content)
    for read in (parsed.shown, parsed.stored):
        with pytest.raises(
            ImageError, match=f"promises 6 bytes of pixel data, the file holds {found}"
        ):
            read()


def test_a_gzip_stream_that_breaks_off_or_is_damaged() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 64, 64), dtype=np.uint8)
    packed = gzip.compress(_file(noise))
    with pytest.raises(ImageError, match="promises 4096 bytes"):
        _parse(packed[:2000]).stored()
    with pytest.raises(ImageError, match="header of 348 or 540 bytes"):
        _parse(packed[:20])
    damaged = bytearray(packed)
    damaged[3000:3004] = b"\xff\0\xff\0"
    with pytest.raises(ImageError, match=r"damaged|promises"):
        _parse(bytes(damaged)).stored()


def test_gzip_members_follow_one_another() -> None:
    content = _file()
    packed = gzip.compress(content[:100]) + gzip.compress(content[100:355])
    packed += gzip.compress(content[355:]) + b"after the stream"
    assert _parse(packed).stored().tolist() == _VALUES


def test_what_follows_the_pixels_is_ignored() -> None:
    assert _parse(_file() + b"more").stored().tolist() == _VALUES


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"rank": 0}, "0 dimensions"),
        ({"rank": 8}, "8 dimensions"),
        ({"rank": 1, "dim1": 6}, "1 dimensions"),
        ({"values": np.zeros((2, 1, 2, 3), np.uint8)}, "4 dimensions"),
        ({"values": np.zeros((3, 1, 1, 2, 3), np.uint8)}, "5 dimensions"),
        ({"dim1": -3}, "size"),
        ({"datatype": 0, "bitpix": 0}, "unknown type"),
        ({"datatype": 1, "bitpix": 1}, "single bits"),
        ({"datatype": 32, "bitpix": 64}, "complex"),
        ({"datatype": 1792, "bitpix": 128}, "complex"),
        ({"datatype": 1536, "bitpix": 128}, "128-bit"),
        ({"datatype": 77}, "type 77"),
        ({"bitpix": 16}, "16 bits for a pixel, its type takes 8"),
        ({"datatype": 4}, "8 bits for a pixel, its type takes 16"),
        ({"vox_offset": 100.0}, "at byte 100"),
        ({"vox_offset": 352.5}, "at byte 352.5"),
        ({"vox_offset": -352.0}, "at byte -352"),
        ({"vox_offset": 1e30}, "at byte 1e"),
        ({"codes": (0, 1), "transforms": (_D, _S)}, "shears"),
        ({"codes": (1, 0), "quatern_b": float("nan")}, "NaN"),
    ],
)
def test_headers_that_contradict_themselves(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        _parse(_file(**options))


def test_bitpix_of_zero_counts_as_absent() -> None:
    assert _parse(_file(bitpix=0)).stored().tolist() == _VALUES


def test_pixels_placed_behind_the_file() -> None:
    with pytest.raises(ImageError, match="pixel data after 1000 bytes, the file ends after"):
        _parse(gzip.compress(_file(vox_offset=1000.0))).stored()


def test_large_images_are_refused_before_they_are_decoded() -> None:
    content = bytearray(_file())
    struct.pack_into("<4h", content, 40, 3, 20000, 20000, 1)
    with pytest.raises(TooLargeError):
        _parse(gzip.compress(bytes(content)))
    second = bytearray(_file(kind=nib.Nifti2Image))
    struct.pack_into("<4q", second, 16, 3, 2**33, 2**31, 1)  # the product overflows 64 bits
    with pytest.raises(TooLargeError):
        _parse(bytes(second))


def test_pixel_size() -> None:
    assert _parse(_file()).pixel_size_mm == (3, 2)
    assert _parse(_file(units=1)).pixel_size_mm == (3000, 2000)
    unknown = _parse(_file(codes=(1, 0), pixdim1=0.0))
    assert unknown.pixel_size_mm is None
    assert not unknown.geometry.physical
    contradicting = _parse(_file(codes=(0, 1), pixdim1=9.0))
    assert contradicting.pixel_size_mm is None
    assert "two pixel sizes, pixdim 9 x 3 and sform 2 x 3" in contradicting.calibration_note


@pytest.mark.parametrize("magic", [b"ni1\0", b"ni2\0", b"\0\0\0\0"])
def test_pairs_name_the_remedy_and_read_no_other_file(tmp_path: Path, magic: bytes) -> None:
    content = bytearray(_file())
    content[344:348] = magic
    (tmp_path / "a.nii").write_bytes(content[:352])
    (tmp_path / "a.img").write_bytes(b"0123456789")
    with pytest.raises(ImageError, match=r"pixels lie in another file.*save it as \.nii"):
        read_image(tmp_path / "a.nii")


def test_other_files() -> None:
    for content in (b"", b"\x1f\x8b", b"x" * 600, gzip.compress(b"text"), _file()[:347]):
        with pytest.raises(ImageError, match="header of 348 or 540 bytes"):
            _parse(content)
    content = bytearray(_file())
    content[344:348] = b"abcd"
    with pytest.raises(ImageError, match=r"n\+1 or n\+2"):
        _parse(bytes(content))
