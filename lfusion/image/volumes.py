"""NIfTI, MetaImage, NRRD, and the pixels of DICOM, through SimpleITK."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lfusion.errors import ImageError
from lfusion.image.formats import quiet_libraries, suffix_of
from lfusion.image.image import Geometry

_IMAGE_IO = {
    ".nii": "NiftiImageIO",
    ".nii.gz": "NiftiImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
    ".nrrd": "NrrdImageIO",
    ".dcm": "GDCMImageIO",
    ".dicom": "GDCMImageIO",
}


def volume_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, without reading the pixels.

    Raises:
        ImageError: If the file is damaged, something else, or holds several slices.
    """
    with _simpleitk() as sitk:
        size = _plane_size(path, _open(path, sitk))
    return (size[1], size[0])


def stack_size(path: Path) -> tuple[int, int, int]:
    """(planes, height, width) from the header, without reading the pixels.

    Raises:
        ImageError: If the file is damaged, something else, or has more than three dimensions.
    """
    with _simpleitk() as sitk:
        width, height, planes = _stack_size(path, _open(path, sitk))
    return (planes, height, width)


def read_volume(path: Path) -> tuple[NDArray[Any], Geometry]:
    """The one plane of a file and where it lies.

    Array rows run along the second axis of the file (y), columns along the first (x).

    Args:
        path: A NIfTI, MetaImage or NRRD file of two dimensions, or more with one slice; or a
            DICOM file, whose pixel encodings GDCM all knows and gives as RGB or as grey with
            0 = black, but whose spacing it does not know.

    Returns:
        [height, width] or, for colour, [height, width, channels]; and the geometry.

    Raises:
        ImageError: If the file is damaged, something else, or holds several slices.
    """
    with _simpleitk() as sitk:
        reader = _open(path, sitk)
        width, height = _plane_size(path, reader)
        pixels, geometry = _execute(path, reader, sitk)
    return pixels.reshape(height, width, *_channels(pixels, reader)), geometry


def read_stack(path: Path) -> tuple[NDArray[Any], Geometry]:
    """All planes of a file, as `read_volume` reads one.

    Args:
        path: A file as for `read_volume`.

    Returns:
        [planes, height, width] or, for colour, [planes, height, width, channels]; and the
        geometry.

    Raises:
        ImageError: If the file is damaged, something else, or has more than three dimensions.
    """
    with _simpleitk() as sitk:
        reader = _open(path, sitk)
        width, height, _ = _stack_size(path, reader)
        pixels, geometry = _execute(path, reader, sitk)
    return pixels.reshape(-1, height, width, *_channels(pixels, reader)), geometry


def write_volume(
    path: Path, values: NDArray[Any], geometry: Geometry, *, compress: bool = True
) -> None:
    """Write planes as NIfTI, MetaImage or NRRD, by suffix.

    Args:
        path: The file.
        values: [height, width] or [planes, height, width].
        geometry: Where they lie; a 3-D one makes a volume of one slice of a single plane.
        compress: Losslessly; some browsers' viewers cannot unpack a NRRD.
    """
    slices = (1,) * (len(geometry.spacing) - values.ndim)
    with _simpleitk() as sitk:
        image = sitk.GetImageFromArray(values.reshape(slices + values.shape))
        image.SetSpacing(geometry.spacing)
        image.SetOrigin(geometry.origin)
        image.SetDirection(geometry.direction)
        sitk.WriteImage(image, str(path), useCompression=compress)


@contextmanager
def _simpleitk() -> Iterator[Any]:
    """Lend SimpleITK, its warnings off.

    It comes with the first volume: a viewer that shows pictures starts without it.
    """
    import SimpleITK

    sitk: Any = SimpleITK  # half of its functions have no types
    with quiet_libraries():
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            yield sitk
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)


def _open(path: Path, sitk: Any) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(_IMAGE_IO[suffix_of(path)])
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    return reader


def _execute(path: Path, reader: Any, sitk: Any) -> tuple[NDArray[Any], Geometry]:
    if suffix_of(path) in (".nii", ".nii.gz"):
        _check_complete(path, reader)
    try:
        image = reader.Execute()
    except RuntimeError as error:
        raise _damaged(path, error) from error
    place = (image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    return sitk.GetArrayFromImage(image), Geometry(*place, physical=True)


def _channels(pixels: NDArray[Any], reader: Any) -> tuple[int, ...]:
    count = reader.GetNumberOfComponents()
    return () if count == 1 else (count,)


def _plane_size(path: Path, reader: Any) -> tuple[int, int]:
    size = reader.GetSize()
    if any(length != 1 for length in size[2:]):
        raise ImageError(
            f"cannot read {path}: expected a 2-D image or a volume of one slice, "
            f"got {' x '.join(map(str, size))} voxels; export the slice you need"
        )
    return (size[0], size[1])


def _stack_size(path: Path, reader: Any) -> tuple[int, int, int]:
    width, height, *planes = reader.GetSize()
    if len(planes) > 1:
        raise ImageError(f"cannot read {path}: expected at most 3 dimensions")
    return (width, height, *(planes or [1]))


def _check_complete(path: Path, reader: Any) -> None:
    """Refuse a NIfTI file that was cut off: ITK would fill what is missing with zeros."""
    axes = range(1, int(reader.GetMetaData("dim[0]")) + 1)
    voxels = math.prod(int(reader.GetMetaData(f"dim[{axis}]")) for axis in axes)
    pixel_bytes = voxels * int(reader.GetMetaData("bitpix")) // 8
    expected = int(float(reader.GetMetaData("vox_offset"))) + pixel_bytes
    try:
        found = _unpacked_bytes(path)
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, error) from error
    if found < expected:
        raise ImageError(
            f"cannot read {path}: expected {expected} bytes, got {found}; "
            "the file was cut off, copy it again from its source"
        )


def _unpacked_bytes(path: Path) -> int:
    if suffix_of(path) == ".nii":
        return path.stat().st_size
    with gzip.open(path) as file:
        return sum(len(piece) for piece in iter(lambda: file.read(1 << 20), b""))


def _damaged(path: Path, error: Exception) -> ImageError:
    # The last line is the reason; the ones before it are positions in ITK's own source.
    reason = str(error).strip().rpartition("\n")[2].strip()
    return ImageError(
        f"cannot read {path}: expected an image of the format its suffix says, "
        f"got a damaged or other file ({reason}); export it again"
    )
