"""Uncompressed DICOM: every layout of pixels against GDCM, and exact lengths."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import dicom_header
from lfusion.image.dicom import is_dicom, parse_dicom

if TYPE_CHECKING:
    from tests.support.dicom_files import (
        BIG_ENDIAN,
        DEFLATED,
        EXPLICIT,
        IMPLICIT,
        DicomFile,
        described,
        dicom,
        element,
        gdcm,
        noise,
        parsed,
        reason,
    )
else:
    from dicom_files import (
        BIG_ENDIAN,
        DEFLATED,
        EXPLICIT,
        IMPLICIT,
        DicomFile,
        described,
        dicom,
        element,
        gdcm,
        noise,
        parsed,
        reason,
    )

_sitk: Any = SimpleITK
GREY = np.arange(24, dtype=np.uint8).reshape(4, 6)
COLOUR = noise(4, 6, 3)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_uncompressed_transfer_syntax(syntax: str, bits: int, tmp_path: Path) -> None:
    values = noise(4, 6, top=2**bits)
    order = ">" if syntax == BIG_ENDIAN else "<"
    pixels = values.astype(np.dtype(f"{order}u{bits // 8}")).tobytes()
    if syntax == BIG_ENDIAN and bits == 8:  # two of them in one word of 16 bits
        pixels = np.frombuffer(pixels, "<u2").astype(">u2").tobytes()
    content = dicom(pixels, syntax=syntax, **described(values))
    np.testing.assert_array_equal(parsed(content).shown()[0], values)
    np.testing.assert_array_equal(gdcm(content, tmp_path)[0], values)


def test_bytes_in_words_of_big_endian_by_frame() -> None:
    frames = np.arange(45, dtype=np.uint8).reshape(3, 3, 5)
    pixels = np.frombuffer(frames.tobytes() + b"\0", "<u2").astype(">u2").tobytes()
    header = described(frames[0], NumberOfFrames=3)
    image = parsed(dicom(pixels, syntax=BIG_ENDIAN, **header))
    np.testing.assert_array_equal([image.shown(n)[0] for n in range(3)], frames)


@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_by_pixel_and_by_plane(planar: int, tmp_path: Path) -> None:
    stored = np.moveaxis(COLOUR, -1, 0) if planar else COLOUR
    content = dicom(stored.tobytes(), **described(COLOUR, PlanarConfiguration=planar))
    np.testing.assert_array_equal(parsed(content).shown()[0], COLOUR)
    np.testing.assert_array_equal(gdcm(content, tmp_path)[0], COLOUR)


def test_ybr_full(tmp_path: Path) -> None:
    content = dicom(COLOUR.tobytes(), **described(COLOUR, PhotometricInterpretation="YBR_FULL"))
    shown = parsed(content).shown()[0]
    np.testing.assert_allclose(shown, gdcm(content, tmp_path)[0].astype(int), atol=1)


def test_ybr_full_422_shares_chroma_by_two_pixels() -> None:
    quads = np.array([[[100, 50, 128, 128], [20, 30, 128, 128]]] * 2, np.uint8)
    header = described(np.zeros((2, 4, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    shown = parsed(dicom(quads.tobytes(), **header)).shown()[0]
    np.testing.assert_array_equal(shown[..., 0], [[100, 50, 20, 30]] * 2)
    np.testing.assert_array_equal(shown[..., 0], shown[..., 2])


def test_ybr_full_422_that_holds_all_chroma() -> None:
    ybr = np.full((2, 4, 3), 128, np.uint8)
    ybr[..., 0] = np.arange(8).reshape(2, 4)
    header = described(ybr, PhotometricInterpretation="YBR_FULL_422")
    np.testing.assert_array_equal(
        parsed(dicom(ybr.tobytes(), **header)).shown()[0, ..., 0], ybr[..., 0]
    )


def test_ybr_partial_uses_the_studio_range() -> None:
    quads = np.array([[[16, 235, 128, 128]]], np.uint8)
    header = described(np.zeros((1, 2, 3), np.uint8), PhotometricInterpretation="YBR_PARTIAL_422")
    assert parsed(dicom(quads.tobytes(), **header)).shown()[0, 0].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize("frames", [1, 3])
def test_single_bits_follow_each_other_across_frames(frames: int) -> None:
    values = np.random.default_rng(0).integers(0, 2, (frames, 3, 5), dtype=np.uint8)
    header = described(values[0], BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=frames)
    packed = np.packbits(values.ravel(), bitorder="little").tobytes()
    image = parsed(dicom(packed, **header))
    np.testing.assert_array_equal(image.shown(), values * 255)
    np.testing.assert_array_equal(image.shown(frames - 1)[0], values[-1] * 255)


def test_six_bits_are_shown_as_eight() -> None:
    shown = parsed(dicom(bytes([0, 63] * 12), BitsStored=6, HighBit=5)).shown()[0]
    assert shown[0].tolist() == [0, 255] * 3


def test_bits_that_are_not_stored_are_masked(tmp_path: Path) -> None:
    values = noise(4, 6, top=4096)
    header = described(values, BitsStored=12, HighBit=11)
    content = dicom((values | np.uint16(0xA000)).tobytes(), **header)
    np.testing.assert_array_equal(parsed(content).shown()[0], values)
    np.testing.assert_array_equal(gdcm(content, tmp_path)[0], values)


def test_bits_stored_at_the_top() -> None:
    values = noise(4, 6, top=4096)
    header = described(values, BitsStored=12, HighBit=15)
    image = parsed(dicom((values << np.uint16(4)).tobytes(), **header))
    np.testing.assert_array_equal(image.shown()[0], values)
    assert image.significant_bits == 12


def test_signed_values_are_stretched_over_the_file() -> None:
    frames = np.array([[[-8, 0]], [[4, 8]]], np.int16)
    header = described(frames[0].astype(np.uint16), PixelRepresentation=1, NumberOfFrames=2)
    image = parsed(dicom(frames.tobytes(), **header))
    np.testing.assert_allclose(image.shown(), [[[0, 0.5]], [[0.75, 1]]])
    np.testing.assert_allclose(image.shown(1), [[[0.75, 1]]])


def test_sign_of_fewer_bits_than_allocated() -> None:
    values = np.array([[0x0FFF, 0x0000, 0x0001]], np.uint16)  # −1, 0 and 1 in 12 bits
    header = described(values, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_allclose(parsed(dicom(values.tobytes(), **header)).shown()[0], [[0, 0.5, 1]])


def test_thirty_two_bits(tmp_path: Path) -> None:
    values = (noise(4, 6, top=2**16).astype(np.uint32) << 8).astype(np.uint32)
    content = dicom(values.tobytes(), **described(values))
    np.testing.assert_array_equal(parsed(content).shown()[0], values)


def test_monochrome1_is_inverted_in_the_scale_of_the_data() -> None:
    values = np.array([[0, 1023, 300]], np.uint16)
    header = described(values, PhotometricInterpretation="MONOCHROME1")
    shown = parsed(dicom(values.tobytes(), **header)).shown()[0]
    np.testing.assert_allclose(shown, [[1, 0, 723 / 1023]], atol=1e-6)
    assert (
        parsed(dicom(GREY.tobytes(), PhotometricInterpretation="MONOCHROME1")).shown()[0, 0, 1]
        == 254
    )


@pytest.mark.parametrize(
    ("photometric", "shape"), [("MONOCHROME1", "IDENTITY"), ("MONOCHROME2", "INVERSE")]
)
def test_contradictory_presentation_is_refused(photometric: str, shape: str) -> None:
    content = dicom(
        GREY.tobytes(), PhotometricInterpretation=photometric, PresentationLUTShape=shape
    )
    assert "contradict" in reason(content)


@pytest.mark.parametrize(
    ("photometric", "shape"),
    [("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY"), ("MONOCHROME2", b"")],
)
def test_presentation_that_agrees(photometric: str, shape: str | bytes) -> None:
    content = dicom(
        GREY.tobytes(), PhotometricInterpretation=photometric, PresentationLUTShape=shape
    )
    first = parsed(content).shown()[0, 0, 0]
    assert first == (255 if photometric == "MONOCHROME1" else 0)


def _palette(bits: int, count: int = 4, first: int = 0) -> dict[str, Any]:
    names = ("Red", "Green", "Blue")
    colours = np.arange(3 * count, dtype=np.uint16).reshape(3, count) * (20 if bits == 8 else 5000)
    values: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, row in zip(names, colours, strict=True):
        values[f"{name}PaletteColorLookupTableDescriptor"] = [count, first, bits]
        values[f"{name}PaletteColorLookupTableData"] = row.astype("<u2").tobytes()
    return values


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(bits: int, tmp_path: Path) -> None:
    content = dicom(bytes([0, 1, 2, 3, 2, 1] * 4), **_palette(bits))
    shown = parsed(content).shown()[0]
    step = 20 if bits == 8 else 5000
    assert shown[0, :4].tolist() == [[n * step, (4 + n) * step, (8 + n) * step] for n in range(4)]
    if bits == 16:
        # GDCM shows 8 of the 16 bits.
        np.testing.assert_allclose(gdcm(content, tmp_path)[0], shown / 257, atol=1)


def test_palette_with_two_entries_in_a_word_and_a_first_value() -> None:
    values = _palette(8, first=10)
    for name in ("Red", "Green", "Blue"):
        values[f"{name}PaletteColorLookupTableData"] = bytes([5, 6, 7, 8])
    shown = parsed(dicom(bytes([0, 10, 11, 13, 14, 200] * 4), **values)).shown()[0, 0, :, 0]
    assert shown.tolist() == [5, 5, 6, 8, 8, 8]


def test_palette_that_is_short_or_segmented() -> None:
    short = _palette(16) | {"RedPaletteColorLookupTableData": bytes(4)}
    assert "promises 4 entries, the file holds 2" in reason(dicom(bytes(24), **short))
    parts = _palette(16) | {"SegmentedRedPaletteColorLookupTableData": bytes(8)}
    assert "segmented" in reason(dicom(bytes(24), **parts))


def test_modality_table_and_rescale() -> None:
    table = {"LUTDescriptor": [3, 0, 8], "LUTData": struct.pack("<3H", 200, 100, 0)}
    content = dicom(bytes([0, 1, 2] * 8), ModalityLUTSequence=[table])
    assert parsed(content).shown()[0, 0, :3].tolist() == [200, 100, 0]
    scaled = dicom(bytes([0, 1, 2] * 8), RescaleSlope="-1", RescaleIntercept="0")
    np.testing.assert_allclose(parsed(scaled).shown()[0, 0, :3], [1, 0.5, 0])


@pytest.mark.parametrize("empty", [b"", "0"])
def test_empty_and_zero_values_count_as_absent(empty: str | bytes) -> None:
    content = dicom(
        GREY.tobytes(),
        RescaleSlope=empty,
        RescaleIntercept=empty,
        NumberOfFrames=empty,
        PixelSpacing=empty,
        PresentationLUTShape=b"",
        BitsStored=0,
        HighBit=0,
        SamplesPerPixel=b"",
        PixelRepresentation=b"",
        PhotometricInterpretation=b"",
        SequenceOfUltrasoundRegions=b"",
    )
    image = parsed(content)
    np.testing.assert_array_equal(image.shown()[0], GREY)
    assert (image.layout.frames, image.pixel_size_mm) == (1, None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"PhotometricInterpretation": "ARGB"}, "ARGB is not read"),
        ({"PhotometricInterpretation": "HSV"}, "HSV is not read"),
        ({"PhotometricInterpretation": "CMYK"}, "CMYK is not read"),
        ({"PhotometricInterpretation": "RGB"}, "1 samples a pixel"),
        ({"SamplesPerPixel": 3}, "3 samples a pixel"),
        ({"BitsAllocated": 12, "BitsStored": 12, "HighBit": 11}, "12 bits allocated"),
        ({"BitsAllocated": 64}, "64 bits allocated"),
        ({"BitsStored": 9, "HighBit": 8}, "contradict"),
        ({"HighBit": 3}, "contradict"),
        ({"Rows": 0}, "no image size"),
        ({"Modality": "SEG"}, "segmentation"),
        ({"PixelPresentation": "COLOR"}, "supplemental colour table"),
        ({"NumberOfFrames": "1.5"}, "whole number"),
        ({"PixelSpacing": "a\\b"}, "not a number"),
    ],
)
def test_what_is_no_image_that_is_read(change: dict[str, Any], text: str) -> None:
    assert text in reason(dicom(GREY.tobytes(), **change))


def test_a_file_without_pixels() -> None:
    content = dicom(GREY.tobytes(), Rows=None)
    assert "without pixels" in reason(content[: content.index(b"\xe0\x7f\x10\0")])
    content = dicom(GREY.tobytes())
    assert "no pixel data" in reason(content[: content.index(b"\xe0\x7f\x10\0")])


@pytest.mark.parametrize(
    ("held", "header", "numbers"),
    [
        (6 * 24, {"NumberOfFrames": 16}, ("16 frames in 384", "holds 6 in 144")),
        (22, {}, ("1 frames in 24", "holds 0 in 22")),
        (48, described(COLOUR), ("1 frames in 72", "holds 0 in 48")),
        (24, {"BitsAllocated": 16}, ("1 frames in 48", "holds 0 in 24")),
        (2, {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, ("1 frames in 3", "0 in 2")),
    ],
)
def test_pixel_data_shorter_than_promised(
    held: int, header: dict[str, Any], numbers: tuple[str, ...]
) -> None:
    text = reason(dicom(bytes(range(held % 256)) * (held // max(held % 256, 1)), **header))
    assert all(number in text for number in numbers)


def test_a_cine_that_was_cut_off() -> None:
    content = dicom(bytes(range(240)), NumberOfFrames=10)
    assert "promises 10 frames in 240 bytes" in reason(content[:-60])
    assert "holds 7 in 180" in reason(content[:-60])


def test_longer_data_are_padding_or_refused() -> None:
    padded = dicom(GREY.tobytes() + bytes(2))
    np.testing.assert_array_equal(parsed(padded).shown()[0], GREY)
    odd = np.arange(9, dtype=np.uint8).reshape(3, 3)
    assert parsed(dicom(odd.tobytes() + b"\x07", **described(odd))).shown().shape == (1, 3, 3)
    for extra in (bytes(24), b"\1\2\3\4"):
        text = reason(dicom(GREY.tobytes() + extra))
        assert (
            f"promises 1 frames in 24 bytes of pixel data, the file holds {24 + len(extra)}" in text
        )


def test_one_frame_is_read_and_no_other(tmp_path: Path) -> None:
    frames = noise(200, 64, 64)
    path = tmp_path / "cine.dcm"
    path.write_bytes(dicom(frames.tobytes(), **described(frames[0], NumberOfFrames=200)))
    with path.open("rb", buffering=0) as raw:
        read = 0

        class Counted(DicomFile):
            def read(self, count: int | None = -1) -> bytes:
                nonlocal read
                content = raw.read(-1 if count is None else count)
                assert content is not None
                read += len(content)
                return content

            def seek(self, offset: int, whence: int = 0) -> int:
                return raw.seek(offset, whence)

        image = parse_dicom(Counted())
        np.testing.assert_array_equal(image.shown(100)[0], frames[100])
    assert read < 4096 + 64 * 64


def test_limits_count_before_anything_is_allocated() -> None:
    changes: list[dict[str, Any]] = [{"Rows": 65535, "Columns": 65535}, {"NumberOfFrames": 10**9}]
    for change in changes:
        with pytest.raises(TooLargeError):
            parsed(dicom(GREY.tobytes(), **change))


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_recognised_by_content(preamble: bool, meta: bool, syntax: str) -> None:
    content = dicom(GREY.tobytes(), syntax=syntax, preamble=preamble, meta=meta)
    assert is_dicom(DicomFile(content))
    np.testing.assert_array_equal(parsed(content).shown()[0], GREY)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + bytes(200),
        b"II*\0\x08\0\0\0" + bytes(200),
        b"BM" + bytes(200),
        b"\xff\xd8\xff\xe0" + bytes(200),
        b"\x5c\x01\0\0" + bytes(400),
        b"\x1f\x8b\x08\0" + bytes(200),
        b"NRRD0004\n" + bytes(200),
        b"ObjectType = Image\n" + bytes(200),
        b"\x08\0" + b"\xff" * 200,
        b"\x08\0\x05\0" + b"\xff" * 200,
    ],
)
def test_other_formats_are_no_dicom(content: bytes) -> None:
    assert not is_dicom(DicomFile(content))
    assert "no DICOM file" in reason(content)


def test_syntax_that_the_data_contradict() -> None:
    """Vendors have written implicit data under an explicit transfer syntax, and the reverse."""
    for syntax, named in ((IMPLICIT, EXPLICIT), (EXPLICIT, IMPLICIT)):
        content = dicom(GREY.tobytes(), syntax=syntax, named=named)
        np.testing.assert_array_equal(parsed(content).shown()[0], GREY)


def test_sequences_of_undefined_length_are_skipped() -> None:
    start = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    ends = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    inner = element(0x00280010, "US", b"\1\0")
    for depth in (1, 3, 2000):
        nested = (start + item) * depth + inner + ends * depth
        content = dicom(GREY.tobytes())
        place = content.index(element(0x00080060, "CS", b"US"))
        np.testing.assert_array_equal(
            parsed(content[:place] + nested + content[place:]).shown()[0], GREY
        )
        assert "ends inside" in reason(content[:place] + nested[:-8])


def test_a_header_with_too_many_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_header, "MAX_ELEMENTS", 1000)
    content = dicom(GREY.tobytes())
    place = content.index(element(0x00080060, "CS", b"US"))
    many = element(0x00080061, "CS", b"") * 1001
    assert "more than 1000 elements" in reason(content[:place] + many + content[place:])


def test_rows_given_twice() -> None:
    content = dicom(GREY.tobytes())
    rows = element(0x00280010, "US", b"\4\0")
    place = content.index(rows)
    assert "(0028,0010) twice" in reason(
        content[:place] + element(0x00280010, "US", b"\6\0") + content[place:]
    )


def test_a_deflated_bomb() -> None:
    with pytest.raises(TooLargeError, match="deflated"):
        parsed(dicom(bytes(2**28 + 1), syntax=DEFLATED, Rows=2**14, Columns=2**14))


def test_a_deflated_file_that_was_cut_off() -> None:
    assert "ends early" in reason(dicom(noise(64, 64).tobytes(), syntax=DEFLATED)[:-40])


def test_a_dicom_image_is_no_mask() -> None:
    with pytest.raises(ImageError, match="no class numbers"):
        parsed(dicom(GREY.tobytes())).stored()


_PLACES: dict[str, dict[str, Any]] = {
    "bare": {},
    "spacing": {"PixelSpacing": ["0.3", "0.4"]},
    "detector": {"ImagerPixelSpacing": ["0.5", "0.6"]},
    "scanner": {"NominalScannedPixelSpacing": ["0.7", "0.8"]},
    "all": {
        "PixelSpacing": ["0.3", "0.4"],
        "ImagerPixelSpacing": ["0.5", "0.6"],
        "NominalScannedPixelSpacing": ["0.7", "0.8"],
    },
    "aspect": {"PixelAspectRatio": ["1", "2"]},
    "placed": {
        "PixelSpacing": ["0.3", "0.4"],
        "ImagePositionPatient": ["1", "2", "3"],
        "ImageOrientationPatient": ["0", "1", "0", "0", "0", "-1"],
        "SpacingBetweenSlices": "3.5",
        "SliceThickness": "2.5",
    },
    "no axes": {"ImageOrientationPatient": ["0", "0", "0", "0", "0", "0"]},
}
_CLASSES = ("6.1", "3.1", "6", "7", "7.2", "2", "4", "1", "1.1", "12.1", "6.2", "77.1.4")


@pytest.mark.parametrize("kind", _CLASSES)
@pytest.mark.parametrize("place", _PLACES)
def test_place_as_itk_and_slicer_open_it(kind: str, place: str, tmp_path: Path) -> None:
    content = dicom(
        bytes(72), SOPClassUID="1.2.840.10008.5.1.4.1.1." + kind, NumberOfFrames=3, **_PLACES[place]
    )
    path = tmp_path / "oracle.dcm"
    path.write_bytes(content)
    reader = _sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    geometry = parsed(content).geometry
    assert geometry.spacing == pytest.approx(reader.GetSpacing())
    assert geometry.origin == pytest.approx(reader.GetOrigin())
    assert geometry.direction == pytest.approx(reader.GetDirection())
