"""A real Orthanc as DICOMweb store: images come from it, labels go back and are read anew."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import SimpleITK
from highdicom.seg import segread
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from lfusion.cli.server_process import free_port, running_command
from lfusion.image import Geometry, read_image, read_mask
from monailabel_app.lib.dicomweb.segmentation import (
    read_segmentation,
    referenced_frame,
    referenced_instance,
    write_segmentation,
)
from monailabel_app.lib.served import ServedModel

if TYPE_CHECKING:
    from tests.support.ultrasound_files import write_ultrasound
else:  # tests/ is no package when it runs
    from ultrasound_files import write_ultrasound

# Where Debian and Orthanc's own packages put it; sbin is not on every user's path.
ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

pytestmark = pytest.mark.skipif(
    ORTHANC is None or not PLUGIN.exists(),
    reason="no Orthanc with DICOMweb here: apt-get install orthanc orthanc-dicomweb",
)


@dataclass(frozen=True)
class Store:
    """A running Orthanc."""

    http: httpx.Client

    @property
    def dicomweb(self) -> str:
        return str(self.http.base_url.join("/dicom-web"))

    def put(self, content: bytes) -> None:
        self.http.post("/instances", content=content).raise_for_status()

    def segmentations(self) -> list[Dataset]:
        """All DICOM SEG in the store."""
        query = {"Level": "Instance", "Query": {"Modality": "SEG"}}
        found = self.http.post("/tools/find", json=query).json()
        return [dcmread(BytesIO(self.http.get(f"/instances/{uid}/file").content)) for uid in found]


@dataclass(frozen=True)
class Ward:
    """A server over the store, what it prints, and what lies in the store."""

    http: httpx.Client
    log: Path
    store: Store
    model: ServedModel
    files: dict[str, Path]
    series: dict[str, str]


def until(condition: Callable[[], Any], seconds: float = 120) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    root = tmp_path_factory.mktemp("orthanc")
    port = free_port()
    config = {
        "Name": "test",
        "StorageDirectory": str(root / "storage"),
        "IndexDirectory": str(root / "storage"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": False},
    }
    (root / "orthanc.json").write_text(json.dumps(config))
    url = f"http://127.0.0.1:{port}"
    command = [str(ORTHANC), str(root / "orthanc.json")]
    with (
        running_command(command, f"{url}/system", root / "orthanc.log"),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        yield Store(http)


@pytest.fixture(scope="module")
def ward(
    heads: Path, tiny_checkpoint: Path, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ward]:
    root = tmp_path_factory.mktemp("ward")
    pictures = [np.asarray(Image.open(heads / "images" / f"head{n:02}.png")) for n in (1, 2, 3)]
    frames = {
        "still": pictures[0][None],
        "colour": np.stack([pictures[1]] * 3, axis=-1)[None],
        "cine": np.stack(pictures),
        "labelled": pictures[2][None],
        "other": pictures[1][None],
    }
    files = {
        name: write_ultrasound(
            root / f"{name}.dcm", pixels, (0.2, 0.1), Modality="CT" if name == "other" else "US"
        )
        for name, pixels in frames.items()
    }
    headers = {name: dcmread(path, stop_before_pixels=True) for name, path in files.items()}
    for path in files.values():
        store.put(path.read_bytes())
    store.put(as_file(write_segmentation(headers["labelled"], square(), {"fetal head": 1})))
    odd = write_segmentation(headers["colour"], square(), {"fetal head": 1})
    odd.SegmentSequence[0].SegmentNumber = None
    store.put(as_file(odd))
    port = free_port()
    command = [sys.executable, "-c", "from lfusion.cli import app; app()", "serve"]
    command += ["--studies", store.dicomweb, "--app-state", str(root / "state")]
    command += ["--port", str(port), "--checkpoint", str(tiny_checkpoint)]
    url = f"http://127.0.0.1:{port}"
    with (
        running_command(command, f"{url}/info/", root / "server.log"),
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        model = ServedModel(tiny_checkpoint, root / "local")
        series = {name: str(header.SeriesInstanceUID) for name, header in headers.items()}
        yield Ward(http, root / "server.log", store, model, files, series)


def as_file(instance: Dataset) -> bytes:
    """An instance as a file."""
    buffer = BytesIO()
    instance.save_as(buffer, write_like_original=False)
    return buffer.getvalue()


def square() -> NDArray[np.uint8]:
    """A label that is the same under no turn."""
    mask = np.zeros((96, 128), np.uint8)
    mask[10:40, 20:100] = 1
    return mask


def objects(ward: Ward) -> dict[str, Any]:
    found: dict[str, Any] = ward.http.get("/datastore/?output=all").json()["objects"]
    return found


def test_ultrasound_is_listed_and_nothing_else(ward: Ward) -> None:
    expected = {uid for name, uid in ward.series.items() if name != "other"}
    until(lambda: set(objects(ward)) == expected)
    image = ward.http.get("/datastore/image", params={"image": ward.series["still"]})
    pixels = dcmread(BytesIO(image.content)).pixel_array
    np.testing.assert_array_equal(pixels, dcmread(ward.files["still"]).pixel_array)


@pytest.mark.parametrize("name", ["still", "colour"])
def test_inference_knows_the_calibration(ward: Ward, tmp_path: Path, name: str) -> None:
    until(lambda: ward.series[name] in objects(ward))
    query = {"image": ward.series[name], "output": "image"}
    reply = ward.http.post("/infer/lfusion", params=query)
    (tmp_path / "mask.nrrd").write_bytes(reply.raise_for_status().content)
    expected = ward.model.predictor()(read_image(ward.files[name]))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nrrd"), expected.mask)
    result = ward.http.post("/infer/lfusion", params={**query, "output": "json"}).json()
    assert result["pixel_size_mm"] == pytest.approx([0.2, 0.1])
    assert expected.biometry is not None
    assert result["biometry"]["hc_mm"] == pytest.approx(expected.biometry.hc_mm)


@pytest.mark.parametrize("name", ["still", "cine"])
def test_a_prediction_as_dicom_seg(ward: Ward, tmp_path: Path, name: str) -> None:
    until(lambda: ward.series[name] in objects(ward))
    query = {"image": ward.series[name], "output": "dicom_seg"}
    reply = ward.http.post("/infer/lfusion", params=query)
    (tmp_path / "seg.dcm").write_bytes(reply.raise_for_status().content)
    source, written = dcmread(ward.files[name]), segread(tmp_path / "seg.dcm")
    expected = ward.model.predictor()(read_image(ward.files[name])).mask
    uid = source.SOPInstanceUID
    found = (
        written.get_pixels_by_source_frame(uid, [2], combine_segments=True)
        if name == "cine"
        else written.get_pixels_by_source_instance([uid], combine_segments=True)
    )
    np.testing.assert_array_equal(found[0], expected)
    assert written.StudyInstanceUID == source.StudyInstanceUID


def saved(ward: Ward, name: str, label: Path) -> Callable[[], list[Dataset]]:
    """Save a label here; what the store then has of the image."""
    until(lambda: ward.series[name] in objects(ward))
    reply = ward.http.put(
        "/datastore/label",
        params={"image": ward.series[name]},
        files={"label": (label.name, label.read_bytes())},
    )
    assert reply.is_success, reply.text
    image = dcmread(ward.files[name]).SOPInstanceUID
    return lambda: [one for one in ward.store.segmentations() if referenced_instance(one) == image]


def test_a_segmentation_of_another_make_is_told_and_holds_up_no_label(ward: Ward) -> None:
    """The tests that follow wait for labels in both directions."""
    until(lambda: "is not used" in ward.log.read_text())


def test_a_label_goes_back_as_dicom_seg(ward: Ward, tmp_path: Path) -> None:
    Image.fromarray(square()).save(tmp_path / "label.png")
    sent = saved(ward, "still", tmp_path / "label.png")
    until(sent)
    [written] = sent()
    written.save_as(tmp_path / "seg.dcm")
    again, source = segread(tmp_path / "seg.dcm"), dcmread(ward.files["still"])
    assert again.StudyInstanceUID == source.StudyInstanceUID
    found = again.get_pixels_by_source_instance([source.SOPInstanceUID], combine_segments=True)
    np.testing.assert_array_equal(found[0], square())
    assert again.get_segment_description(1).segment_label == "fetal head"


def test_of_a_cine_each_frame_goes_back(ward: Ward, tmp_path: Path) -> None:
    frames = np.stack([square(), 0 * square(), square()])
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(tmp_path / "label.nii.gz"))
    sent = saved(ward, "cine", tmp_path / "label.nii.gz")
    until(lambda: len(sent()) == 3)
    place, (height, width) = Geometry.grid(), square().shape
    masks = {
        referenced_frame(seg): read_segmentation(seg, {"fetal head": 1}, place, (height, width))
        for seg in sent()
    }
    np.testing.assert_array_equal([masks[number] for number in range(3)], frames)


def test_a_label_in_the_store_counts_here(ward: Ward, tmp_path: Path) -> None:
    image = ward.series["labelled"]
    until(lambda: "final" in objects(ward).get(image, {}).get("labels", {}))
    label = ward.http.get("/datastore/label", params={"label": image, "tag": "final"})
    (tmp_path / "label.png").write_bytes(label.content)
    np.testing.assert_array_equal(read_mask(tmp_path / "label.png"), square())


def test_a_new_image_is_found_by_scoring_and_queue(ward: Ward) -> None:
    until(lambda: ward.series["colour"] in objects(ward))
    sample = ward.http.post("/activelearning/random", json={"seed": 1}).json()
    assert sample["id"] in ward.series.values()
