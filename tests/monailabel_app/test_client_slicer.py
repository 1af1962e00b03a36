"""What 3D Slicer's MONAI Label module does, call by call, with the client that it ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from lfusion.image import read_image, read_mask
from lfusion.interaction import corrected, possibilities
from monailabel_app.lib.labels import read_label

if TYPE_CHECKING:
    from tests.monailabel_app.conftest import Served

# MONAI Label's client leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_sitk: Any = SimpleITK
SLICER = {"result_extension": ".nrrd", "result_dtype": "uint8"}
IMAGES = {
    "flat": "flat.png",
    "turned": "turned.nii.gz",
    "still": "still.dcm",
    "colour": "colour.dcm",
}


def on_image(mask: str | Path, image: Path) -> NDArray[Any]:
    """The mask as it covers the image in Slicer: both opened by ITK, placed by their geometry."""
    volume, drawn = _sitk.ReadImage(str(image)), _sitk.ReadImage(str(mask))
    if volume.GetDimension() == 2:  # Slicer opens a picture as a volume of one slice
        volume = _sitk.JoinSeries(volume)
    assert drawn.GetDimension() == 3
    placed = _sitk.Resample(drawn, volume, _sitk.Transform(), _sitk.sitkNearestNeighbor)
    covered: NDArray[Any] = _sitk.GetArrayFromImage(placed)
    return covered


def control_point(image: Path, row: int, column: int, frame: int = 0) -> list[int]:
    """[i, j, k] of a click on a pixel: from the world to the indices of Slicer's volume."""
    volume = _sitk.ReadImage(str(image))
    if volume.GetDimension() == 2:
        volume = _sitk.JoinSeries(volume)
    world = volume.TransformIndexToPhysicalPoint((column, row, frame))
    return list(volume.TransformPhysicalPointToIndex(world))


def test_connecting(clinic: Served, tmp_path: Path) -> None:
    client = clinic.client(tmp_path)
    assert not client.auth_enabled()
    info = client.info()
    assert not info.get("config")
    types = {name: model["type"] for name, model in info["models"].items()}
    assert types == {
        "lfusion": "segmentation",
        "lfusion_interactive": "deepedit",
        "lfusion_counterfactual": "segmentation",
        "lfusion_uncertainty": "segmentation",
    }
    assert next(iter(types)) == "lfusion"  # what runs on each new sample
    assert info["labels"] == ["fetal head", "background"]
    for section in ("models", "trainers", "strategies", "scoring"):
        for entry in info[section].values():
            for value in (entry.get("config") or {}).values():
                assert not isinstance(value, list) or all(isinstance(v, str) for v in value)
    assert client.train_status(check_if_running=True) is False


def test_next_sample_names_a_file_and_its_download(clinic: Served, tmp_path: Path) -> None:
    sample = clinic.client(tmp_path).next_sample("random", {"seed": 1})
    assert Path(sample["path"]).is_file()
    assert {"id", "name"} <= set(sample)
    download = clinic.http.get("/datastore/image", params={"image": sample["id"]})
    assert download.content == Path(sample["path"]).read_bytes()


@pytest.mark.parametrize("image", IMAGES)
def test_the_segmentation_covers_the_image(clinic: Served, tmp_path: Path, image: str) -> None:
    path = clinic.studies / IMAGES[image]
    file, params = clinic.client(tmp_path).infer("lfusion", image, dict(SLICER))
    assert params["label_names"] == {"fetal head": 1}
    expected = clinic.model.predictor()(path).mask
    covered = on_image(file, path)
    np.testing.assert_array_equal(covered[0], expected)
    for turned in (expected[::-1], expected[:, ::-1], expected[::-1, ::-1]):
        assert (covered[0] != turned).any()


@pytest.mark.parametrize("image", ["flat", "turned", "still"])
def test_clicks_correct_the_pixel_under_them(clinic: Served, tmp_path: Path, image: str) -> None:
    path, client = clinic.studies / IMAGES[image], clinic.client(tmp_path)
    predictor = clinic.model.predictor()
    seen = possibilities(predictor, read_image(path))
    before = corrected(seen, {}).mask
    inside = np.argwhere(before == 1)
    row, column = inside[len(inside) // 2].tolist()
    click = control_point(path, row, column)
    # Its list of each label holds the clicks made while that segment was selected.
    params = {"fetal head": [], "background": [click], "label": "background", **SLICER}
    file, _ = client.infer("lfusion_interactive", image, params)
    covered = on_image(file, path)[0]
    expected = corrected(seen, {0: [(row, column)]}).mask
    np.testing.assert_array_equal(covered, expected)
    assert covered[row, column] == 0
    assert (covered != before).sum() > 1


def test_a_cine_is_labelled_in_every_slice(clinic: Served, tmp_path: Path) -> None:
    path = clinic.studies / "cine.dcm"
    file, _ = clinic.client(tmp_path).infer("lfusion", "cine", dict(SLICER))
    covered = on_image(file, path)
    predictor = clinic.model.predictor()
    for number in range(3):
        np.testing.assert_array_equal(covered[number], predictor(read_image(path, number)).mask)
    assert (covered[0] != covered[1]).any()


def test_a_click_in_a_cine_moves_its_slice_alone(clinic: Served, tmp_path: Path) -> None:
    path, client = clinic.studies / "cine.dcm", clinic.client(tmp_path)
    before = on_image(client.infer("lfusion_interactive", "cine", dict(SLICER))[0], path)
    row, column = np.argwhere(before[2] == 1)[0].tolist()
    params = {"background": [control_point(path, row, column, 2)], **SLICER}
    after = on_image(client.infer("lfusion_interactive", "cine", params)[0], path)
    np.testing.assert_array_equal(after[:2], before[:2])
    assert after[2, row, column] == 0


def test_original_labels_say_their_names(clinic: Served, tmp_path: Path) -> None:
    client = clinic.client(tmp_path)
    client.infer("lfusion", "flat", {**SLICER, "save_label": True})
    labels = client.datastore()["objects"]["flat"]["labels"]
    assert labels["original"]["info"]["params"]["label_names"] == {"fetal head": 1}
    mask = read_mask(client.download_label("flat", "original"))
    np.testing.assert_array_equal(mask, clinic.model.predictor()(clinic.studies / "flat.png").mask)


def test_a_saved_label_is_numbered_by_order(clinic: Served, tmp_path: Path) -> None:
    """Slicer numbers voxels by the order of the segments; `idx` counts those it leaves out too."""
    path, client = clinic.studies / "turned.nii.gz", clinic.client(tmp_path)
    volume = _sitk.ReadImage(str(path))
    drawn = np.zeros((1, 96, 128), np.uint8)
    drawn[0, 20:50, 30:100] = 1
    label = _sitk.GetImageFromArray(drawn)
    label.CopyInformation(volume)
    _sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
    info = {"label_info": [{"name": "fetal head", "idx": 2}], "model": "lfusion"}
    client.save_label("turned", str(tmp_path / "label.nii.gz"), params=info)
    stored = client.download_label("turned", "final")
    np.testing.assert_array_equal(on_image(stored, path), drawn)


def test_a_label_in_another_orientation_comes_on_the_pixels_of_its_image(
    clinic: Served, tmp_path: Path
) -> None:
    path, client = clinic.studies / "turned.nii.gz", clinic.client(tmp_path)
    drawn = np.zeros((1, 96, 128), np.uint8)
    drawn[0, 10:40, 20:60] = 1
    label = _sitk.GetImageFromArray(drawn)
    label.CopyInformation(_sitk.ReadImage(str(path)))
    _sitk.WriteImage(_sitk.Flip(label, (True, True, False)), str(tmp_path / "label.nii.gz"))
    info = {"label_info": [{"name": "fetal head"}]}
    client.save_label("turned", str(tmp_path / "label.nii.gz"), params=info)
    query = {"label": "turned", "tag": "final", "on_image": "true"}
    answer = clinic.http.get("/datastore/label", params=query)
    assert answer.headers["content-type"] == "image/png"
    (tmp_path / "placed.png").write_bytes(answer.content)
    np.testing.assert_array_equal(read_mask(tmp_path / "placed.png"), drawn[0])


def test_a_cine_is_saved_as_a_volume_of_all_frames_or_as_one(
    clinic: Served, tmp_path: Path
) -> None:
    path, client = clinic.studies / "cine.dcm", clinic.client(tmp_path)
    volume = _sitk.ReadImage(str(path))  # three frames of one colour
    drawn = np.zeros((3, 96, 128), np.uint8)
    for frame in range(3):
        drawn[frame, 20:50, 30 : 60 + 10 * frame] = 1
    info = {"label_info": [{"name": "fetal head"}], "client_id": "slicer"}

    def save(frames: NDArray[np.uint8]) -> httpx.Response:
        label = _sitk.GetImageFromArray(frames)
        if len(frames) == 3:
            label.CopyInformation(volume)
        _sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))
        return clinic.http.put(
            "/datastore/label",
            params={"image": "cine"},
            data={"params": json.dumps(info)},
            files={"label": ("label.nii.gz", (tmp_path / "label.nii.gz").read_bytes())},
        )

    assert save(drawn).is_success
    stored = client.download_label("cine", "final")
    np.testing.assert_array_equal(on_image(stored, path), drawn)
    # Learned from, and compared, is the frame that stands for the cine.
    np.testing.assert_array_equal(read_label(Path(stored), path, None, {"fetal head": 1}), drawn[1])
    assert save(drawn[1:2]).is_success
    refused = save(drawn[:2])
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_label")
    assert "one slice, or of 3 for the frames; got 2 slices" in refused.json()["message"]


def test_an_image_of_ones_own_in_a_session(clinic: Served, tmp_path: Path) -> None:
    client, path = clinic.client(tmp_path), clinic.studies / "turned.nii.gz"
    session = client.create_session(str(path))["session_id"]
    assert client.get_session(session)
    file, _ = client.infer("lfusion", "", dict(SLICER), session_id=session)
    expected = clinic.model.predictor()(path).mask
    np.testing.assert_array_equal(on_image(file, path)[0], expected)


def test_an_uploaded_image_joins_the_pool(clinic: Served, tmp_path: Path) -> None:
    client = clinic.client(tmp_path)
    assert client.upload_image(str(clinic.studies / "flat.png"), "uploaded")["image"] == "uploaded"
    assert "uploaded" in client.datastore()["objects"]
    assert clinic.http.delete("/datastore/image", params={"id": "uploaded"}).is_success


def test_other_masks_and_bands_are_segmentations_too(clinic: Served, tmp_path: Path) -> None:
    client, path = clinic.client(tmp_path), clinic.studies / "flat.png"
    configs = {
        name: {
            key: value[0] if isinstance(value, list) else value
            for key, value in model["config"].items()
        }
        for name, model in client.info()["models"].items()
    }
    file, params = client.infer(
        "lfusion_counterfactual", "flat", {**configs["lfusion_counterfactual"], **SLICER}
    )
    grown = on_image(file, path)[0]
    assert grown.sum() > on_image(client.infer("lfusion", "flat", dict(SLICER))[0], path)[0].sum()
    assert params["density_ratio"] == pytest.approx(np.exp(-2))
    file, params = client.infer(
        "lfusion_uncertainty", "flat", {**configs["lfusion_uncertainty"], **SLICER}
    )
    assert params["label_names"] == {"unsure": 1, "very unsure": 2}
    assert set(np.unique(on_image(file, path))) <= {0, 1, 2}
    json.dumps(params, allow_nan=False)
