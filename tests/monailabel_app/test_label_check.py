"""One check for every label: uploaded, hand-placed, imported; what fails is kept and explained."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray
from PIL import Image

from lfusion.protocol import QueueItem
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.errors import LabelError
from monailabel_app.lib.labels import read_label
from monailabel_app.lib.leases import Leases
from monailabel_app.lib.queue import LabellingQueue
from monailabel_app.lib.why import ORDERS

LABELS = {"fetal head": 1, "symphysis": 2}
SIZE = (96, 128)
HEAD = np.zeros(SIZE, np.uint8)
HEAD[30:60, 40:90] = 1

_sitk: Any = SimpleITK
Write = Callable[[Path], None]


@pytest.fixture
def studies(heads: Path, tmp_path: Path) -> Path:
    """A folder of some of the drawn heads, with an empty folder of final labels."""
    folder = tmp_path / "studies"
    (folder / "labels" / "final").mkdir(parents=True)
    for number in range(4):
        shutil.copy(heads / "images" / f"head{number:02}.png", folder)
    return folder


def opened(studies: Path, *, auto_reload: bool = False) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: LABELS, auto_reload=auto_reload, read_only=False)


def queue_of(store: StudiesDatastore) -> dict[str, QueueItem]:
    """The items of the queue by id."""
    queue = LabellingQueue(store.index, Leases(store.index))
    order = next(iter(ORDERS.values()))
    return {item.id: item for item in queue.listing(order, "none", 100).items}


def png(values: NDArray[np.uint8]) -> Write:
    return lambda path: Image.fromarray(values).save(path)


def nrrd(values: NDArray[np.uint8], origin: tuple[float, float, float] = (0, 0, 0)) -> Write:
    def write(path: Path) -> None:
        volume = _sitk.GetImageFromArray(values)
        volume.SetOrigin(origin)
        _sitk.WriteImage(volume, str(path))

    return write


def segmentation(name: str) -> Write:
    """What 3D Slicer writes: a segment with a name, value 1 whatever the class number."""

    def write(path: Path) -> None:
        volume = _sitk.GetImageFromArray(HEAD[None])
        for key, text in {"Name": name, "LabelValue": "1", "Layer": "0"}.items():
            volume.SetMetaData(f"Segment0_{key}", text)
        _sitk.WriteImage(volume, str(path))

    return write


def broken(path: Path) -> None:
    path.write_text("no picture")


REFUSED: dict[str, tuple[str, Write, str]] = {
    "black and white": (".png", png(HEAD * np.uint8(255)), "found the values 0, 255"),
    "grey": (".png", png(HEAD * np.uint8(128)), "found the values 0, 128"),
    "skipped": (".png", png(HEAD * np.uint8(5)), "found the values 0, 5"),
    "soft": (".png", png(np.resize(np.arange(256), SIZE).astype(np.uint8)), "up to 255"),
    "small": (".png", png(HEAD[:50]), "96 x 128 pixels .* got 50 x 128"),
    "turned": (".png", png(np.ascontiguousarray(HEAD.T)), "got 128 x 96"),
    "colour": (".png", png(np.stack([HEAD * np.uint8(255)] * 3, -1)), "colour|grey|channel"),
    "JPEG": (".jpg", png(HEAD), "JPEG does not keep class numbers"),
    "no picture": (".png", broken, "."),
    "empty": (".png", lambda path: path.touch(), "empty"),
    "slices": (".nrrd", nrrd(np.stack([HEAD] * 3)), "got 3 slices"),
    "bladder": (".seg.nrrd", segmentation("bladder"), "bladder"),
}


@pytest.mark.parametrize("kind", REFUSED)
class TestWhatIsRefused:
    def test_on_upload_and_by_hand_alike(self, studies: Path, tmp_path: Path, kind: str) -> None:
        suffix, write, reason = REFUSED[kind]
        sent = tmp_path / f"sent{suffix}"
        write(sent)
        by_hand = studies / "labels" / "final" / f"head00{suffix}"
        shutil.copy(sent, by_hand)
        store = opened(studies)
        with pytest.raises(LabelError, match=reason) as caught:
            store.save_label("head01", str(sent), "final", {})
        assert str(tmp_path) not in str(caught.value)
        item = queue_of(store)["head00"]
        assert item.label_problem == f"labels/final/head00{suffix}: {caught.value}"
        assert (item.state, item.version) == ("unscored", 0)
        assert store.get_labeled_images() == []
        assert by_hand.read_bytes() == sent.read_bytes()

    def test_among_the_masks_of_a_dataset(
        self, heads: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
    ) -> None:
        suffix, write, _ = REFUSED[kind]
        root = tmp_path / "studies"
        (root / "masks").mkdir(parents=True)
        (root / "images").mkdir()
        shutil.copy(heads / "images" / "head00.png", root / "images")
        shutil.copy(heads / "images" / "head01.png", root / "images")
        shutil.copy(heads / "masks" / "head01.png", root / "masks")
        write(root / "masks" / f"head00{suffix}")
        store = opened(root)
        assert store.get_labeled_images() == ["images--head01"]
        problem = queue_of(store)["images--head00"].label_problem
        assert problem is not None
        assert problem.startswith(f"masks/head00{suffix}: ")
        lines = [r for r in caplog.records if f"masks/head00{suffix}" in r.getMessage()]
        assert [line.levelno for line in lines] == [logging.WARNING]


class TestByHand:
    def test_it_counts_once_it_is_repaired(self, studies: Path) -> None:
        file = studies / "labels" / "final" / "head00.png"
        Image.fromarray(HEAD * np.uint8(255)).save(file)
        store = opened(studies)
        assert store.get_labeled_images() == []
        Image.fromarray(HEAD).save(file)
        store.refresh()
        assert store.get_labeled_images() == ["head00"]
        assert queue_of(store)["head00"].label_problem is None

    def test_it_is_forgotten_once_it_is_gone(self, studies: Path) -> None:
        file = studies / "labels" / "final" / "head00.jpg"
        Image.fromarray(HEAD).save(file)
        store = opened(studies)
        assert queue_of(store)["head00"].label_problem is not None
        file.unlink()
        store.refresh()
        assert queue_of(store)["head00"].label_problem is None

    def test_it_counts_once_its_image_fits(self, studies: Path, heads: Path) -> None:
        Image.fromarray(HEAD[:50]).save(studies / "labels" / "final" / "head00.png")
        store = opened(studies)
        assert store.get_labeled_images() == []
        Image.fromarray(np.full((50, 128), 9, np.uint8)).save(studies / "head00.png")
        store.refresh()
        assert store.get_labeled_images() == ["head00"]

    def test_it_is_said_once(self, studies: Path, caplog: pytest.LogCaptureFixture) -> None:
        Image.fromarray(HEAD * np.uint8(255)).save(studies / "labels" / "final" / "head00.png")
        store = opened(studies)
        for _ in range(3):
            store.refresh()
        said = [r for r in caplog.records if "labels/final/head00.png" in r.getMessage()]
        assert len(said) == 1

    def test_a_bad_file_over_a_label_takes_its_place_away(self, studies: Path) -> None:
        store = opened(studies)
        file = studies / "labels" / "final" / "head00.png"
        Image.fromarray(HEAD).save(file)
        store.refresh()
        assert store.get_labeled_images() == ["head00"]
        Image.fromarray(HEAD * 7).save(file)
        store.refresh()
        assert store.get_labeled_images() == []
        assert "found the values 0, 7" in str(queue_of(store)["head00"].label_problem)

    def test_a_bad_file_beside_a_label_leaves_it(self, studies: Path) -> None:
        store = opened(studies)
        Image.fromarray(HEAD).save(studies / "labels" / "final" / "head00.png")
        store.refresh()
        Image.fromarray(HEAD).save(studies / "labels" / "final" / "head00.jpg")
        store.refresh()
        assert store.get_labeled_images() == ["head00"]
        assert "head00.jpg" in str(queue_of(store)["head00"].label_problem)

    def test_an_upload_takes_the_place_of_a_bad_file(self, studies: Path, tmp_path: Path) -> None:
        Image.fromarray(HEAD * np.uint8(255)).save(studies / "labels" / "final" / "head00.png")
        store = opened(studies)
        sent = tmp_path / "sent.png"
        Image.fromarray(HEAD).save(sent)
        store.save_label("head00", str(sent), "final", {})
        assert queue_of(store)["head00"].label_problem is None
        store.refresh()
        assert store.get_labeled_images() == ["head00"]
        assert queue_of(store)["head00"].label_problem is None

    def test_a_label_of_no_image_is_named(
        self, studies: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        Image.fromarray(HEAD).save(studies / "labels" / "final" / "nobody.png")
        opened(studies)
        assert "labels/final/nobody.png (a label of no image)" in caplog.text

    def test_a_saved_version_that_comes_back_is_taken(self, studies: Path, tmp_path: Path) -> None:
        """Its numbers follow the names that were saved with it, not the model."""
        store = opened(studies)
        sent = tmp_path / "sent.png"
        Image.fromarray(HEAD * 3).save(sent)
        names = [{"name": "symphysis"}, {"name": "symphysis"}, {"name": "fetal head"}]
        store.save_label("head00", str(sent), "final", {"label_info": names})
        file = Path(store.get_label_uri("head00", "final"))
        content = file.read_bytes()
        file.unlink()
        store.refresh()
        assert store.get_labeled_images() == []
        file.write_bytes(content)
        store.refresh()
        assert store.get_labeled_images() == ["head00"]


class TestStockIndex:
    def test_a_label_that_cannot_be_used_is_left_out(self, studies: Path) -> None:
        Image.fromarray(HEAD).save(studies / "labels" / "final" / "head00.png")
        Image.fromarray(HEAD * np.uint8(255)).save(studies / "labels" / "final" / "head01.png")
        objects = {
            name: {
                "image": {"ext": ".png", "info": {}},
                "labels": {"final": {"ext": ".png", "info": {"client_id": "ann"}}},
            }
            for name in ("head00", "head01")
        }
        (studies / "datastore_v2.json").write_text(json.dumps({"objects": objects}))
        store = opened(studies)
        assert store.get_labeled_images() == ["head00"]
        assert store.get_label_info("head00", "final")["client_id"] == "ann"
        problem = queue_of(store)["head01"].label_problem
        assert str(problem).startswith("labels/final/head01.png: ")


class TestSegmentationOfSlicer:
    def test_as_a_label_it_is_read_by_name(self, studies: Path) -> None:
        segmentation("symphysis")(studies / "labels" / "final" / "head00.seg.nrrd")
        store = opened(studies)
        assert store.get_labeled_images() == ["head00"]
        file = Path(store.get_label_uri("head00", "final"))
        assert file.name == "head00.seg.nrrd"
        mask = read_label(file, studies / "head00.png", None, LABELS)
        np.testing.assert_array_equal(mask, HEAD * 2)

    def test_beside_the_images_it_is_none(
        self, studies: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        segmentation("fetal head")(studies / "head00.seg.nrrd")
        assert len(opened(studies).list_images()) == 4
        assert "1 left out: head00.seg.nrrd (an annotation by its name)" in caplog.text


class TestGeometry:
    @pytest.fixture
    def placed(self, studies: Path) -> Path:
        """The studies with a volume of one slice at a place of its own."""
        nrrd(np.full((1, *SIZE), 50, np.uint8), (10, 20, 0))(studies / "placed.nrrd")
        return studies

    def test_a_label_in_another_orientation_is_turned(self, placed: Path, tmp_path: Path) -> None:
        volume = _sitk.GetImageFromArray(np.ascontiguousarray(HEAD[::-1, ::-1])[None])
        volume.SetOrigin((10.0 + SIZE[1] - 1, 20.0 + SIZE[0] - 1, 0.0))
        volume.SetDirection((-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
        by_hand = placed / "labels" / "final" / "placed.nii.gz"
        _sitk.WriteImage(volume, str(by_hand))
        store = opened(placed)
        assert store.get_labeled_images() == ["placed"]
        mask = read_label(by_hand, placed / "placed.nrrd", None, LABELS)
        np.testing.assert_array_equal(mask, HEAD)

    def test_a_label_elsewhere_is_refused_with_both_places(
        self, placed: Path, tmp_path: Path
    ) -> None:
        sent = tmp_path / "sent.nrrd"
        nrrd(HEAD[None], (300, 20, 0))(sent)
        store = opened(placed)
        with pytest.raises(LabelError, match=r"origin \(300, 20, 0\).*origin \(10, 20, 0\)"):
            store.save_label("placed", str(sent), "final", {})


def test_masks_are_taken_over_once_they_are_repaired(heads: Path, tmp_path: Path) -> None:
    root = tmp_path / "studies"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    shutil.copy(heads / "images" / "head00.png", root / "images")
    Image.fromarray(HEAD * np.uint8(255)).save(root / "masks" / "head00.png")
    store = opened(root)
    assert store.get_labeled_images() == []
    store.close()
    Image.fromarray(HEAD).save(root / "masks" / "head00.png")
    store = opened(root)
    assert store.get_labeled_images() == ["images--head00"]
    assert queue_of(store)["images--head00"].label_problem is None


def test_two_masks_of_one_image_are_refused(heads: Path, tmp_path: Path) -> None:
    root = tmp_path / "studies"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    shutil.copy(heads / "images" / "head00.png", root / "images")
    Image.fromarray(HEAD).save(root / "masks" / "head00.png")
    Image.fromarray(HEAD).save(root / "masks" / "head00.bmp")
    store = opened(root)
    assert store.get_labeled_images() == []
    assert "one mask for each image" in str(queue_of(store)["images--head00"].label_problem)
