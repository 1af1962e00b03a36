"""A studies folder kept in step with a DICOMweb store.

Scoring reads every image anyway, so the ultrasound that the filter selects is copied into a
folder, and all that holds for a folder holds for it: leases, versions, queue, maps. What is
final there is sent back, whichever way it was saved and even after a crash: a label is sent
until the record says that this file was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from lfusion.errors import ImageError, LFusionError
from lfusion.image import write_mask
from lfusion.image.decode import open_image
from lfusion.image.formats import stem_of
from lfusion.image.read import read_size
from lfusion.image.write import atomic_path
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.ledger import FINAL
from monailabel_app.lib.dicomweb.remote import DicomWebError, DicomWebStore, Series, search_filter
from monailabel_app.lib.dicomweb.segmentation import (
    read_segmentation,
    referenced_frame,
    referenced_instance,
    write_segmentation,
)
from monailabel_app.lib.labels import read_label_frames

logger = logging.getLogger(__name__)

_SEND_SECONDS = 2.0
"""How soon a saved label is sent; looking for one costs one file status a label."""

_RETRY_SECONDS = 60.0
"""How soon a store that could not be searched is searched again."""


class DicomWebMirror:
    """Copies images in and labels out.

    An image is called by its SeriesInstanceUID, as OHIF asks for it, when its series had it alone
    at first sight; by its SOPInstanceUID otherwise.

    Args:
        remote: The store.
        local: The folder.
        labels: Gives the class number by name of the served model.
        record: File that says which labels were sent, and which instances are no images.
    """

    def __init__(
        self,
        remote: DicomWebStore,
        local: StudiesDatastore,
        labels: Callable[[], Mapping[str, int]],
        record: Path,
    ) -> None:
        self._remote = remote
        self._local = local
        self._labels = labels
        self._record = record
        self._sent = _read_record(record)
        self._ids = {_sop(local, image): image for image in local.list_images()}
        self._complete: dict[str, int] = {}
        self._stamps: dict[str, tuple[int, int]] = {}

    def start(self, fetch_seconds: float) -> None:
        """Keep in step from now on, in a thread that ends with the process.

        Args:
            fetch_seconds: How often the store is searched for new images.

        Raises:
            DicomWebError: The store does not answer; better told at the start than in a log.
        """
        try:
            next(self._remote.series(search_filter()), None)
        except OSError as error:
            raise DicomWebError(
                f"expected a DICOMweb store at {self._remote.url}, got {error}; check the address"
            ) from error
        threading.Thread(
            target=self._run, args=(fetch_seconds,), name="dicomweb", daemon=True
        ).start()

    def fetch(self) -> None:
        """Copy new images, then the labels that others gave them.

        Raises:
            OSError: The store does not answer.
        """
        for series in self._remote.series(search_filter()):
            known = self._complete.get(series.uid)
            if known != (series.instances or None) and self._fetch_series(series):
                self._complete[series.uid] = series.instances
        for series in self._remote.series({"Modality": "SEG"}):
            if series.uid not in self._complete:
                uids = self._remote.instances(series)
                if all([self._fetch_segmentation(series, uid) for uid in uids]):  # try each
                    self._complete[series.uid] = series.instances

    def send(self) -> None:
        """Send the final labels that the store does not have yet; one that fails waits."""
        for pair in self._local.datalist():
            image, label = Path(pair["image"]), Path(pair["label"])
            image_id = stem_of(image)
            try:
                status = label.stat()
                stamp = (status.st_mtime_ns, status.st_size)
                if self._stamps.get(image_id) == stamp:
                    continue
                digest = hashlib.sha256(label.read_bytes()).hexdigest()
                if self._sent.get(image_id) != digest:
                    self._send_label(image_id, image, label)
                    self._remember(image_id, digest)
                self._stamps[image_id] = stamp
            except (OSError, LFusionError) as error:
                logger.warning("the label of image %s is not sent yet: %s", image_id, error)
            except Exception:  # the labels of the other images must reach the store
                logger.exception("the label of image %s is not sent yet", image_id)

    def _run(self, fetch_seconds: float) -> None:
        left, pause = 0.0, threading.Event()
        while True:
            if left <= 0:
                left = fetch_seconds
                if not self._went_well(self.fetch):
                    left = min(left, _RETRY_SECONDS)
            self._went_well(self.send)
            pause.wait(_SEND_SECONDS)
            left -= _SEND_SECONDS

    def _went_well(self, step: Callable[[], None]) -> bool:
        """Take a step of which nothing is lost when it fails, for it is taken again."""
        try:
            step()
        except Exception:  # whatever it is, this thread is the only one that sends labels
            logger.exception("not in step with %s", self._remote.url)
            return False
        return True

    def _fetch_series(self, series: Series) -> bool:
        """Copy what is new; whether that was all, for one bad instance holds up no other."""
        instances = self._remote.instances(series)
        for uid in instances:
            if uid not in self._ids and uid not in self._sent:
                try:
                    self._fetch_image(series, uid, series.uid if len(instances) == 1 else uid)
                except (OSError, LFusionError) as error:
                    logger.warning("cannot copy instance %s: %s", uid, error)
                except Exception:  # others wrote it, and it must not hold up the next ones
                    logger.exception("cannot copy instance %s", uid)
        return all(uid in self._ids or uid in self._sent for uid in instances)

    def _fetch_image(self, series: Series, uid: str, image_id: str) -> None:
        with tempfile.TemporaryDirectory(prefix="lfusion-dicomweb-") as folder:
            file = Path(folder) / "image.dcm"
            self._remote.instance(series, uid).save_as(file, write_like_original=False)
            try:
                read_size(file)
            except ImageError as error:
                logger.warning("instance %s is no image: %s", uid, error)
                self._remember(uid, "no image")
                return
            uids = {"StudyInstanceUID": series.study, "SeriesInstanceUID": series.uid}
            self._local.add_image(image_id, str(file), {**uids, "SOPInstanceUID": uid})
            self._ids[uid] = image_id

    def _fetch_segmentation(self, series: Series, uid: str) -> bool:
        """Take over one segmentation; whether that is done, be it that it cannot be used."""
        try:
            self._fetch_label(self._remote.instance(series, uid))
        except OSError as error:
            logger.warning("cannot get segmentation %s: %s", uid, error)
            return False
        except Exception:  # others wrote it, and it must not hold up the labels of ours
            logger.exception("segmentation %s is not used", uid)
        return True

    def _fetch_label(self, segmentation: Dataset) -> None:
        """Take over a label for an image that has none here."""
        image_id = self._ids.get(referenced_instance(segmentation))
        if image_id is None or self._local.get_label_uri(image_id, FINAL):
            return
        with open_image(self._local.image_path(image_id)) as image:
            layout, geometry = image.layout, image.geometry
        frames, size = layout.frames, (layout.height, layout.width)
        if referenced_frame(segmentation) not in (None, frames // 2):
            return  # the middle frame stands for its cine
        with tempfile.TemporaryDirectory(prefix="lfusion-dicomweb-") as folder:
            file = Path(folder) / "label.png"
            try:
                place = geometry.slice(frames // 2)
                mask = read_segmentation(segmentation, self._labels(), place, size)
                write_mask(file, mask)
                self._local.save_label(image_id, str(file), FINAL, {"client_id": "dicomweb"})
            except LFusionError as error:
                logger.warning("segmentation of %s is not used: %s", image_id, error)
                return
        label = Path(self._local.get_label_uri(image_id, FINAL))
        self._remember(image_id, hashlib.sha256(label.read_bytes()).hexdigest())

    def _send_label(self, image_id: str, image: Path, label: Path) -> None:
        labels = self._labels()
        info = self._local.get_label_info(image_id, FINAL)
        header = dcmread(image, stop_before_pixels=True)
        frames = int(header.get("NumberOfFrames") or 1)
        masks = read_label_frames(label, image, info.get("label_info"), labels)
        # A flat label of a cine is of the frame that clients read by default.
        first = 0 if len(masks) > 1 else frames // 2
        for number, mask in enumerate(masks, first):
            frame = number if frames > 1 else None
            self._remote.put(write_segmentation(header, mask, labels, frame))
        logger.info("sent the label of image %s", image_id)

    def _remember(self, key: str, value: str) -> None:
        self._sent[key] = value
        with atomic_path(self._record) as temporary:
            temporary.write_text(json.dumps(self._sent))


def is_remote(studies: str) -> bool:
    """Whether studies are the address of a DICOMweb store.

    Args:
        studies: As MONAI Label was given them.
    """
    return studies.startswith(("http://", "https://"))


def mirror_folder(url: str, state: Path) -> Path:
    """The folder that mirrors a store, one for each address; made if need be.

    Args:
        url: Of the store.
        state: Folder of the studies' owner.
    """
    folder = state / "dicomweb" / hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _read_record(record: Path) -> dict[str, str]:
    """Empty before the first label was sent; a damaged one only has labels sent again."""
    try:
        found: dict[str, str] = json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _sop(local: StudiesDatastore, image_id: str) -> str:
    """The SOPInstanceUID of an image, from its file where the index was made anew."""
    known = local.get_image_info(image_id).get("SOPInstanceUID")
    if known:
        return str(known)
    path = local.image_path(image_id)
    header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    return str(header.SOPInstanceUID)
