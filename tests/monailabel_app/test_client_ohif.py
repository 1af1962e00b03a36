"""What the OHIF viewer that MONAI Label ships asks for, read the way its script reads it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lfusion.image import read_image
from lfusion.interaction import corrected, possibilities

if TYPE_CHECKING:
    from tests.monailabel_app.conftest import Served

PARAMS = {
    "result_extension": ".nrrd",
    "result_dtype": "uint8",
    "result_compress": False,
    "restore_label_idx": False,
}


def voxels(clinic: Served, model: str, image: str, **params: Any) -> NDArray[np.uint8]:
    """[slices, rows, columns] as nrrd-js finds them: header lines, an empty one, bytes."""
    reply = clinic.http.post(
        f"/infer/{model}",
        params={"image": image, "output": "image"},
        files={"params": (None, json.dumps({**PARAMS, **params}))},
    )
    assert reply.is_success, reply.text
    head, content = reply.content.split(b"\n\n", 1)
    fields = dict(
        line.split(": ", 1)
        for line in head.decode().splitlines()
        if ": " in line and line[0] != "#"
    )
    assert (fields["encoding"], fields["type"]) == ("raw", "unsigned char")
    columns, rows, slices = map(int, fields["sizes"].split())
    return np.frombuffer(content, np.uint8).reshape(slices, rows, columns)


def test_segmentation(clinic: Served) -> None:
    expected = clinic.model.predictor()(clinic.studies / "still.dcm").mask
    np.testing.assert_array_equal(voxels(clinic, "lfusion", "still")[0], expected)


def test_point_prompts(clinic: Served) -> None:
    seen = possibilities(clinic.model.predictor(), read_image(clinic.studies / "still.dcm"))
    row, column = np.argwhere(corrected(seen, {}).mask == 1)[0].tolist()
    # `background` is always there; other labels once they were clicked.
    found = voxels(clinic, "lfusion_interactive", "still", background=[[column, row, 0]])
    np.testing.assert_array_equal(found[0], corrected(seen, {0: [(row, column)]}).mask)


def test_a_cine_has_a_mask_for_each_frame_that_is_scrolled_to(clinic: Served) -> None:
    found = voxels(clinic, "lfusion", "cine")
    assert found.shape == (3, 96, 128)
    for number, mask in enumerate(found):
        frame = read_image(clinic.studies / "cine.dcm", number)
        np.testing.assert_array_equal(mask, clinic.model.predictor()(frame).mask)
