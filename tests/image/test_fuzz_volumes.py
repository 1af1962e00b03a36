"""Changed bytes of volumes: values within the limits or an `ImageError`, and twice the same."""

from __future__ import annotations

import bz2
import gzip
import zlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import example, given
from hypothesis import strategies as st

from lfusion.image.metaimage import parse_metaimage
from lfusion.image.nifti import parse_nifti
from lfusion.image.nrrd import Nrrd, parse_nrrd, segmentation_labels

if TYPE_CHECKING:
    from tests.support.fuzzing import FUZZ, check_reader, mutated
    from tests.support.volume_files import metaimage, nrrd
else:
    from fuzzing import FUZZ, check_reader, mutated
    from volume_files import metaimage, nrrd

sitk: Any = SimpleITK
nib: Any = nibabel


def _written(values: Any, name: str, *, compress: bool = False, colour: bool = False) -> bytes:
    image = sitk.GetImageFromArray(values, isVector=colour)
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        sitk.WriteImage(image, str(path), useCompression=compress)
        return path.read_bytes()


@cache
def _seeds() -> dict[str, dict[str, bytes]]:
    noise = np.random.default_rng(0)
    grey = noise.integers(0, 256, (2, 9, 11), dtype=np.uint8)
    wide = noise.integers(0, 4096, (9, 11), dtype=np.uint16)
    colour = noise.integers(0, 256, (9, 11, 3), dtype=np.uint8)
    text = " ".join(map(str, range(6))).encode()
    second = nib.Nifti2Image(wide.T, np.diag([0.1, 0.2, 1, 1]))
    turned = nib.Nifti1Image(grey.T, np.diag([0.1, 0.2, 1, 1]))
    turned.header.set_slope_inter(2, 1)
    segments = "Segment0_Name:=femur\nSegment0_LabelValue:=1\nSegment0_Layer:=0"
    return {
        "metaimage": {
            "grey": _written(grey, "a.mha"),
            "packed": _written(wide, "a.mha", compress=True),
            "colour": _written(colour, "a.mha", colour=True),
            "text": metaimage({"BinaryData": "False"}, text),
            "skipped": metaimage({"HeaderSize": "-1"}, b"zz" + bytes(6)),
            "unsized": metaimage({"CompressedData": "True"}, zlib.compress(bytes(6))),
        },
        "nrrd": {
            "grey": _written(grey, "a.nrrd"),
            "packed": _written(wide, "a.nrrd", compress=True),
            "colour": _written(colour, "a.nrrd", colour=True),
            "bzip2": nrrd({"encoding": "bzip2"}, bz2.compress(bytes(6))),
            "text": nrrd({"encoding": "text", "spacings": "1 2"}, text),
            "hex": nrrd({"encoding": "hex"}, bytes(range(6)).hex().encode()),
            "skipped": nrrd({"byte skip": "2", "line skip": "1"}, b"z\nzz" + bytes(6)),
            "segments": nrrd({}, bytes((0, 1) * 3), keys=segments),
        },
        "nifti": {
            "grey": _written(grey, "a.nii"),
            "packed": _written(wide, "a.nii.gz"),
            "colour": _written(colour, "a.nii", colour=True),
            "second": second.to_bytes(),
            "packed second": gzip.compress(second.to_bytes()),
            "scaled": turned.to_bytes(),
        },
    }


_PARSERS = {"metaimage": parse_metaimage, "nrrd": parse_nrrd, "nifti": parse_nifti}


@pytest.mark.parametrize("kind", _PARSERS)
def test_the_files_themselves_are_read(kind: str) -> None:
    for content in _seeds()[kind].values():
        assert check_reader(_PARSERS[kind], content) is not None


@given(st.data())
@FUZZ
def test_metaimage(data: st.DataObject) -> None:
    check_reader(parse_metaimage, data.draw(mutated(_seeds()["metaimage"])))


@given(st.data())
@FUZZ
def test_nrrd(data: st.DataObject) -> None:
    check_reader(parse_nrrd, data.draw(mutated(_seeds()["nrrd"])))


@given(st.data())
@FUZZ
def test_nifti(data: st.DataObject) -> None:
    fields = {name: tuple(range(40, 128, 2)) for name in ("grey", "colour", "scaled")}
    check_reader(parse_nifti, data.draw(mutated(_seeds()["nifti"], fields=fields)))


_WORDS = st.sampled_from(
    [
        "", "0", "-1", "1", "3 2", "2 3 1", "nan", "1e999", "-0", str(2**31), str(2**63), "LPS",
        "none", "(1,0,0) (0,1,0) (0,0,1)", "list domain", "True", "False", "raw", "gzip", "hex",
        "text", "float", "double", "MET_DOUBLE", "MET_LONG_LONG", "big", "\0", "\r", "\u00b5m",
    ]
)  # fmt: skip
_NRRD_FIELDS = st.sampled_from(
    [
        "type", "dimension", "sizes", "encoding", "endian", "spacings", "space", "space dimension",
        "space directions", "space origin", "kinds", "axis mins", "axis maxs", "centers", "units",
        "line skip", "byte skip", "space units", "data file", "Segment0_Name:", "Segment0_Layer:",
    ]
)  # fmt: skip
_META_KEYS = st.sampled_from(
    [
        "NDims", "DimSize", "ElementType", "BinaryData", "CompressedData", "CompressedDataSize",
        "HeaderSize", "ElementSpacing", "ElementNumberOfChannels", "Offset", "TransformMatrix",
        "ElementByteOrderMSB", "DistanceUnits", "ElementDataFile", "ObjectType",
    ]
)  # fmt: skip


@given(st.dictionaries(_NRRD_FIELDS, _WORDS, max_size=4), st.binary(max_size=64))
@example({"line skip": str(10**12)}, b"")  # it never ended
@FUZZ
def test_nrrd_fields(header: dict[str, str], data: bytes) -> None:
    parsed = check_reader(parse_nrrd, nrrd(header, data))
    if isinstance(parsed, Nrrd) and parsed.segments:
        check_reader(_by_segments, nrrd(header, data))


@given(st.dictionaries(_META_KEYS, _WORDS, max_size=4), st.binary(max_size=64))
@FUZZ
def test_metaimage_keys(header: dict[str, str], data: bytes) -> None:
    check_reader(parse_metaimage, metaimage(header, data))


def _by_segments(file: Any) -> Nrrd:
    parsed = parse_nrrd(file)
    segmentation_labels(parsed, {one.name: 1 for one in parsed.segments})
    return parsed
