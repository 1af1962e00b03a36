"""PNG, JPEG, BMP and TIFF through Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError
from lfusion.image.formats import quiet_libraries

# What Pillow raises on damaged files: its decoders pass on what they stumble over.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError)
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
_PLAIN_GREY = ("1", "L", "I", "F")


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, without decoding.

    Raises:
        ImageError: If the file is damaged or something else.
    """
    with _opened(path) as picture:
        return (picture.height, picture.width)


def read_picture(path: Path) -> NDArray[Any]:
    """The pixels of a picture, colours included.

    Palettes are resolved, alpha is dropped, and pixels stay as stored: an orientation tag of a
    camera is ignored, as in the viewers that masks are drawn in.

    Args:
        path: A PNG, JPEG, BMP or TIFF file.

    Returns:
        [height, width] of bool, uint8, uint16, int32 or float32, or [height, width, 3] of uint8.

    Raises:
        ImageError: If the file is damaged, something else, or holds several frames.
    """
    with _opened(path) as picture:
        if picture.mode in ("LA", "La"):
            return np.asarray(picture)[..., 0]
        return _values(picture if _is_plain(picture) else picture.convert("RGB"))


def read_picture_labels(path: Path) -> NDArray[Any]:
    """The pixels of a grey picture that holds class numbers.

    Args:
        path: A PNG, BMP or TIFF file.

    Returns:
        [height, width] of bool, integers or float32.

    Raises:
        ImageError: As `read_picture`, and for colour or palette pictures, whose pixel values
            are no class numbers.
    """
    with _opened(path) as picture:
        if not _is_plain(picture):
            kind = "a palette" if picture.mode in ("P", "PA") else f"{picture.mode} colour"
            raise ImageError(
                f"cannot read the mask {path}: expected one grey channel of class numbers, "
                f"got {kind}; save it as 8-bit grey with pixel value = class number"
            )
        return _values(picture)


def write_picture(path: Path, values: NDArray[Any]) -> None:
    """Write uint8 or float32 values as a lossless PNG or TIFF, by suffix.

    Args:
        path: The file.
        values: [height, width].
    """
    picture = Image.fromarray(values)
    if path.suffix.lower() == ".png":
        picture.save(path, format="PNG")
    else:
        picture.save(path, format="TIFF", compression="tiff_adobe_deflate")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with quiet_libraries(), Image.open(path, formats=_FORMATS) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames != 1:
                raise ImageError(
                    f"cannot read {path}: expected one image, got {frames} frames or pages; "
                    "save each as its own file"
                )
            yield picture
    except _DAMAGE as error:
        raise ImageError(
            f"cannot read {path}: expected a PNG, JPEG, BMP or TIFF image, "
            f"got a damaged or other file ({error}); open and save it in an image viewer"
        ) from error


def _is_plain(picture: Image.Image) -> bool:
    return picture.mode in _PLAIN_GREY or picture.mode.startswith("I;16")


def _values(picture: Image.Image) -> NDArray[Any]:
    values = np.asarray(picture)
    # Older Pillow widens a 16-bit PNG to 32 bits; PNG itself has no such depth.
    return values.astype(np.uint16) if picture.format == "PNG" and picture.mode == "I" else values
