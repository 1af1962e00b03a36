"""What MONAI Label's CVAT functions, a detector and an interactor, make of our answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from skimage.draw import polygon2mask

from lfusion.image import read_image
from lfusion.interaction import corrected, possibilities

if TYPE_CHECKING:
    from tests.monailabel_app.conftest import Served

# MONAI Label's client leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_polygon2mask: Any = polygon2mask


@pytest.fixture
def picture(clinic: Served, tmp_path: Path) -> Path:
    """CVAT hands over a picture, and the functions save it as JPEG."""
    path = tmp_path / "frame.jpg"
    Image.open(clinic.studies / "flat.png").save(path)
    return path


def test_detector_draws_the_mask_as_polygons(clinic: Served, tmp_path: Path, picture: Path) -> None:
    _, answer = clinic.client(tmp_path).infer("lfusion", "", {"output": "json"}, file=str(picture))
    shapes = [
        {"label": element["label"], "points": np.array(contour, int).flatten().tolist()}
        for entry in answer["annotations"]
        for element in entry["annotation"]["elements"]
        for contour in element["contours"]
    ]
    assert {shape["label"] for shape in shapes} == {"fetal head"}
    expected = clinic.model.predictor()(picture).mask
    # CVAT's corner (x, y) is the corner of a pixel, scikit-image's the centre of one.
    largest = max(shapes, key=lambda shape: len(shape["points"]))["points"]
    corners = np.array(largest).reshape(-1, 2)[:, ::-1] - 0.5
    drawn = _polygon2mask(expected.shape, corners)
    overlap = 2 * (drawn & (expected == 1)).sum() / (drawn.sum() + (expected == 1).sum())
    assert overlap > 0.98


def test_interactor_returns_the_corrected_mask(
    clinic: Served, tmp_path: Path, picture: Path
) -> None:
    seen = possibilities(clinic.model.predictor(), read_image(picture))
    row, column = np.argwhere(corrected(seen, {}).mask == 1)[0].tolist()
    params = {"output": "mask", "foreground": [[64, 48]], "background": [[column, row]]}
    file, _ = clinic.client(tmp_path).infer("lfusion_interactive", "", params, file=str(picture))
    mask = np.array(Image.open(file)).astype(np.uint8)
    expected = corrected(seen, {0: [(row, column)], 1: [(48, 64)]}).mask
    np.testing.assert_array_equal(mask, expected)
    assert (mask[row, column], mask[48, 64]) == (0, 1)
