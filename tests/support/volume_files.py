"""MetaImage and NRRD files of any header, and what SimpleITK reads of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

sitk: Any = SimpleITK
_LATE = ("space directions", "space origin", "space units", "measurement frame")


class MemoryFile(io.BytesIO):
    """Bytes as an open file; with a name and a mode it is a `BinaryIO` at run time too."""

    name = "memory"
    mode = "rb"


def metaimage(header: dict[str, str], data: bytes, *, end: str = "\n") -> bytes:
    """A 3 x 2 MetaImage of bytes; keywords of the header win."""
    fields = {
        "ObjectType": "Image",
        "NDims": "2",
        "DimSize": "3 2",
        "ElementType": "MET_UCHAR",
        "BinaryData": "True",
    } | header
    fields["ElementDataFile"] = fields.pop("ElementDataFile", "LOCAL")
    lines = [f"{key} = {value}" for key, value in fields.items()]
    return (end.join(lines) + end).encode() + data


def nrrd(header: dict[str, str], data: bytes, *, end: str = "\n", keys: str = "") -> bytes:
    """A 3 x 2 NRRD of bytes; fields of the header win, keys are lines of their own."""
    fields = {"type": "uchar", "dimension": "2", "sizes": "3 2", "encoding": "raw"} | header
    # ITK wants the space before what lies in it.
    fields = {key: fields[key] for key in sorted(fields, key=_LATE.__contains__)}
    lines = ["NRRD0005", *(f"{key}: {value}" for key, value in fields.items())]
    lines += keys.splitlines()
    return (end.join(lines) + end + end).encode() + data


@dataclass(frozen=True)
class Oracle:
    """One file as SimpleITK reads it.

    Attributes:
        values: As ITK gives them.
        spacing: In the order x, y, z, as the others.
        origin: Centre of the first pixel.
        direction: Row-major matrix.
    """

    values: NDArray[Any]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Oracle:
        """Read a file with SimpleITK, its warnings off."""
        shown = sitk.ProcessObject.GetGlobalWarningDisplay()
        sitk.ProcessObject.SetGlobalWarningDisplay(False)
        try:
            image = sitk.ReadImage(str(path))
        finally:
            sitk.ProcessObject.SetGlobalWarningDisplay(shown)
        return cls(
            sitk.GetArrayFromImage(image),
            image.GetSpacing(),
            image.GetOrigin(),
            image.GetDirection(),
        )

    def check(self, parsed: Any, atol: float = 1e-9) -> None:
        """Assert that a parsed file has the same values and lies at the same place."""
        values = parsed.stored() if parsed.layout.channels == 1 else parsed.shown()
        np.testing.assert_array_equal(values.reshape(self.values.shape), self.values)
        np.testing.assert_allclose(parsed.geometry.spacing, self.spacing, atol=atol)
        np.testing.assert_allclose(parsed.geometry.origin, self.origin, atol=atol)
        np.testing.assert_allclose(parsed.geometry.direction, self.direction, atol=atol)
