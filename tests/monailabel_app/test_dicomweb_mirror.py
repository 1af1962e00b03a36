"""What one bad answer of a DICOMweb store may hold up: nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from requests import HTTPError

from lfusion.image import read_mask, write_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.dicomweb.mirror import DicomWebMirror
from monailabel_app.lib.dicomweb.remote import DicomWebStore, Series
from monailabel_app.lib.dicomweb.segmentation import write_segmentation

if TYPE_CHECKING:
    from tests.support.ultrasound_files import write_ultrasound
else:  # tests/ is no package when it runs
    from ultrasound_files import write_ultrasound

LABELS = {"head": 1}


class Store(DicomWebStore):
    """A store of segmentations; those that are an exception cannot be had."""

    def __init__(self, found: Mapping[str, Dataset | Exception]) -> None:
        self.url = "http://nowhere"
        self.found = found
        self.taken: list[Dataset] = []
        self.stored = threading.Event()

    def series(self, filters: Mapping[str, Any]) -> Iterator[Series]:
        if filters["Modality"] == "SEG":
            if "search" in self.found:
                raise HTTPError("500")
            yield Series("1", "2", len(self.found))

    def instances(self, series: Series) -> list[str]:
        return sorted(self.found)

    def instance(self, series: Series, uid: str) -> Dataset:
        found = self.found[uid]
        if isinstance(found, Exception):
            raise found
        return found

    def put(self, instance: Dataset) -> None:
        self.taken.append(instance)
        self.stored.set()
        raise SystemExit  # ends the mirror's thread


@pytest.fixture
def header(tmp_path: Path) -> Dataset:
    """Of the one image."""
    (tmp_path / "studies").mkdir()
    path = tmp_path / "studies" / "image.dcm"
    write_ultrasound(path, np.zeros((1, 20, 30), np.uint8), (0.2, 0.1))
    return dcmread(path, stop_before_pixels=True)


@pytest.fixture
def local(header: Dataset, tmp_path: Path) -> Iterator[StudiesDatastore]:
    """Its folder."""
    folder = tmp_path / "studies"
    store = StudiesDatastore(str(folder), lambda: LABELS, auto_reload=False, read_only=False)
    yield store
    store.close()


def mirror_of(store: Store, local: StudiesDatastore) -> DicomWebMirror:
    record = local.folder.root.parent / "record.json"
    return DicomWebMirror(store, local, lambda: LABELS, record)


def drawn() -> np.ndarray[Any, np.dtype[np.uint8]]:
    mask = np.zeros((20, 30), np.uint8)
    mask[2:9, 3:17] = 1
    return mask


def without_groups(header: Dataset) -> Dataset:
    odd = write_segmentation(header, drawn(), LABELS)
    del odd.PerFrameFunctionalGroupsSequence, odd.SegmentSequence
    return odd


def test_a_segmentation_is_taken_over_behind_bad_ones(
    header: Dataset, local: StudiesDatastore
) -> None:
    good = write_segmentation(header, drawn(), LABELS)
    mirror = mirror_of(
        Store({"1": without_groups(header), "2": HTTPError("500"), "3": good}), local
    )
    mirror.fetch()
    np.testing.assert_array_equal(read_mask(local.get_label_uri("image", "final")), drawn())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("bad", ["odd", "retrieval", "search"])
def test_a_label_is_sent_whatever_the_store_answers(
    header: Dataset, local: StudiesDatastore, tmp_path: Path, bad: str
) -> None:
    answer = without_groups(header) if bad == "odd" else HTTPError("500")
    store = Store({bad: answer})
    mirror = mirror_of(store, local)
    mirror.start(3600)
    label = tmp_path / "label.png"
    write_mask(label, drawn())
    local.save_label("image", str(label), "final", {})
    assert store.stored.wait(60)
    for thread in threading.enumerate():
        if thread.name == "dicomweb":
            thread.join(60)
    assert len(store.taken) == 1


def test_a_label_is_sent_behind_one_that_cannot_be(
    local: StudiesDatastore, header: Dataset, tmp_path: Path
) -> None:
    Image.fromarray(drawn()).save(local.folder.root / "earlier.png")  # no DICOM: `dcmread` raises
    label = tmp_path / "label.png"
    write_mask(label, drawn())
    store = Store({})
    mirror = mirror_of(store, local)
    local.refresh()
    for image in ("earlier", "image"):
        local.save_label(image, str(label), "final", {})
    with pytest.raises(SystemExit):
        mirror.send()
    assert len(store.taken) == 1
