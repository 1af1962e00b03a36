"""The studies folder keeps what it acknowledged, also while several threads use it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfusion.image import write_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.errors import ConflictError, InvalidNameError, LabelError, UnknownNameError
from monailabel_app.lib.labels import read_label
from monailabel_app.lib.names import check_image_id

LABELS = {"head": 1, "symphysis": 2}


@pytest.fixture
def studies(heads: Path, tmp_path: Path) -> Path:
    """A folder of the drawn heads."""
    return Path(shutil.copytree(heads / "images", tmp_path / "studies"))


@pytest.fixture
def mask(heads: Path) -> Path:
    """A label of every one of them."""
    return heads / "masks" / "head00.png"


def opened(studies: Path, *, auto_reload: bool = False) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: LABELS, auto_reload=auto_reload, read_only=False)


class TestScan:
    @pytest.mark.parametrize(
        ("name", "image_id"),
        [
            ("SHOUTED.PNG", "SHOUTED"),
            ("photo.jpeg", "photo"),
            ("exam.12.HC.png", "exam.12.HC"),
            ("x.png.copy.png", "x.png.copy"),
            ("volume.nii.gz", "volume"),
        ],
    )
    def test_every_image_format_in_any_case(self, studies: Path, name: str, image_id: str) -> None:
        (studies / name).touch()
        store = opened(studies)
        assert Path(store.get_image_uri(image_id)) == studies / name

    def test_hidden_files_and_model_files_are_no_images(self, studies: Path) -> None:
        (studies / "._head00.png").touch()
        (studies / ".lfusion").mkdir()
        (studies / ".lfusion" / "left.png").touch()
        assert len(opened(studies).list_images()) == 13

    def test_a_removed_image_is_forgotten(self, studies: Path) -> None:
        opened(studies)
        (studies / "head00.png").unlink()
        assert "head00" not in opened(studies).list_images()


class TestLabels:
    def test_a_label_is_there_after_a_restart(self, studies: Path, mask: Path) -> None:
        opened(studies).save_label("head01", str(mask), "final", {"client_id": "ann"})
        store = opened(studies)
        assert store.get_labeled_images() == ["head01"]
        assert Path(store.get_label_uri("head01", "final")).read_bytes() == mask.read_bytes()
        assert store.get_label_info("head01", "final")["client_id"] == "ann"

    def test_the_second_label_replaces_the_first_of_another_format(
        self, studies: Path, mask: Path, tmp_path: Path
    ) -> None:
        store = opened(studies)
        store.save_label("head01", str(mask), "final", {})
        other = tmp_path / "other.nii.gz"
        write_mask(other, np.zeros((96, 128), np.uint8))
        store.save_label("head01", str(other), "final", {})
        files = [path.name for path in (studies / "labels" / "final").iterdir()]
        assert files == ["head01.nii.gz"]

    def test_a_label_of_another_size_leaves_the_old_one(
        self, studies: Path, mask: Path, tmp_path: Path
    ) -> None:
        store = opened(studies)
        store.save_label("head01", str(mask), "final", {"n": 1})
        wrong = tmp_path / "wrong.png"
        write_mask(wrong, np.zeros((96, 127), np.uint8))
        with pytest.raises(LabelError, match=r"96 x 128 .* got 96 x 127"):
            store.save_label("head01", str(wrong), "final", {"n": 2})
        assert opened(studies).get_label_info("head01", "final")["n"] == 1

    def test_a_label_of_no_image(self, studies: Path, mask: Path) -> None:
        with pytest.raises(UnknownNameError, match="nobody"):
            opened(studies).save_label("nobody", str(mask), "final", {})

    def test_segments_are_numbered_by_their_order(self, tmp_path: Path) -> None:
        # 3D Slicer writes 1, 2, ... in the order of its list, whatever `idx` says.
        label = tmp_path / "label.nii.gz"
        write_mask(label, np.array([[0, 1], [2, 1]], np.uint8))
        image = tmp_path / "image.png"
        write_mask(image, np.zeros((2, 2), np.uint8))
        info = [{"name": "symphysis", "idx": 7}, {"name": "head", "idx": 3}]
        assert read_label(label, image, info, LABELS).tolist() == [[0, 2], [1, 2]]
        assert read_label(label, image, None, LABELS).tolist() == [[0, 1], [2, 1]]


class TestImages:
    def test_an_added_image_is_offered(self, studies: Path) -> None:
        store = opened(studies)
        assert store.add_image("new", str(studies / "head00.png"), {}) == "new"
        assert (studies / "new.png").read_bytes() == (studies / "head00.png").read_bytes()
        assert "new" in store.get_unlabeled_images()

    def test_an_image_is_never_replaced(self, studies: Path, mask: Path) -> None:
        store = opened(studies)
        before = (studies / "head01.png").read_bytes()
        with pytest.raises(ConflictError, match="head01"):
            store.add_image("head01", str(mask), {})
        assert (studies / "head01.png").read_bytes() == before

    @settings(deadline=None)
    @given(st.text(max_size=300))
    def test_an_accepted_id_is_a_file_of_the_folder(self, image_id: str) -> None:
        folder = Path("/studies")
        try:
            check_image_id(image_id)
        except InvalidNameError:
            return
        path = folder / f"{image_id}.png"
        assert path.parent == folder
        assert path.resolve().parent == folder.resolve()
        assert len(path.name.encode()) < 255


def test_nothing_is_lost_when_threads_save_score_and_rescan(studies: Path, mask: Path) -> None:
    store = opened(studies, auto_reload=True)
    ids = store.list_images()[:6]
    errors: list[Exception] = []

    def run(work: Callable[[str], object]) -> threading.Thread:
        def body() -> None:
            try:
                for image_id in ids * 2:
                    work(image_id)
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=body)
        thread.start()
        return thread

    threads = [
        run(lambda i: store.save_label(i, str(mask), "final", {"by": "a"})),
        run(lambda i: store.save_label(i, str(mask), "original", {"by": "b"})),
        run(lambda i: store.update_image_info(i, {"score": 1})),
        run(lambda i: store.refresh()),
        run(lambda i: store.get_unlabeled_images()),
    ]
    for thread in threads:
        thread.join()
    store.close()
    assert errors == []
    index = opened(studies).json()["objects"]
    assert len(index) == 13
    for entry in map(index.__getitem__, ids):
        assert entry["labels"]["final"]["info"]["by"] == "a"
        assert entry["labels"]["original"]["info"]["by"] == "b"
        assert entry["image"]["info"]["score"] == 1
