"""What all infer models share: from a request to frames, from masks to the answer's file."""

from __future__ import annotations

import os
import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask

from lfusion.biometry import HeadBiometry, measure_head
from lfusion.image import (
    Calibration,
    Geometry,
    UltrasoundImage,
    as_ultrasound_image,
    read_frames,
    read_image,
    write_mask,
)
from lfusion.image.read import read_frame_count
from lfusion.predictor import HEAD_LABEL, Predictor
from lfusion.protocol import InferResult, Latencies
from lfusion.types import LabelMap, Probabilities
from monailabel_app.lib.infer.contours import outlines
from monailabel_app.lib.infer.request import frame_asked, pixel_size_asked
from monailabel_app.lib.served import ServedModel

_VOLUMES = (".nii.gz", ".nii", ".nrrd", ".mha")
_LOSSLESS = (*_VOLUMES, ".png")
_FLAT = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class Frame:
    """One image to answer about.

    Attributes:
        image: Its pixels.
        number: In the cine it comes from, else 0.
        image_id: Of the datastore, for the frame that an image's maps are kept of; else None.
    """

    image: UltrasoundImage
    number: int
    image_id: str | None


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says about one frame.

    Attributes:
        mask: [height, width] class numbers.
        biometry: Of the head in this mask, where the model segments one.
        result: Further fields of the `InferResult`, or of a kind of it.
    """

    mask: LabelMap
    biometry: HeadBiometry | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


class FrameInfer(InferTask):  # type: ignore[misc]  # MONAI Label has no types
    """A model that answers frame by frame.

    It extends the plain `InferTask` and none of MONAI Label's pipelines: the
    predictor reads, pads, predicts and returns to native pixels by itself, and
    is the same one that the command line and a notebook use.

    A cine is answered with a mask for each of its frames, for 3D Slicer opens
    it as a volume and replaces a segment as a whole: with one frame answered,
    all others would lose theirs. Scalars and maps are those of the middle frame,
    by which the image was scored. `frame` asks for one frame alone.
    """

    result_type: type[InferResult] = InferResult

    def __init__(self, served: ServedModel, **options: Any) -> None:
        super().__init__(dimension=2, **options)
        self._served = served

    def is_valid(self) -> bool:
        """Always: a server without a model does not start."""
        return True

    @abstractmethod
    def answer(self, predictor: Predictor, frame: Frame, request: Mapping[str, Any]) -> Answer:
        """Answer about one frame.

        Args:
            predictor: Of the served checkpoint, the same one for all frames of a request.
            frame: The frame.
            request: As the client sent it.
        """

    def classes(self, predictor: Predictor) -> Mapping[str, int]:
        """Class number by name of the masks."""
        return predictor.labels

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Answer about one image.

        Args:
            request: `image` (a path), `image_id` when the image is one of the
                datastore, `frame`, `result_extension` (a lossless one; others are
                ignored), `result_compress`, `pixel_size_mm` ([row, column], wins over
                the file's), `output` (`json`: with contours, for CVAT), and what the
                model itself reads.

        Returns:
            The mask file, which the caller deletes, and an `InferResult` as JSON.

        Raises:
            ImageError: The file holds no image that can be read, or not this frame.
            RequestError: A value of the request cannot be used.
            CheckpointError: The served checkpoint cannot be loaded.
        """
        begin = time.perf_counter()
        path, predictor = Path(request["image"]), self._served.predictor()
        frames = _read(path, request)
        read = time.perf_counter()
        answers = [self.answer(predictor, frame, request) for frame in frames]
        predicted = time.perf_counter()
        mask = _write(answers, frames, path, request)
        end = time.perf_counter()
        main, answered = frames[len(frames) // 2], answers[len(answers) // 2]
        calibration = main.image.calibration(answered.mask)
        fields: dict[str, Any] = {
            "label_names": dict(self.classes(predictor)),
            "scores": {},
            "percentiles": {},
            "biometry": None if answered.biometry is None else answered.biometry.as_dict(),
            "pixel_size_mm": calibration.pixel_size_mm,
            "calibration_note": calibration.note,
            "checkpoint_id": predictor.checkpoint_id,
            "unlearned": list(predictor.checkpoint.unlearned),
            "maps": {},
            "latencies": Latencies(
                read=read - begin,
                predict=predicted - read,
                write=end - predicted,
                total=end - begin,
            ),
        }
        result = self.result_type(**{**fields, **answered.result}).model_dump()
        if request.get("output") == "json":
            result["annotations"] = outlines(answered.mask, self.classes(predictor))
        return str(mask), result


def head_biometry(
    predictor: Predictor, probabilities: Probabilities, calibration: Calibration
) -> HeadBiometry | None:
    """The head of a segmentation measured; None where the model segments none.

    Args:
        predictor: Of the model.
        probabilities: [classes, height, width].
        calibration: Pixel size, or the reason why it is unknown.
    """
    if HEAD_LABEL not in predictor.labels:
        return None
    head = probabilities[predictor.labels[HEAD_LABEL]]
    return measure_head(head, calibration.pixel_size_mm, calibration.note)


def as_slice(image: UltrasoundImage) -> UltrasoundImage:
    """The image as a volume of one slice in its place, which is how 3D Slicer opens flat files.

    A PNG gets ITK's identity, in NIfTI's axes the affine diag(-1, -1, 1, 1).

    Args:
        image: Flat, or already a slice.
    """
    flat = image.geometry
    if len(flat.spacing) != 2:
        return image
    a, b, c, d = flat.direction
    volume = Geometry(
        spacing=(*flat.spacing, 1.0),
        origin=(*flat.origin, 0.0),
        direction=(a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0),
        physical=flat.physical,
    )
    return replace(image, geometry=volume)


def new_file(suffix: str) -> Path:
    """An empty file that only this process will use.

    Args:
        suffix: Of its name.
    """
    descriptor, name = tempfile.mkstemp(prefix="lfusion-", suffix=suffix)
    os.close(descriptor)
    return Path(name)


def _read(path: Path, request: Mapping[str, Any]) -> list[Frame]:
    """The frames to answer about; an image's maps are kept of the middle one only."""
    frame, size = frame_asked(request), pixel_size_asked(request)
    if frame is None:
        images, first = read_frames(path), 0
    else:
        images, first = (read_image(path, frame),), frame
    middle = (len(images) if frame is None else read_frame_count(path)) // 2
    return [
        Frame(
            image=as_ultrasound_image(image, size),
            number=number,
            image_id=request.get("image_id") if number == middle else None,
        )
        for number, image in enumerate(images, first)
    ]


def _write(
    answers: Sequence[Answer], frames: Sequence[Frame], image: Path, request: Mapping[str, Any]
) -> Path:
    masks = np.stack([answer.mask for answer in answers])
    asked = str(request.get("result_extension", "")).lower()
    if len(masks) > 1:
        suffix = asked if asked in _VOLUMES else ".nrrd"
    elif asked in _LOSSLESS:
        suffix = asked
    else:
        suffix = ".png" if image.suffix.lower() in _FLAT else ".nrrd"
    file = new_file(suffix)
    compress = request.get("result_compress") is not False
    values = masks if len(masks) > 1 else masks[0]
    try:
        write_mask(file, values, like=as_slice(frames[0].image), compress=compress)
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return file
