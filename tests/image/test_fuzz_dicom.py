"""Changed bytes of DICOM files: values within the limits or an `ImageError`, twice the same."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import imagecodecs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfusion.image.dicom import parse_dicom

if TYPE_CHECKING:
    from tests.support.dicom_files import (
        BASELINE,
        BIG_ENDIAN,
        DEFLATED,
        IMPLICIT,
        JPEG_2000_LOSSLESS,
        JPEG_LS,
        LOSSLESS,
        RLE,
        described,
        dicom,
        noise,
    )
    from tests.support.fuzzing import FUZZ, check_reader, mutated
else:
    from dicom_files import (
        BASELINE,
        BIG_ENDIAN,
        DEFLATED,
        IMPLICIT,
        JPEG_2000_LOSSLESS,
        JPEG_LS,
        LOSSLESS,
        RLE,
        described,
        dicom,
        noise,
    )
    from fuzzing import FUZZ, check_reader, mutated

_codecs: Any = imagecodecs
_REGION = {
    "RegionSpatialFormat": 1,
    "RegionDataType": 1,
    "PhysicalUnitsXDirection": 3,
    "PhysicalUnitsYDirection": 3,
    "PhysicalDeltaX": 0.02,
    "PhysicalDeltaY": 0.02,
}


@cache
def _seeds() -> dict[str, dict[str, bytes]]:
    grey, wide, colour = noise(23, 18), noise(23, 18, top=4096), noise(23, 18, 3)
    cine = noise(3, 23, 18)
    inverted = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    table = bytes(range(256)) * 2
    palette: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name in ("Red", "Green", "Blue"):
        palette[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        palette[f"{name}PaletteColorLookupTableData"] = table
    j2k = {"codecformat": "j2k", "reversible": True}
    jpeg = bytes(_codecs.jpeg8_encode(colour, level=90))
    planes = bytes(_codecs.packbits_encode(grey.tobytes()))
    return {
        "plain": {
            "grey": dicom(grey.tobytes(), **described(grey, SequenceOfUltrasoundRegions=[_REGION])),
            "wide": dicom(wide.tobytes(), syntax=BIG_ENDIAN, **described(wide, **inverted)),
            "cine": dicom(cine.tobytes(), syntax=IMPLICIT, **described(cine[0], NumberOfFrames=3)),
            "colour": dicom(colour.tobytes(), **described(colour, PlanarConfiguration=1)),
            "palette": dicom(grey.tobytes(), **described(grey, **palette)),
            "signed": dicom(wide.tobytes(), **described(wide, PixelRepresentation=1)),
            "deflated": dicom(grey.tobytes(), syntax=DEFLATED, **described(grey)),
        },
        "compressed": {
            "jpeg": dicom([jpeg, jpeg], syntax=BASELINE, **described(colour, NumberOfFrames=2)),
            "rle": dicom([b"\1\0\0\0\x40" + bytes(59) + planes], syntax=RLE, **described(grey)),
        },
        "sandboxed": {
            "jpeg 2000": dicom(
                [bytes(_codecs.jpeg2k_encode(colour, **j2k))],
                syntax=JPEG_2000_LOSSLESS,
                **described(colour),
            ),
            "jpeg ls": dicom(
                [bytes(_codecs.jpegls_encode(wide))], syntax=JPEG_LS, **described(wide)
            ),
            "lossless": dicom(
                [bytes(_codecs.jpeg8_encode(grey, lossless=True, predictor=1))],
                syntax=LOSSLESS,
                **described(grey),
            ),
        },
    }


def _header(content: bytes) -> tuple[int, ...]:
    """Offsets of the values of group 28, the pixel data's own header and the first of them."""
    start, end = content.find(b"\x28\0\2\0"), content.find(b"\xe0\x7f\x10\0")
    return tuple(range(start, end + 80)) if 0 < start < end else ()


@pytest.mark.parametrize("kind", ["plain", "compressed", "sandboxed"])
def test_changed_bytes(kind: str) -> None:
    seeds = _seeds()[kind]
    fields = {name: _header(content) for name, content in seeds.items()}

    @FUZZ
    @given(st.data())
    def check(data: st.DataObject) -> None:
        check_reader(parse_dicom, data.draw(mutated(seeds, fields=fields)))

    check()


def test_the_seeds_are_read() -> None:
    for seeds in _seeds().values():
        for name, content in seeds.items():
            assert check_reader(parse_dicom, content) is not None, name
