"""NRRD: every option of its header, against SimpleITK and pynrrd where these read it rightly."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nrrd as pynrrd
import numpy as np
import pytest

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import read_image
from lfusion.image.nrrd import parse_nrrd

if TYPE_CHECKING:
    from tests.support.volume_files import MemoryFile, Oracle, nrrd
else:
    from volume_files import MemoryFile, Oracle, nrrd

_DATA = bytes((1, 20, 3, 40, 5, 60))
_VALUES = [[[1, 20, 3], [40, 5, 60]]]
_FLAT = {"dimension": "3", "sizes": "3 2 1"}
_DIRECTIONS = {"space directions": "(1,0,0) (0,2,0) (0,0,3)", "space origin": "(4,5,6)"}


def _parse(content: bytes) -> Any:
    return parse_nrrd(MemoryFile(content))


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"spacings": "2 3"},
        {"spacings": "2 nan"},
        {"spacings": "-2 3"},
        {"spacings": "2 3", "axis mins": "10 20"},
        {"axis mins": "10 20"},
        {"spacings": "2 3", "axis mins": "10 20", "centerings": "cell cell"},
        {"spacings": "2 3", "axismins": "10 20", "centers": "node node"},
        {"axis mins": "10 20", "axis maxs": "13 24", "centers": "cell cell"},
        {"axis mins": "10 20", "axis maxs": "13 24", "centers": "node node"},
        {"axis mins": "10 20", "axis maxs": "13 24", "spacings": "2 3"},
        _FLAT | _DIRECTIONS | {"space": "left-posterior-superior"},
        _FLAT | _DIRECTIONS | {"space": "LPS"},
        _FLAT | _DIRECTIONS | {"space": "RAS"},
        _FLAT | _DIRECTIONS | {"space": "right-anterior-superior"},
        _FLAT | _DIRECTIONS | {"space": "LAS"},
        _FLAT | _DIRECTIONS | {"space": "left-anterior-superior"},
        _FLAT | _DIRECTIONS | {"space": "scanner-xyz"},
        _FLAT | _DIRECTIONS | {"space": "3D-right-handed"},
        _FLAT | _DIRECTIONS | {"space dimension": "3"},
        _FLAT | {"space": "LPS", "space directions": "(0,2,0) (-2,0,0) (0,0,-3)"},
        _FLAT | {"space": "RAS", "space directions": "(0.6,0.8,0) (-0.8,0.6,0) (0,0,1)"},
        _FLAT | {"space": "LPS", "space directions": "none (0,2,0) (0,0,3)"},
        _FLAT | {"space": "LPS", "space directions": "(1,0,0) (0,1,0) none"},
        _FLAT | {"space": "LPS", "space directions": "(1,1,0) (0,2,0) (0,0,3)"},
        _FLAT | {"space": "LPS", "space origin": "(1,2,3)"},
        _FLAT | {"space": "LPS", "space origin": "none"},
        _FLAT | {"space": "LPS"},
        {"space dimension": "2", "space directions": "(0,2) (3,0)", "space origin": "(4,5)"},
        _FLAT | {"kinds": "domain domain stub"},
        _FLAT | {"kinds": "domain domain time"},
        _FLAT | {"kinds": "space space ???"},
        _FLAT | {"sizes": "3 1 2", "kinds": "RGB-color domain domain"},
        _FLAT | {"sizes": "3 1 2", "kinds": "vector domain domain"},
        _FLAT | {"sizes": "1 2 3", "kinds": "domain domain vector"},
        _FLAT | {"sizes": "1 3 2", "kinds": "domain 3-color domain"},
        _FLAT
        | {"sizes": "3 1 2", "kinds": "RGB-color domain domain", "space dimension": "2"}
        | {"space directions": "none (1,0) (0,2)"},
        {"labels": '"x y" "z"', "units": '"mm" "mm"', "thicknesses": "nan 2", "number": "6"},
        {"min": "0", "max": "5", "old min": "0", "oldmax": "5", "sample units": "dB"},
        {"content": "a: b := c", "encoding": "raw"},
        _FLAT
        | _DIRECTIONS
        | {"space": "LPS", "measurement frame": "(1,0,0) (0,1,0) (0,0,1)"},
    ],
)  # fmt: skip
def test_place_and_values_are_those_of_itk(tmp_path: Path, header: dict[str, str]) -> None:
    content = nrrd(header, _DATA)
    (tmp_path / "a.nrrd").write_bytes(content)
    Oracle.read(tmp_path / "a.nrrd").check(_parse(content))


def test_a_plane_in_space_is_a_volume_of_one_slice() -> None:
    header = {"space": "RAS", "space directions": "(0,0,2) (0,3,0)", "space origin": "(4,5,6)"}
    geometry = _parse(nrrd(header, _DATA)).geometry
    assert geometry.spacing == (2, 3, 1)
    assert geometry.origin == (-4, -5, 6)
    assert np.reshape(geometry.direction, (3, 3)).T.tolist() == [[0, 0, 1], [0, -1, 0], [1, 0, 0]]


_CODES = {
    "i1": ["signed char", "int8", "int8_t"],
    "u1": ["uchar", "unsigned char", "uint8", "uint8_t"],
    "i2": ["short", "short int", "signed short", "signed short int", "int16", "int16_t"],
    "u2": ["ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"],
    "i4": ["int", "signed int", "int32", "int32_t"],
    "u4": ["uint", "unsigned int", "uint32", "uint32_t"],
    "i8": [
        "longlong", "long long", "long long int", "signed long long", "signed long long int",
        "int64", "int64_t",
    ],
    "u8": [
        "ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t",
    ],
    "f4": ["float"],
    "f8": ["double"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code"), [(name, code) for code, names in _CODES.items() for name in names]
)
@pytest.mark.parametrize("order", ["little", "big"])
def test_types_and_byte_orders(tmp_path: Path, name: str, code: str, order: str) -> None:
    values = np.array([1, 20, 3, 40, 5, 60], np.dtype(code).newbyteorder(order))
    content = nrrd({"type": name, "endian": order}, values.tobytes())
    (tmp_path / "a.nrrd").write_bytes(content)
    assert _parse(content).stored().dtype == np.dtype(code)
    assert _parse(content).stored().tolist() == _VALUES
    Oracle.read(tmp_path / "a.nrrd").check(_parse(content))


_ENCODED = {
    "raw": _DATA,
    "gzip": gzip.compress(_DATA),
    "gz": gzip.compress(_DATA[:2]) + gzip.compress(_DATA[2:]) + b"after the stream",
    "bzip2": bz2.compress(_DATA),
    "bz2": bz2.compress(_DATA[:2]) + bz2.compress(_DATA[2:]),
    "ascii": b"1 20 3\n40 5 60\n",
    "text": b"1 20 3 40 5 60",
    "txt": b"\n 1, 20, 3, 40, 5, 60",
    "hex": b"01140328053C",
    "Hex": b" 0114 03\n28 053c\n",
}


@pytest.mark.parametrize("encoding", _ENCODED)
def test_encodings(tmp_path: Path, encoding: str) -> None:
    content = nrrd({"encoding": encoding}, _ENCODED[encoding])
    assert _parse(content).stored().tolist() == _VALUES
    if encoding in ("raw", "gzip", "bzip2", "ascii", "text"):  # as far as pynrrd follows the format
        (tmp_path / "a.nrrd").write_bytes(content)
        assert pynrrd.read(str(tmp_path / "a.nrrd"))[0].T.tolist() == _VALUES[0]


@pytest.mark.parametrize("encoding", ["gzip", "bzip2", "hex", "ascii"])
def test_numbers_of_several_bytes_in_other_encodings(encoding: str) -> None:
    values = np.array([1, 20, 3, 40, 5, 60], ">i2")
    data = {
        "gzip": gzip.compress(values.tobytes()),
        "bzip2": bz2.compress(values.tobytes()),
        "hex": values.tobytes().hex().encode(),
        "ascii": b"1 20 3 40 5 60",
    }[encoding]
    content = nrrd({"type": "short", "endian": "big", "encoding": encoding}, data)
    assert _parse(content).stored().tolist() == _VALUES


_PACKERS: dict[str, Any] = {
    "raw": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "hex": lambda data: data.hex().encode(),
    "ascii": lambda data: " ".join(map(str, data)).encode(),
}


@pytest.mark.parametrize("encoding", _PACKERS)
@pytest.mark.parametrize("found", [0, 5, 7])
def test_short_and_long_data_are_refused_with_both_numbers(encoding: str, found: int) -> None:
    data = (_DATA + b"z")[:found]
    parsed = _parse(nrrd({"encoding": encoding}, _PACKERS[encoding](data)))
    for read in (parsed.shown, parsed.stored):
        with pytest.raises(ImageError, match=rf"promises 6 .*holds {found}"):
            read()


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_compressed_data_are_not_unpacked_beyond_what_the_header_promises(encoding: str) -> None:
    data = _PACKERS[encoding](bytes(10**7))
    with pytest.raises(
        ImageError, match=r"promises 6 bytes of pixel data, the file holds at least"
    ):
        _parse(nrrd({"encoding": encoding}, data)).stored()


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_damaged_streams_are_refused(encoding: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 6000, dtype=np.uint8).tobytes()
    header = {"encoding": encoding, "sizes": "60 100"}
    data = bytearray(_PACKERS[encoding](noise))
    data[-6] ^= 255  # in the check sum
    with pytest.raises(ImageError, match="compressed pixel data are damaged"):
        _parse(nrrd(header, bytes(data))).stored()
    with pytest.raises(ImageError, match=r"damaged|promises 6 bytes"):
        _parse(nrrd({"encoding": encoding}, _DATA)).stored()
    with pytest.raises(ImageError, match="promises 6000 bytes"):
        _parse(nrrd(header, bytes(data[:3000]))).stored()


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"byte skip": "2"}, b"zz" + _DATA),
        ({"byteskip": "-1"}, b"zz" + _DATA),
        ({"line skip": "1"}, b"zz\n" + _DATA),
        ({"lineskip": "1", "byte skip": "1"}, b"zz\nz" + _DATA),
        ({"encoding": "gz", "byte skip": "1"}, gzip.compress(b"z" + _DATA)),
        ({"encoding": "gz", "line skip": "1"}, b"abc\n" + gzip.compress(_DATA)),
    ],
)
def test_skipped_bytes_and_lines(tmp_path: Path, header: dict[str, str], data: bytes) -> None:
    content = nrrd(header, data)
    (tmp_path / "a.nrrd").write_bytes(content)
    Oracle.read(tmp_path / "a.nrrd").check(_parse(content))


@pytest.mark.parametrize("skip", ["7", "1000000000000"])
def test_skips_beyond_the_file_are_refused(skip: str) -> None:
    with pytest.raises(ImageError, match=r"after|promises 6"):
        _parse(nrrd({"byte skip": skip}, _DATA)).stored()
    with pytest.raises(ImageError, match=r"after|promises 6|line skip"):
        _parse(nrrd({"line skip": skip}, _DATA)).stored()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    content = nrrd({"spacings": "2 3"}, _DATA, end=end)
    (tmp_path / "a.nrrd").write_bytes(content)
    Oracle.read(tmp_path / "a.nrrd").check(_parse(content))


@pytest.mark.parametrize("magic", ["NRRD00.01", *(f"NRRD000{n}" for n in range(1, 6))])
def test_versions(magic: str) -> None:
    content = nrrd({}, _DATA).replace(b"NRRD0005", magic.encode())
    assert _parse(content).stored().tolist() == _VALUES


def test_comments_and_keys_are_no_fields() -> None:
    keys = "# data file: secret\ndata file:=secret\nkey:=a: b\nencoding:=gzip"
    assert _parse(nrrd({}, _DATA, keys=keys)).stored().tolist() == _VALUES


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"type": "block", "block size": "4"}, "type: 'block'"),
        ({"type": "long"}, "type: 'long'"),
        ({"type": "half"}, "type: 'half'"),
        ({"type": "short"}, "gives no endian"),
        ({"endian": "middle"}, "endian"),
        ({"encoding": "zrl"}, "encoding"),
        ({"dimension": "0"}, "dimension"),
        ({"dimension": "99"}, "99 dimensions"),
        ({"dimension": "1", "sizes": "6"}, "1 dimensions"),
        ({"dimension": "4", "sizes": "3 1 1 2"}, "4 dimensions"),
        ({"sizes": "3"}, "sizes"),
        ({"sizes": "3 2 1"}, "sizes"),
        ({"sizes": "3 0"}, "sizes"),
        ({"sizes": "3 -2"}, "sizes"),
        ({"spacings": "0 3"}, "spacing of 0"),
        ({"spacings": "inf 3"}, "NaN or infinity"),
        ({"spacings": "x 3"}, "spacings"),
        ({"spacings": "3"}, "spacings"),
        (_FLAT | {"space": "LPS", "spacings": "1 2 3"}, "contradict"),
        (_FLAT | {"space": "moon"}, "space: 'moon'"),
        (_FLAT | {"space directions": "(1,0,0) (0,2,0) (0,0,3)"}, "without a space"),
        (_FLAT | {"space": "LPS", "space directions": "(1,0,0) (0,2,0)"}, "space directions"),
        (_FLAT | {"space": "LPS", "space directions": "(1,0) (0,2) (0,0)"}, "space directions"),
        (_FLAT | {"space": "LPS", "space directions": "(0,0,0) (0,2,0) (0,0,3)"}, "spacing of 0"),
        (_FLAT | {"space": "LPS", "space directions": "(0,1,0) (0,2,0) (0,0,3)"}, "do not span"),
        (_FLAT | {"space": "LPS", "space directions": "(a,0,0) (0,2,0) (0,0,3)"}, "directions"),
        (_FLAT | {"space": "LPS", "space origin": "(1,2)"}, "space origin"),
        (_FLAT | {"kinds": "list domain list"}, "2 axes that are not in space"),
        ({"byte skip": "-2"}, "byte skip"),
        ({"line skip": "-1"}, "line skip"),
        ({"foo": "bar"}, "no field of NRRD"),
        (_FLAT | {"kinds": "RGB-color domain domain", "sizes": "60 2 3"}, "60 channels"),
    ],
)
def test_headers_that_contradict_themselves(header: dict[str, str], problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        _parse(nrrd(header, bytes(1000))).stored()


def test_vectors_and_lists_are_no_colours() -> None:
    for kind in ("list", "3-gradient", "HSV-color", "complex", "covariant-vector"):
        header = _FLAT | {"kinds": f"{kind} domain domain", "sizes": "3 2 1"}
        with pytest.raises(ImageError, match=f"each pixel is a {kind.lower()}"):
            _parse(nrrd(header, _DATA)).shown()


def test_repeated_fields_are_refused() -> None:
    for again in ("type: uchar", "TYPE:  short", "byteskip: 1\nbyte skip: 2"):
        with pytest.raises(ImageError, match="twice"):
            _parse(nrrd({}, _DATA, keys=again))


def test_large_images_are_refused_before_they_are_decoded() -> None:
    for sizes in ("20000 20000", f"{2**33} {2**31}"):  # the product overflows 64 bits
        for encoding in _PACKERS:
            with pytest.raises(TooLargeError):
                _parse(nrrd({"sizes": sizes, "encoding": encoding}, b""))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({}, None),
        ({"spacings": "0.1 0.2"}, (0.2, 0.1)),
        ({"spacings": "nan 0.2"}, None),
        ({"spacings": "0.1 0.2", "units": '"mm" "mm"'}, (0.2, 0.1)),
        ({"spacings": "0.1 0.2", "units": '"cm" "cm"'}, (2.0, 1.0)),
        ({"spacings": "0.1 0.2", "units": '"" ""'}, (0.2, 0.1)),
        ({"spacings": "0.1 0.2", "units": '"pixel" "pixel"'}, None),
        ({"spacings": "0.1 0.2", "units": '"mm" "s"'}, None),
        (_FLAT | {"space": "LPS"}, None),
        (_FLAT | _DIRECTIONS | {"space": "LPS"}, (2.0, 1.0)),
        (_FLAT | _DIRECTIONS | {"space": "LPS", "space units": '"um" "um" "um"'}, (2e-3, 1e-3)),
        (_FLAT | _DIRECTIONS | {"space": "LPS", "space units": '"m" "m" "m"'}, (2e3, 1e3)),
        (_FLAT | _DIRECTIONS | {"space": "LPS", "space units": '"mm" "mm" "s"'}, (2.0, 1.0)),
        (_FLAT | _DIRECTIONS | {"space": "LPS", "space units": '"" "" ""'}, (2.0, 1.0)),
    ],
)
def test_pixel_size(header: dict[str, str], expected: tuple[float, float] | None) -> None:
    found = _parse(nrrd(header, _DATA)).pixel_size_mm
    assert found == (None if expected is None else pytest.approx(expected))


_SECRET = b"0123456789abcdef"


@pytest.mark.parametrize(
    "field",
    [
        "data file: {}",
        "datafile: {}",
        "Data File: {}",
        "DATA  FILE: {}",
        "data file:{}",
        " data file: {}",
        "data file : {}",
        "# a comment\rdata file: {}",
        "content: x\rdata file: {}",
        "key:=x\rdata file: {}",
        "data file: LIST\n{}",
        "data file: LIST 2\n{}",
        "data file: {}%d 1 1 1",
        "data file: ./{}",
        "data file: local",
        "content: x\r\rdata file: {}",
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_no_other_file_is_read(tmp_path: Path, field: str, absolute: bool) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(_SECRET)
    line = field.format(secret if absolute else "secret")
    for end in ("\n", "\r\n", "\r"):
        content = nrrd({"sizes": "4 4"}, b"", end=end, keys=line)
        (tmp_path / "a.nrrd").write_bytes(content)
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / "a.nrrd")
        assert "0123" not in str(caught.value)


def test_header_without_pixels_of_its_own_names_the_remedy() -> None:
    for tail in (b"", b"\n"):
        content = nrrd({"data file": "a.raw"}, b"").removesuffix(b"\n") + tail
        with pytest.raises(ImageError, match=r"pixels lie in another file.*save it as \.nrrd"):
            _parse(content)


def test_header_without_end() -> None:
    with pytest.raises(ImageError, match="no end"):
        _parse(nrrd({}, b"").removesuffix(b"\n"))
    with pytest.raises(ImageError, match="no end"):
        _parse(b"NRRD0005\ncontent: " + b"x" * 2**21)
    for content in (b"", b"NRRD", b"NRRD0006\n\n", b"NRRD0004x\n\n"):
        with pytest.raises(ImageError, match="starts with NRRD0001"):
            _parse(content)


def test_zlib_is_packed_otherwise_than_gzip(tmp_path: Path) -> None:
    """Other readers take such bytes for pixels that are not packed."""
    content = nrrd({"encoding": "gzip"}, zlib.compress(_DATA))
    with pytest.raises(ImageError, match="damaged"):
        _parse(content).stored()
