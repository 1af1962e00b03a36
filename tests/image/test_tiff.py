"""TIFF files of every byte order, layout, number type and compression."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError, TooLargeError
from lfusion.image import read_image, read_mask
from lfusion.image.pictures import parse_picture

if TYPE_CHECKING:
    from tests.support.fuzzing import peak_memory
    from tests.support.picture_files import shown, stored
else:
    from fuzzing import peak_memory
    from picture_files import shown, stored

SIZE = (37, 29)
COMPRESSIONS = [None, "lzw", "zlib", "packbits", "zstd", "lzma"]


def tiff(values: NDArray[Any], **options: Any) -> bytes:
    """A file that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def made(
    tags: dict[int, tuple[int, list[int] | bytes]], data: bytes = b"", order: str = "<"
) -> bytes:
    """A file of one page from its tags, pixel data at byte 8; the offset of strips is 8."""
    words = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B"}
    start = 8 + len(data) + len(data) % 2
    extra_at = start + 2 + 12 * len(tags) + 4
    entries = extra = b""
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}{words[kind]}", *values)
        entries += struct.pack(order + "HHI", tag, kind, len(values))
        if len(packed) <= 4:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", extra_at + len(extra))
            extra += packed
    mark = b"II*\0" if order == "<" else b"MM\0*"
    head = mark + struct.pack(order + "I", start)
    count = struct.pack(order + "H", len(tags))
    return head + data + bytes(len(data) % 2) + count + entries + bytes(4) + extra


def page(
    width: int, height: int, bits: int, data: bytes, **changes: tuple[int, list[int] | bytes]
) -> bytes:
    """A grey page of one strip; changes are `t` and the number of the tag."""
    tags: dict[int, tuple[int, list[int] | bytes]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [bits]),
        259: (3, [1]),
        262: (3, [1]),
        273: (4, [8]),
        277: (3, [1]),
        278: (4, [height]),
        279: (4, [len(data)]),
    }
    tags |= {int(name[1:]): value for name, value in changes.items()}
    return made({tag: value for tag, value in tags.items() if len(value[1])}, data)


def _noise(dtype: str, shape: tuple[int, ...] = SIZE) -> NDArray[Any]:
    rng = np.random.default_rng(3)
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype=np.dtype(dtype).newbyteorder("="))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 5}, {"tile": (16, 32)}])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_compressions_and_layouts(
    compression: str | None, layout: dict[str, Any], dtype: str
) -> None:
    values = _noise(dtype)
    content = tiff(values, compression=compression, **layout)
    np.testing.assert_array_equal(shown(content), values)
    np.testing.assert_array_equal(stored(content), values)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
)
def test_number_types_and_byte_orders(dtype: str, byteorder: str, bigtiff: bool) -> None:
    values = _noise(dtype)
    content = tiff(values, byteorder=byteorder, bigtiff=bigtiff, rowsperstrip=7)
    assert shown(content).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(shown(content), values)
    np.testing.assert_array_equal(stored(content), values)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("layout", [{"rowsperstrip": 5}, {"tile": (16, 16)}])
def test_predictors(dtype: str, compression: str, byteorder: str, layout: dict[str, Any]) -> None:
    for shape, more in ((SIZE, {}), ((*SIZE, 3), {"photometric": "rgb"})):
        values = _noise(dtype, shape)
        content = tiff(
            values, compression=compression, predictor=True, byteorder=byteorder, **layout, **more
        )
        np.testing.assert_array_equal(shown(content), values)


@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 5}, {"tile": (16, 16)}])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_colours_in_one_plane_and_in_three(dtype: str, layout: dict[str, Any]) -> None:
    values = _noise(dtype, (*SIZE, 3))
    together = tiff(values, photometric="rgb", compression="zlib", **layout)
    np.testing.assert_array_equal(shown(together), values)
    apart = tiff(
        values.transpose(2, 0, 1),
        photometric="rgb",
        planarconfig="separate",
        compression="zlib",
        **layout,
    )
    np.testing.assert_array_equal(shown(apart), values)
    with pytest.raises(ImageError, match="got RGB colour"):
        stored(together)


@pytest.mark.parametrize("bits", range(1, 17))
def test_packed_samples_of_any_depth(bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 2**bits, (5, 7))
    values[0, :2] = 0, 2**bits - 1
    rows = b""
    for row in values:
        text = "".join(format(int(value), f"0{bits}b") for value in row)
        text += "0" * (-len(text) % 8)
        rows += bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))
    if bits == 16:
        rows = values.astype("<u2").tobytes()
    content = page(7, 5, bits, rows)
    np.testing.assert_array_equal(stored(content), values)
    top = 2**bits - 1
    expected = np.rint(values * (255 / top)) if bits < 8 else values
    np.testing.assert_array_equal(shown(content), expected)


def test_twelve_bits_have_the_white_of_twelve_bits(tmp_path: Path) -> None:
    content = page(2, 1, 12, bytes([0x00, 0x0F, 0xFF]))
    (tmp_path / "a.tif").write_bytes(content)
    assert read_image(tmp_path / "a.tif").pixels.tolist() == [[0, 1]]


def test_twelve_bits_in_sixteen_have_the_white_of_twelve(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(np.array([[0, 819, 4095]], np.uint16)))
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").pixels, [[0, 0.2, 1]], atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "white"), [("u1", 255), ("u2", 65535), ("u2", 4095), ("u2", 1023)]
)
def test_white_is_zero_is_shown_inverted_and_stored_as_it_is(dtype: str, white: int) -> None:
    values = np.array([[0, 1, white]], dtype)
    content = tiff(values, photometric="miniswhite")
    assert shown(content).tolist() == [[white, white - 1, 0]]
    assert stored(content).tolist() == [[0, 1, white]]


def test_white_is_zero_of_one_bit() -> None:
    content = page(8, 1, 1, b"\xf0", t262=(3, [0]))
    assert shown(content).tolist() == [[0] * 4 + [255] * 4]
    assert stored(content).tolist() == [[1] * 4 + [0] * 4]


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_white_is_zero_of_signed_and_float_values_is_refused(dtype: str) -> None:
    content = tiff(np.zeros((3, 4), dtype), photometric="miniswhite")
    with pytest.raises(ImageError, match="counts white as 0 with signed or float values"):
        shown(content)


def test_palettes() -> None:
    palette = np.random.default_rng(0).integers(0, 2**16, (3, 256), dtype=np.uint16)
    values = _noise("u1")
    content = tiff(values, photometric="palette", colormap=palette)
    np.testing.assert_array_equal(shown(content), (palette >> 8).T[values])
    with pytest.raises(ImageError, match="got a palette"):
        stored(content)
    grey = np.tile(np.arange(256, dtype=np.uint16)[::-1] * 257, (3, 1))
    content = tiff(values, photometric="palette", colormap=grey)
    np.testing.assert_array_equal(shown(content), 255 - values)


def test_a_palette_of_bytes_is_followed_as_viewers_do() -> None:
    grey = np.tile(np.arange(256, dtype=np.uint16), (3, 1))
    values = _noise("u1")
    np.testing.assert_array_equal(shown(tiff(values, photometric="palette", colormap=grey)), values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_to_image_and_mask(tmp_path: Path, orientation: int) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    content = tiff(values, extratags=[(274, "H", 1, orientation, True)])
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "a.tif").write_bytes(content)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.tif").pixels, read_image(tmp_path / "a.png").pixels
    )
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), read_mask(tmp_path / "a.png"))
    with (tmp_path / "a.tif").open("rb") as file:
        layout = parse_picture(file).layout
    assert (layout.height, layout.width) == read_mask(tmp_path / "a.tif").shape


@pytest.mark.parametrize("kind", ["assocalpha", "unassalpha", "unspecified"])
@pytest.mark.parametrize("channels", [2, 4])
def test_extra_channels_must_be_opaque(kind: str, channels: int) -> None:
    values = _noise("u1", (*SIZE, channels))
    values[..., -1] = 255
    photometric = "rgb" if channels == 4 else "minisblack"
    content = tiff(values, photometric=photometric, extrasamples=[kind])
    np.testing.assert_array_equal(shown(content), np.squeeze(values[..., :-1]))
    values[3, 3, -1] = 254
    with pytest.raises(ImageError, match="no opaque alpha channel"):
        shown(tiff(values, photometric=photometric, extrasamples=[kind]))
    with pytest.raises(ImageError, match=r"got (2 channels|RGB colour)"):
        stored(content)


def test_reversed_bits_of_each_byte() -> None:
    assert stored(page(8, 1, 1, b"\x01", t266=(3, [2]))).tolist() == [[1] + [0] * 7]
    assert stored(page(1, 1, 8, b"\x01", t266=(3, [2]))).tolist() == [[128]]


def test_jpeg_in_tiff_is_shown_and_is_no_mask() -> None:
    squares = np.kron(_noise("u1", (5, 4, 3)), np.ones((8, 8, 1), np.uint8))
    for photometric in ("ycbcr", "rgb"):
        for layout in ({}, {"rowsperstrip": 16}, {"tile": (16, 16)}):
            content = tiff(
                squares,
                compression="jpeg",
                compressionargs={"outcolorspace": photometric},
                photometric="rgb",
                **layout,
            )
            with Image.open(io.BytesIO(content)) as picture:
                assert picture.getexif()[262] == {"rgb": 2, "ycbcr": 6}[photometric]
            oracle = tifffile.imread(io.BytesIO(content))
            np.testing.assert_array_equal(shown(content), oracle)
            assert np.abs(shown(content).astype(int) - squares).mean() < 8
            with pytest.raises(ImageError, match="a lossy JPEG"):
                stored(content)
    grey = tiff(squares[..., 0], compression="jpeg")
    np.testing.assert_array_equal(shown(grey), tifffile.imread(io.BytesIO(grey)))


def test_progressive_jpeg_in_tiff_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(_noise("u1", (16, 16))).save(file, "JPEG", progressive=True)
    with pytest.raises(ImageError, match="progressive JPEG data"):
        shown(page(16, 16, 8, file.getvalue(), t259=(3, [7])))


def test_jpeg_in_tiff_of_another_size_than_its_strip() -> None:
    content = tiff(_noise("u1", (16, 16)), compression="jpeg")
    start = content.index(b"\xff\xc0") + 5
    for size in ((8, 16), (24, 16), (16, 8)):
        changed = content[:start] + struct.pack(">HH", *size) + content[start + 4 :]
        with pytest.raises(
            ImageError, match="promises 16 x 16 pixels of 1 channels in strip 1 of 1"
        ):
            shown(changed)


@pytest.mark.parametrize(
    ("compression", "name"),
    [
        (2, "CCITT fax"),
        (3, "CCITT fax"),
        (4, "CCITT fax"),
        (6, "JPEG in the obsolete form"),
        (34712, "JPEG 2000"),
        (50001, "WebP"),
        (34887, "LERC"),
        (50002, "JPEG XL"),
        (12345, "the unknown compression 12345"),
    ],
)
def test_compressions_that_are_not_read_are_named(compression: int, name: str) -> None:
    with pytest.raises(ImageError, match=f"has {name}.*save it with LZW"):
        shown(page(8, 1, 1, b"\1", t259=(3, [compression])))


@pytest.mark.parametrize(
    ("photometric", "name"),
    [(4, "a transparency mask"), (5, "CMYK"), (8, "CIELab"), (32803, "a colour filter array")],
)
def test_colours_that_are_not_read_are_named(photometric: int, name: str) -> None:
    with pytest.raises(ImageError, match=f"holds {name}.*save it as grey or RGB"):
        shown(page(1, 1, 8, b"\1", t262=(3, [photometric])))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"t256": (4, [0])}, "the size 1 x 1 x 0"),
        ({"t258": (3, [24])}, "unsigned values of 24 bits"),
        ({"t339": (3, [5])}, "complex or unknown values"),
        ({"t339": (3, [3])}, "float values of 8 bits"),
        ({"t262": (3, [])}, "does not say how its colours"),
        ({"t262": (3, [6]), "t277": (3, [3])}, "a form that is not read"),
        ({"t277": (3, [7])}, "7 channels, expected 1"),
        ({"t317": (3, [2])}, "predictor 2, which"),
        ({"t317": (3, [9])}, "predictor 9, which"),
        ({"t277": (3, [2]), "t258": (3, [8, 4])}, r"differ in their number of bits: \[4, 8\]"),
        ({"t32997": (4, [5])}, "got 5 frames or pages"),
        ({"t273": (4, [])}, "promises 1 strips, the file holds 0"),
        ({"t273": (4, [9999])}, "begins at byte 9999, the file has"),
        ({"t279": (4, [0])}, "strip 1 of 1 has 0 bytes"),
        ({"t324": (4, [8]), "t325": (4, [1])}, "tiles of 0 x 0"),
        ({"t278": (4, [1]), "t257": (4, [3])}, "promises 3 strips, the file holds 1"),
        ({"t256": (7, [1])}, "the tag 256 of the file holds no whole numbers"),
        ({"t262": (3, [3])}, "the palette has 0 values, expected 768"),
    ],
)
def test_headers_that_are_not_read(
    changes: dict[str, tuple[int, list[int] | bytes]], reason: str
) -> None:
    with pytest.raises(ImageError, match=reason):
        shown(page(1, 1, 8, b"\1", **changes))


@pytest.mark.parametrize("tag", ["t258", "t259", "t266", "t274", "t277", "t278", "t284", "t317"])
def test_zero_and_absent_values_count_as_absent(tag: str) -> None:
    bits, data = (1, b"\x80") if tag == "t258" else (8, b"\x01")
    assert stored(page(1, 1, bits, data, **{tag: (3, [0])})).tolist() == [[1]]
    assert stored(page(1, 1, bits, data, **{tag: (3, [])})).tolist() == [[1]]


def test_a_missing_byte_count_of_plain_data_is_computed() -> None:
    assert stored(page(2, 2, 8, bytes([1, 2, 3, 4]), t279=(4, []))).tolist() == [[1, 2], [3, 4]]


def test_several_pages_are_refused_and_smaller_copies_passed_over() -> None:
    values = _noise("u1")
    for kinds, count in (((0, 1), 1), ((1, 0), 1), ((0, 1, 1), 1), ((0, 0), 2), ((2, 2, 2), 3)):
        file = io.BytesIO()
        with tifffile.TiffWriter(file) as writer:
            for kind in kinds:
                part = values[::2, ::2] if kind == 1 else values
                writer.write(part, subfiletype=kind, metadata=None)
        if count == 1:
            np.testing.assert_array_equal(shown(file.getvalue()), values)
        else:
            with pytest.raises(ImageError, match=f"got {count} frames or pages"):
                shown(file.getvalue())


def test_a_transparency_mask_is_refused() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(_noise("u1"), metadata=None)
        writer.write(_noise("u1") > 99, subfiletype=4, photometric="mask", metadata=None)
    with pytest.raises(ImageError, match="a transparency mask"):
        shown(file.getvalue())


def test_a_stack_of_imagej_is_refused() -> None:
    stack = _noise("u1", (4, *SIZE))
    with pytest.raises(ImageError, match="got 4 frames or pages"):
        shown(tiff(stack, imagej=True))
    text = b"ImageJ=1.53\nimages=4\nslices=4\n\0"
    one = page(2, 1, 8, bytes(8), t270=(2, text))
    with pytest.raises(ImageError, match="got 4 frames or pages"):
        shown(one)
    np.testing.assert_array_equal(shown(tiff(stack[0], imagej=True)), stack[0])


def test_a_stack_behind_one_directory_is_refused() -> None:
    stack = page(2, 1, 8, bytes(8), t270=(2, b'{"shape": [4, 1, 2]}\0'))
    with pytest.raises(ImageError, match="got 4 frames or pages"):
        shown(stack)
    assert shown(page(2, 1, 8, bytes(2), t270=(2, b'{"shape": [1, 2]}\0'))).shape == (1, 2)


def test_ome_and_resolution_give_no_pixel_size(tmp_path: Path) -> None:
    values = _noise("u1")
    (tmp_path / "a.tif").write_bytes(tiff(values, ome=True, resolution=(100, 100)))
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_allclose(image.pixels, values / 255, atol=1e-7)
    assert image.pixel_size_mm is None


def test_pages_that_refer_to_each_other_are_refused() -> None:
    content = bytearray(page(1, 1, 8, b"\1"))
    start = struct.unpack("<I", content[4:8])[0]
    entries = struct.unpack("<H", content[start : start + 2])[0]
    content[start + 2 + 12 * entries : start + 6 + 12 * entries] = content[4:8]
    with pytest.raises(ImageError, match="refer to each other"):
        shown(bytes(content))


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("layout", [{"rowsperstrip": 5}, {"tile": (16, 16)}])
def test_a_file_that_is_cut_off_is_refused(compression: str | None, layout: dict[str, Any]) -> None:
    file = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    with tifffile.TiffWriter(file) as writer:
        writer.write(values, compression=compression, metadata=None, **layout)
    content = file.getvalue()
    for length in range(0, len(content) - 1, 29):
        with pytest.raises(ImageError, match=r"the file|no PNG"):
            shown(content[:length])


@pytest.mark.parametrize(
    ("number", "compress"),
    [
        (1, bytes),
        (5, imagecodecs.lzw_encode),
        (8, zlib.compress),
        (32773, imagecodecs.packbits_encode),
        (50000, imagecodecs.zstd_encode),
        (34925, lzma.compress),
    ],
)
def test_a_strip_that_decodes_to_less_is_refused_with_both_numbers(
    number: int, compress: Any
) -> None:
    data = bytes(compress(bytes(range(90))))
    content = page(10, 10, 8, data, t259=(3, [number]))
    with pytest.raises(
        ImageError, match="promises 100 bytes of pixel data in strip 1 of 1, the file holds 90"
    ):
        shown(content)


def test_a_strip_beyond_the_file_is_refused_with_both_numbers() -> None:
    content = page(10, 10, 8, bytes(100), t273=(4, [200]))
    with pytest.raises(
        ImageError, match=f"has 100 bytes by the header, the file holds {len(content) - 200}"
    ):
        shown(content)


@pytest.mark.parametrize(
    ("number", "compress"),
    [(8, zlib.compress), (5, imagecodecs.lzw_encode), (34925, lzma.compress)],
)
def test_a_bomb_is_cut_at_the_size_of_its_strip(number: int, compress: Any) -> None:
    content = page(4, 4, 8, bytes(compress(bytes(2**25))), t259=(3, [number]))
    with peak_memory() as peak:
        assert not shown(content).any()
    assert peak() < 2**24


@pytest.mark.parametrize(
    ("number", "data"),
    [(32773, b"\x81\0" * 2**18), (50000, bytes(imagecodecs.zstd_encode(bytes(2**25))))],
)
def test_a_bomb_beyond_the_size_of_its_strip_is_refused(number: int, data: bytes) -> None:
    content = page(4, 4, 8, data, t259=(3, [number]))
    with peak_memory() as peak, pytest.raises(ImageError, match="cannot be decompressed"):
        shown(content)
    assert peak() < 2**24


def test_sizes_beyond_the_limit_are_refused_before_decoding() -> None:
    with pytest.raises(TooLargeError, match="the limit"):
        shown(page(60_000, 60_000, 8, b"\1"))
    with pytest.raises(TooLargeError, match="the limit"):
        shown(
            page(
                4,
                4,
                8,
                b"\1",
                t322=(4, [100_000]),
                t323=(4, [100_000]),
                t324=(4, [8]),
                t325=(4, [1]),
            )
        )
    with pytest.raises(TooLargeError, match="strips, the limit is"):
        shown(page(1, 2_000_000, 8, b"\1", t278=(4, [1])))


def test_the_number_of_tags_is_limited() -> None:
    count, pages = 60_000, 20
    body = struct.pack("<H", count) + struct.pack("<HHII", 65000, 4, 1, 0) * count
    content = b"II*\0" + struct.pack("<I", 8)
    for _ in range(pages):
        content += body + struct.pack("<I", len(content) + len(body) + 4)
    with pytest.raises(TooLargeError, match="tags; the limits are"):
        shown(content)
