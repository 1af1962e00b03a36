"""MetaImage: every option of its header, against SimpleITK where that reads it rightly."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import read_image
from lfusion.image.metaimage import parse_metaimage

if TYPE_CHECKING:
    from tests.support.volume_files import MemoryFile, Oracle, metaimage
else:
    from volume_files import MemoryFile, Oracle, metaimage

_DATA = bytes((1, 20, 3, 40, 5, 60))
_VALUES = [[[1, 20, 3], [40, 5, 60]]]


def _stored(content: bytes) -> Any:
    return parse_metaimage(MemoryFile(content)).stored().tolist()


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"ElementSpacing": "0.25 2"},
        {"ElementSpacing": "-0.25 2"},
        {"ElementSize": "3 2"},
        {"ElementSize": "3 2", "ElementSpacing": "5 6"},
        {"Offset": "1 2", "Position": "3 4", "Origin": "5 6"},
        {"Position": "3 4", "Offset": "1 2"},
        {"Position": "3 4"},
        {"TransformMatrix": "0 1 -1 0"},
        {"TransformMatrix": "0 1 -1 0", "Rotation": "1 0 0 -1", "Orientation": "-1 0 0 1"},
        {"Orientation": "-1 0 0 1"},
        {"Rotation": "1 0 0 -1", "CenterOfRotation": "7 7"},
        {"TransformMatrix": "0.8 0.6 -0.6 0.8", "Offset": "-3.5 1e2", "ElementSpacing": "0.1 0.2"},
        {"AnatomicalOrientation": "LPS"},
        {"NDims": "3", "DimSize": "3 2 1", "ElementSpacing": "1 2 3", "Offset": "4 5 6"},
        {"NDims": "3", "DimSize": "3 1 2", "TransformMatrix": "0 0 1 1 0 0 0 1 0"},
        {"ElementToIntensityFunctionSlope": "2"},
        {"BinaryData": "1"},
        {"BinaryData": "T", "ElementNumberOfChannels": "1"},
        {"CompressedData": "False", "HeaderSize": "0"},
    ],
)
def test_place_and_values_are_those_of_itk(tmp_path: Path, header: dict[str, str]) -> None:
    content = metaimage(header, _DATA)
    (tmp_path / "a.mha").write_bytes(content)
    Oracle.read(tmp_path / "a.mha").check(parse_metaimage(MemoryFile(content)))


def test_bytes_are_binary_when_the_header_does_not_say_it(tmp_path: Path) -> None:
    content = metaimage({}, _DATA).replace(b"BinaryData = True\n", b"")
    (tmp_path / "a.mha").write_bytes(content)
    Oracle.read(tmp_path / "a.mha").check(parse_metaimage(MemoryFile(content)))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MET_CHAR", "i1"), ("MET_UCHAR", "u1"), ("MET_SHORT", "i2"), ("MET_USHORT", "u2"),
        ("MET_INT", "i4"), ("MET_UINT", "u4"), ("MET_LONG", "i4"), ("MET_ULONG", "u4"),
        ("MET_LONG_LONG", "i8"), ("MET_ULONG_LONG", "u8"), ("MET_FLOAT", "f4"),
        ("MET_DOUBLE", "f8"), ("MET_UCHAR_ARRAY", "u1"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("key", ["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])
@pytest.mark.parametrize("packed", [False, True])
def test_types_and_byte_orders(
    tmp_path: Path, name: str, code: str, big: bool, key: str, packed: bool
) -> None:
    values = np.array([1, 20, 3, 40, 5, 60], np.dtype(code).newbyteorder(">" if big else "<"))
    header = {"ElementType": name, key: str(big), "CompressedData": str(packed)}
    data = zlib.compress(values.tobytes()) if packed else values.tobytes()
    if packed:
        header["CompressedDataSize"] = str(len(data))
    content = metaimage(header, data)
    (tmp_path / "a.mha").write_bytes(content)
    parsed = parse_metaimage(MemoryFile(content))
    assert parsed.stored().dtype == np.dtype(code)
    assert parsed.stored().tolist() == _VALUES
    np.testing.assert_array_equal(
        Oracle.read(tmp_path / "a.mha").values.ravel(), parsed.stored().ravel()
    )


@pytest.mark.parametrize(
    ("header", "data", "problem"),
    [
        ({}, _DATA[:5], "promises 6 bytes of pixel data, the file holds 5"),
        ({}, _DATA + b"z", "promises 6 bytes of pixel data, the file holds 7"),
        ({"NDims": "3", "DimSize": "3 2 16"}, _DATA * 6, "promises 96 bytes.*holds 36"),
        ({"ElementNumberOfChannels": "3"}, _DATA, "promises 18 bytes.*holds 6"),
        ({"BinaryData": "False"}, b"1 2 3 4 5", "promises 6 numbers, the file holds 5"),
        ({"BinaryData": "False"}, b"1 2 3 4 5 6 7", "promises 6 numbers, the file holds 7"),
        ({"BinaryData": "False"}, b"1 2 3 4 5 x", "numbers of type uint8"),
        ({"BinaryData": "False"}, b"1 2 3 4 5 256", "numbers of type uint8"),
        ({"CompressedData": "True"}, zlib.compress(_DATA[:5]), "promises 6 bytes.*holds 5"),
        ({"CompressedData": "True"}, zlib.compress(_DATA + b"z"), "promises 6.*holds 7"),
        ({"CompressedData": "True"}, zlib.compress(bytes(10**6)), "holds at least"),
        ({"CompressedData": "True"}, b"", "promises 6 bytes.*holds 0"),
        ({"CompressedData": "True"}, _DATA, "compressed pixel data are damaged"),
        (
            {"CompressedData": "True", "CompressedDataSize": "4"},
            zlib.compress(_DATA),
            "promises 6 bytes",
        ),
        ({"HeaderSize": "-1"}, _DATA[:5], "promises 6 bytes.*holds 5"),
    ],
)
def test_short_and_long_data_are_refused_with_both_numbers(
    header: dict[str, str], data: bytes, problem: str
) -> None:
    parsed = parse_metaimage(MemoryFile(metaimage(header, data)))
    for read in (parsed.shown, parsed.stored) if parsed.layout.channels == 1 else (parsed.shown,):
        with pytest.raises(ImageError, match=problem):
            read()


@pytest.mark.parametrize(
    ("header", "data"),
    [
        ({"CompressedData": "True"}, zlib.compress(_DATA)),
        ({"CompressedData": "True", "CompressedDataSize": "0"}, zlib.compress(_DATA)),
        ({"CompressedData": "True"}, gzip.compress(_DATA)),
        ({"CompressedData": "True"}, gzip.compress(_DATA[:2]) + gzip.compress(_DATA[2:])),
        ({"CompressedData": "True"}, zlib.compress(_DATA) + b"\0\0 after the stream"),
        ({"BinaryData": "False"}, b"1 20 3\n40\t5  60\n"),
        ({"BinaryData": "False", "ElementByteOrderMSB": "True"}, b"1 20 3 40 5 60"),
        ({"BinaryData": "False", "ElementType": "MET_FLOAT"}, b"1. 2e1 3 40 5 60"),
        ({"HeaderSize": "-1"}, b"padding" + _DATA),
    ],
)
def test_data_in_other_forms(header: dict[str, str], data: bytes) -> None:
    assert _stored(metaimage(header, data)) == _VALUES


def test_header_size_counts_from_the_start_of_the_file(tmp_path: Path) -> None:
    header = metaimage({"HeaderSize": "999"}, b"")
    content = header.replace(b"999", b"%d" % (len(header) + 4)) + b"pads" + _DATA
    (tmp_path / "a.mha").write_bytes(content)
    Oracle.read(tmp_path / "a.mha").check(parse_metaimage(MemoryFile(content)))


@pytest.mark.parametrize("value", ["3", "100000"])
def test_pixels_inside_the_header_or_behind_the_file_are_refused(value: str) -> None:
    with pytest.raises(ImageError, match="places the pixels at byte"):
        parse_metaimage(MemoryFile(metaimage({"HeaderSize": value}, _DATA)))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("value", ["LOCAL", "local", "Local"])
def test_line_ends_and_spelling_of_local(end: str, value: str) -> None:
    assert _stored(metaimage({"ElementDataFile": value}, _DATA, end=end)) == _VALUES


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({"ObjectType": "Tube"}, "ObjectType"),
        ({"NDims": "1", "DimSize": "6"}, "dimensions"),
        ({"NDims": "4", "DimSize": "3 1 2 2"}, "4 dimensions"),
        ({"DimSize": "3"}, "DimSize.*expected 2 numbers"),
        ({"DimSize": "3 2 1"}, "DimSize.*expected 2 numbers"),
        ({"DimSize": "3 0"}, "size 1 x 0 x 3"),
        ({"DimSize": "3 -2"}, "size 1 x -2 x 3"),
        ({"DimSize": "3 2.5"}, "DimSize"),
        ({"ElementType": "MET_STRING"}, "ElementType"),
        ({"ElementType": "MET_OTHER"}, "ElementType"),
        ({"ElementSpacing": "1-2 2"}, "ElementSpacing"),
        ({"ElementSpacing": "1e12 1"}, "which no image has"),
        ({"ElementSpacing": "nan 2"}, "ElementSpacing"),
        ({"ElementSpacing": "3"}, "ElementSpacing"),
        ({"ElementSpacing": "1e999 1"}, "NaN or infinity"),
        ({"TransformMatrix": "1 1 1 1"}, "do not span"),
        ({"TransformMatrix": "0 0 0 0"}, "do not span"),
        ({"BinaryData": "maybe"}, "BinaryData"),
        ({"BinaryData": "False", "CompressedData": "True"}, "no reader knows"),
        ({"CompressedData": "True", "HeaderSize": "-1"}, "no reader knows"),
        ({"CompressedData": "True", "CompressedDataSize": "-4"}, "CompressedDataSize"),
        ({"ElementNumberOfChannels": "60"}, "60 channels"),
        ({"ElementNumberOfChannels": "0"}, "0 channels"),
        ({"ndims": "2"}, "spells NDims as ndims"),
        ({"elementdatafile": "LOCAL"}, "spells ElementDataFile as elementdatafile"),
        (
            {
                "ElementType": "MET_SHORT",
                "BinaryDataByteOrderMSB": "True",
                "ElementByteOrderMSB": "False",
            },
            "contradict",
        ),
    ],
)
def test_headers_that_contradict_themselves(header: dict[str, str], problem: str) -> None:
    with pytest.raises(ImageError, match=problem):
        parse_metaimage(MemoryFile(metaimage(header, _DATA)))


def test_repeated_keys_are_refused() -> None:
    content = metaimage({}, _DATA).replace(b"NDims = 2\n", b"NDims = 2\nNDims = 2\n")
    with pytest.raises(ImageError, match="gives NDims twice"):
        parse_metaimage(MemoryFile(content))


@pytest.mark.parametrize("size", ["3200 3200", "20000 20000"])
def test_large_images_are_refused_before_they_are_decoded(size: str) -> None:
    header = {"DimSize": size, "ElementNumberOfChannels": "60", "CompressedData": "True"}
    with pytest.raises(ImageError, match="60 channels"):
        parse_metaimage(MemoryFile(metaimage(header, zlib.compress(bytes(1000)))))
    header["ElementNumberOfChannels"] = "1"
    header["DimSize"] = "20000 20000"
    with pytest.raises(TooLargeError):
        parse_metaimage(MemoryFile(metaimage(header, zlib.compress(bytes(1000)))))
    header["DimSize"] = f"{2**33} {2**31}"  # the product overflows 64 bits
    with pytest.raises(TooLargeError):
        parse_metaimage(MemoryFile(metaimage(header, b"")))


def test_spacing_is_not_made_up() -> None:
    unknown = parse_metaimage(MemoryFile(metaimage({}, _DATA)))
    assert unknown.pixel_size_mm is None
    assert not unknown.geometry.physical
    for spacing in ("0 0", "0 2"):
        zero = parse_metaimage(MemoryFile(metaimage({"ElementSpacing": spacing}, _DATA)))
        assert zero.pixel_size_mm is None
        assert not zero.geometry.physical
    deep = {"NDims": "3", "DimSize": "3 2 1", "ElementSpacing": "1 2 0"}
    assert parse_metaimage(MemoryFile(metaimage(deep, _DATA))).pixel_size_mm == (2.0, 1.0)
    known = parse_metaimage(MemoryFile(metaimage({"ElementSpacing": "1 2"}, _DATA)))
    assert known.pixel_size_mm == (2.0, 1.0)
    assert known.geometry.physical


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("mm", (0.2, 0.1)), ("um", (2e-4, 1e-4)), ("cm", (2.0, 1.0)), ("px", None), ("?", (0.2, 0.1))],
)
def test_distance_units(unit: str, expected: tuple[float, float] | None) -> None:
    header = {"ElementSpacing": "0.1 0.2", "DistanceUnits": unit}
    found = parse_metaimage(MemoryFile(metaimage(header, _DATA))).pixel_size_mm
    assert found == (None if expected is None else pytest.approx(expected))


_SECRET = b"0123456789abcdef"


@pytest.mark.parametrize(
    "tail",
    [
        "elementdatafile = LOCAL\nElementDataFile = secret\n",
        "ElementDataFile = secret\n",
        "ElementDataFile = ./secret\nElementDataFile = LOCAL\n",
        "ElementDataFile = LIST\nsecret\n",
        "ElementDataFile = LIST 2\nsecret\n",
        "ElementDataFile = secret%03d 1 1 1\n",
        "Comment = x\rElementDataFile = secret\nElementDataFile = LOCAL\n",
        "ElementDataFile : secret\n",
        "\tElementDataFile=secret\n",
        "ElementDataFile = \nElementDataFile = secret\n",
        "ELEMENTDATAFILE = secret\nElementDataFile = LOCAL\n",
        "ElementDataFile = secret\r\n",
        "ElementDataFile = LOCAL\0secret\n",
    ],
)
def test_no_other_file_is_read(tmp_path: Path, tail: str) -> None:
    (tmp_path / "secret").write_bytes(_SECRET)
    (tmp_path / "secret001").write_bytes(_SECRET)
    head = (
        "ObjectType = Image\nNDims = 2\nDimSize = 4 4\nElementType = MET_UCHAR\nBinaryData = True\n"
    )
    for name in ("a.mha", "a.mhd"):
        (tmp_path / name).write_bytes((head + tail).encode() + bytes(8))
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        assert "0123" not in str(caught.value)


def test_a_key_after_the_reference_to_the_data_is_pixels() -> None:
    content = metaimage({"DimSize": "4 4"}, b"ElementDataFile = secret\n")
    with pytest.raises(ImageError, match="promises 16 bytes of pixel data, the file holds 25"):
        parse_metaimage(MemoryFile(content)).stored()


def test_header_without_end() -> None:
    with pytest.raises(ImageError, match="ends with a line ElementDataFile"):
        parse_metaimage(MemoryFile(b"NDims = 2\n" + b"Comment = x\n"))
    with pytest.raises(ImageError, match="ends with a line ElementDataFile"):
        parse_metaimage(MemoryFile(b"Comment = " + b"x" * 2**21))


def test_mhd_pair_case(shared_cases: Path) -> None:
    path = shared_cases / "mhd_pair" / "st" / "pair.mhd"
    with pytest.raises(ImageError, match=r"pixels lie in another file.*save it as \.mha"):
        read_image(path)
