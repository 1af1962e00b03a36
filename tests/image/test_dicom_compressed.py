"""Compressed DICOM: the stream's own markers count, and nothing is decoded that is not there."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import TooLargeError

if TYPE_CHECKING:
    from tests.support.dicom_files import (
        BASELINE,
        EXTENDED,
        HTJ2K,
        JPEG_2000,
        JPEG_2000_LOSSLESS,
        JPEG_LS,
        JPEG_LS_NEAR,
        LOSSLESS,
        RLE,
        described,
        dicom,
        gdcm,
        noise,
        parsed,
        reason,
    )
else:
    from dicom_files import (
        BASELINE,
        EXTENDED,
        HTJ2K,
        JPEG_2000,
        JPEG_2000_LOSSLESS,
        JPEG_LS,
        JPEG_LS_NEAR,
        LOSSLESS,
        RLE,
        described,
        dicom,
        gdcm,
        noise,
        parsed,
        reason,
    )

_codecs: Any = imagecodecs
GREY = noise(32, 40)
WIDE = noise(32, 40, top=4096)
COLOUR = noise(32, 40, 3)


def jpeg(values: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", **{"quality": 95, **options})
    return file.getvalue()


def lossless(values: NDArray[Any], bits: int) -> bytes:
    return bytes(_codecs.jpeg8_encode(values, lossless=True, predictor=1, bitspersample=bits))


def rle(values: NDArray[Any]) -> bytes:
    """The run lengths of one frame: a plane for each byte of a sample, the highest first."""
    samples = values.reshape(-1, 1 if values.ndim == 2 else 3).T
    planes = [
        plane.astype(plane.dtype.newbyteorder(">")).view(np.uint8).reshape(len(plane), -1)[:, byte]
        for plane in samples
        for byte in range(values.dtype.itemsize)
    ]
    parts = [bytes(_codecs.packbits_encode(plane.tobytes())) for plane in planes]
    parts = [part + b"\0" * (len(part) % 2) for part in parts]
    starts = [64 + sum(map(len, parts[:number])) for number in range(len(parts))]
    return struct.pack("<16I", len(parts), *starts, *[0] * (15 - len(parts))) + b"".join(parts)


def without_markers(stream: bytes) -> bytes:
    """A JPEG stream without JFIF and Adobe markers, its components named 1, 2 and 3."""
    position, parts = 2, [stream[:2]]
    while True:
        marker = stream[position + 1]
        length = int.from_bytes(stream[position + 2 : position + 4], "big") + 2
        part = bytearray(stream[position : position + length])
        if marker in (0xC0, 0xC1, 0xC3):
            part[10::3] = bytes(range(1, part[9] + 1))
        elif marker == 0xDA:
            part[5 : 5 + 2 * part[4] : 2] = bytes(range(1, part[4] + 1))
        if not 0xE0 <= marker <= 0xEF:
            parts.append(bytes(part))
        position += length
        if marker == 0xDA:
            return b"".join([*parts, stream[position:]])


def rgb_jpeg() -> bytes:
    """RGB components as they are, with Adobe's marker."""
    return bytes(_codecs.jpeg8_encode(COLOUR, level=98, colorspace="RGB", outcolorspace="RGB"))


J2K = {"codecformat": "j2k", "reversible": True}
STREAMS: dict[str, tuple[str, NDArray[Any], Callable[[], bytes], int]] = {
    "baseline grey": (BASELINE, GREY, lambda: jpeg(GREY), 12),
    "baseline colour": (BASELINE, COLOUR, lambda: jpeg(COLOUR, subsampling=0), 20),
    "extended 12": (
        EXTENDED,
        WIDE,
        lambda: bytes(_codecs.jpeg8_encode(WIDE, level=99, bitspersample=12)),
        8,
    ),
    "lossless 8": (LOSSLESS, GREY, lambda: lossless(GREY, 8), 0),
    "lossless 12": (LOSSLESS, WIDE, lambda: lossless(WIDE, 12), 0),
    "lossless 16": (LOSSLESS, WIDE * 16, lambda: lossless(WIDE * 16, 16), 0),
    "lossless colour": (LOSSLESS, COLOUR, lambda: lossless(COLOUR, 8), 0),
    "LS 8": (JPEG_LS, GREY, lambda: bytes(_codecs.jpegls_encode(GREY)), 0),
    "LS 16": (JPEG_LS, WIDE, lambda: bytes(_codecs.jpegls_encode(WIDE)), 0),
    "LS near": (JPEG_LS_NEAR, WIDE, lambda: bytes(_codecs.jpegls_encode(WIDE, level=3)), 3),
    "LS colour": (JPEG_LS, COLOUR, lambda: bytes(_codecs.jpegls_encode(COLOUR)), 0),
    "2000 8": (JPEG_2000_LOSSLESS, GREY, lambda: bytes(_codecs.jpeg2k_encode(GREY, **J2K)), 0),
    "2000 16": (JPEG_2000_LOSSLESS, WIDE, lambda: bytes(_codecs.jpeg2k_encode(WIDE, **J2K)), 0),
    "2000 lossy": (
        JPEG_2000,
        GREY,
        lambda: bytes(_codecs.jpeg2k_encode(GREY, 50, codecformat="j2k")),
        6,
    ),
    "2000 RCT": (
        JPEG_2000_LOSSLESS,
        COLOUR,
        lambda: bytes(_codecs.jpeg2k_encode(COLOUR, **J2K)),
        0,
    ),
    "2000 planes": (
        JPEG_2000_LOSSLESS,
        COLOUR,
        lambda: bytes(_codecs.jpeg2k_encode(COLOUR, mct=False, **J2K)),
        0,
    ),
    "HT": (HTJ2K, WIDE, lambda: bytes(_codecs.htj2k_encode(WIDE, reversible=True)), 0),
    "RLE 8": (RLE, GREY, lambda: rle(GREY), 0),
    "RLE 16": (RLE, WIDE, lambda: rle(WIDE), 0),
    "RLE colour": (RLE, COLOUR, lambda: rle(COLOUR), 0),
}


@pytest.mark.parametrize("name", STREAMS)
def test_every_codec_as_stored_and_as_gdcm_reads_it(name: str, tmp_path: Path) -> None:
    syntax, values, encode, tolerance = STREAMS[name]
    header = described(values)
    if "12" in name:
        header |= {"BitsStored": 12, "HighBit": 11}
    if name == "baseline colour":
        header |= {"PhotometricInterpretation": "YBR_FULL_422"}  # as GDCM wants to be told
    content = dicom([encode()], syntax=syntax, **header)
    shown = parsed(content).shown()[0]
    assert shown.shape == values.shape
    assert np.abs(shown.astype(int) - values).max() <= tolerance
    if name not in ("HT", "2000 planes"):  # GDCM reads no HTJ2K
        assert np.abs(gdcm(content, tmp_path)[0].astype(int) - shown).max() <= 2


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("share", [0.4, 0.8, 0.97])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_stream_that_ends_early(name: str, share: float, end: bytes) -> None:
    syntax, values, encode, _ = STREAMS[name]
    stream = encode()
    if name.startswith("RLE") and end:
        pytest.skip("run lengths have no end marker")
    cut = stream[: int(len(stream) * share)] + end
    text = reason(dicom([cut], syntax=syntax, **described(values)))
    assert "copy it again" in text or "damaged" in text


@pytest.mark.parametrize(
    "name", ["lossless 8", "LS 8", "2000 8", "HT", "baseline grey", "extended 12"]
)
def test_a_small_header_over_a_huge_stream_is_refused_at_once(name: str) -> None:
    syntax, values, encode, _ = STREAMS[name]
    stream = encode()
    if b"\xff\x4f\xff\x51" in stream:
        place = stream.index(b"\xff\x51") + 6
        stream = stream[:place] + struct.pack(">II", 20_000, 20_000) + stream[place + 8 :]
    else:
        marker = next(
            m for m in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc3", b"\xff\xf7") if m in stream
        )
        place = stream.index(marker) + 5
        stream = stream[:place] + struct.pack(">HH", 20_000, 20_000) + stream[place + 4 :]
    started = time.perf_counter()
    with pytest.raises(TooLargeError, match="20000"):
        parsed(dicom([stream], syntax=syntax, **described(values)))
    assert time.perf_counter() - started < 1


def test_a_size_that_contradicts_the_stream() -> None:
    text = reason(dicom([jpeg(GREY)], syntax=BASELINE, **described(GREY, Rows=31)))
    assert "31 x 40" in text
    assert "32 x 40" in text
    text = reason(dicom([jpeg(COLOUR)], syntax=BASELINE, **described(GREY)))
    assert "1 samples" in text
    assert "has 3" in text
    wide = bytes(_codecs.jpeg2k_encode(WIDE, codecformat="j2k", reversible=True))
    assert "allocates 8 bits" in reason(dicom([wide], syntax=JPEG_2000_LOSSLESS, **described(GREY)))


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_FULL_422", b""])
def test_jpeg_colour_follows_the_markers_of_the_stream(photometric: str | bytes) -> None:
    header = described(COLOUR, PhotometricInterpretation=photometric)
    for stream in (jpeg(COLOUR, subsampling=0), jpeg(COLOUR, quality=98), rgb_jpeg()):
        expected = np.asarray(Image.open(io.BytesIO(stream)).convert("RGB")).astype(int)
        shown = parsed(dicom([stream], syntax=BASELINE, **header)).shown()[0]
        assert np.abs(shown - expected).max() <= 2


def test_jpeg_without_markers_follows_the_header() -> None:
    ybr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    plain = without_markers(jpeg(COLOUR, subsampling=0, quality=98))
    for photometric, expected in (("YBR_FULL", COLOUR), ("RGB", ybr)):
        header = described(COLOUR, PhotometricInterpretation=photometric)
        shown = parsed(dicom([plain], syntax=BASELINE, **header)).shown()[0]
        assert np.abs(shown.astype(int) - expected).max() <= 24
    header = described(COLOUR, PhotometricInterpretation="RGB")
    shown = parsed(dicom([without_markers(rgb_jpeg())], syntax=BASELINE, **header)).shown()[0]
    assert np.abs(shown.astype(int) - COLOUR).max() <= 12


def test_a_contradictory_header_gives_the_same_picture(shared_cases: Path) -> None:
    wrong = (shared_cases / "jpeg_colour/wrong_rgb.dcm").read_bytes()
    right = (shared_cases / "jpeg_colour/right_ybr422.dcm").read_bytes()
    np.testing.assert_array_equal(parsed(wrong).shown(), parsed(right).shown())


@pytest.mark.parametrize("name", ["LS colour", "lossless colour", "RLE colour", "2000 planes"])
def test_lossless_components_in_ybr_are_converted(name: str) -> None:
    ybr = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    syntax = STREAMS[name][0]
    stream = {
        "LS colour": lambda: bytes(_codecs.jpegls_encode(ybr)),
        "lossless colour": lambda: without_markers(lossless(ybr, 8)),
        "RLE colour": lambda: rle(ybr),
        "2000 planes": lambda: bytes(_codecs.jpeg2k_encode(ybr, mct=False, **J2K)),
    }[name]()
    header = described(ybr, PhotometricInterpretation="YBR_FULL")
    shown = parsed(dicom([stream], syntax=syntax, **header)).shown()[0]
    assert np.abs(shown.astype(int) - COLOUR).max() <= 3


@pytest.mark.parametrize("photometric", ["RGB", "YBR_RCT", "YBR_ICT", "YBR_FULL"])
def test_jpeg_2000_with_its_own_transform_is_rgb(photometric: str) -> None:
    stream = STREAMS["2000 RCT"][2]()
    header = described(COLOUR, PhotometricInterpretation=photometric)
    shown = parsed(dicom([stream], syntax=JPEG_2000_LOSSLESS, **header)).shown()[0]
    np.testing.assert_array_equal(shown, COLOUR)


def test_jp2_file_inside_of_a_fragment() -> None:
    stream = bytes(_codecs.jpeg2k_encode(WIDE, codecformat="jp2", reversible=True))
    shown = parsed(dicom([stream], syntax=JPEG_2000_LOSSLESS, **described(WIDE))).shown()[0]
    np.testing.assert_array_equal(shown, WIDE)


def test_signed_lossless_values() -> None:
    values = np.array([[-2, 0], [1, 2]], np.int16)
    stream = bytes(_codecs.jpegls_encode(values.view(np.uint16)))
    header = described(values.view(np.uint16), PixelRepresentation=1)
    shown = parsed(dicom([stream], syntax=JPEG_LS, **header)).shown()[0]
    np.testing.assert_allclose(shown, [[0, 0.5], [0.75, 1]])


FRAMES = [noise(16, 16, seed=seed) for seed in range(3)]
PARTS = [jpeg(frame) for frame in FRAMES]


def _offsets(fragments: list[bytes], firsts: list[int]) -> list[int]:
    sizes = [8 + len(part) + len(part) % 2 for part in fragments]
    return [sum(sizes[:first]) for first in firsts]


def _halves(parts: list[bytes]) -> list[bytes]:
    return [half for part in parts for half in (part[:200], part[200:])]


@pytest.mark.parametrize("frames", [3, b""])
@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("table", ["none", "basic", "extended", "wrong"])
def test_frames_from_fragments(frames: int | bytes, halved: bool, table: str) -> None:
    fragments = _halves(PARTS) if halved else PARTS
    offsets = _offsets(fragments, [0, 2, 4] if halved else [0, 1, 2])
    header = described(FRAMES[0], NumberOfFrames=frames)
    if table == "extended":
        header["ExtendedOffsetTable"] = struct.pack("<3Q", *offsets)
    shown = {"basic": offsets, "wrong": [0, 7, 9]}.get(table, [])
    image = parsed(dicom(fragments, syntax=BASELINE, table=shown, **header))
    assert image.layout.frames == 3
    for number, frame in enumerate(FRAMES):
        assert np.abs(image.shown(number)[0].astype(int) - frame).max() <= 12


@pytest.mark.parametrize("count", [2, 5])
def test_a_number_of_frames_that_contradicts_the_fragments(count: int) -> None:
    text = reason(dicom(PARTS, syntax=BASELINE, **described(FRAMES[0], NumberOfFrames=count)))
    assert f"promises {count} frames, the file holds 3" in text
    planes = [rle(frame) for frame in FRAMES]
    text = reason(dicom(planes, syntax=RLE, **described(FRAMES[0], NumberOfFrames=count)))
    assert f"promises {count} frames, the file holds 3" in text


def test_a_frame_of_another_size_in_a_cine() -> None:
    content = dicom(
        [PARTS[0], jpeg(GREY)], syntax=BASELINE, **described(FRAMES[0], NumberOfFrames=2)
    )
    assert "32 x 40" in reason(content)


def test_a_file_that_was_cut_off() -> None:
    content = dicom(PARTS, syntax=BASELINE, **described(FRAMES[0], NumberOfFrames=3))
    assert "fragment 3" in reason(content[:-60])
    whole = content[:-8]  # only the mark at the end is missing
    assert parsed(whole).shown().shape == (3, 16, 16)


def test_run_lengths_that_are_short_or_too_many() -> None:
    stream = rle(GREY)
    other = struct.pack("<16I", 2, 64, 70, *[0] * 13) + stream[64:]
    assert "promises 1 planes of bytes, the compressed image holds 2" in reason(
        dicom([other], syntax=RLE, **described(GREY))
    )
    short = rle(GREY[:16])
    assert "promises 1280 bytes for a plane, the compressed image holds 640" in reason(
        dicom([short], syntax=RLE, **described(GREY))
    )


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        ("1.2.840.10008.1.2.4.100", "video stream"),
        ("1.2.840.10008.1.2.4.102", "video stream"),
        ("1.2.840.10008.1.2.4.107", "video stream"),
        ("1.2.840.10008.1.2.4.94", "JPIP"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL"),
        ("1.2.3.4", "1.2.3.4 is not read"),
        ("", "missing"),
    ],
)
def test_transfer_syntaxes_that_are_not_read(syntax: str, text: str) -> None:
    assert text in reason(dicom([jpeg(GREY)], named=syntax, **described(GREY)))


def test_arithmetic_and_hierarchical_jpeg_are_refused_by_name() -> None:
    stream = jpeg(GREY)
    for marker, name in ((b"\xff\xc9", "arithmetic"), (b"\xff\xc5", "hierarchical")):
        changed = stream.replace(b"\xff\xc0", marker, 1)
        assert name in reason(dicom([changed], syntax=BASELINE, **described(GREY)))


def test_missing_tiles_of_jpeg_2000() -> None:
    stream = STREAMS["2000 8"][2]()
    place = stream.index(b"\xff\x51") + 6
    # twice the height: the header promises a second tile, which is not there
    changed = stream[:place] + struct.pack(">II", 40, 64) + stream[place + 8 :]
    content = dicom([changed], syntax=JPEG_2000_LOSSLESS, **described(noise(64, 40)))
    assert "has 2 tiles, the file holds 1" in reason(content)
