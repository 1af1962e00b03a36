"""Files as servers send them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK

from napari_lfusion.core.http.files import Received, decode_mask


def test_of_a_label_of_every_frame_the_middle_one_is_shown(tmp_path: Path) -> None:
    frames = np.zeros((3, 4, 5), np.uint8)
    frames[1, 2, 3] = 1
    file = tmp_path / "label.nii.gz"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(file))
    mask, geometry = decode_mask(Received(file.name, file.read_bytes()))
    np.testing.assert_array_equal(mask, frames[1])
    assert geometry is not None
