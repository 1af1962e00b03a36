"""The infer model `lfusion`: a mask that clients open in place, and where it is uncertain."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from lfusion.image import Geometry, UltrasoundImage, read_image, write_map, write_mask
from lfusion.predictor import Prediction
from lfusion.protocol import MAP_SUFFIX, MAP_TAGS, InferResult, Latencies
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.errors import RequestError
from monailabel_app.lib.served import ServedModel

_LOSSLESS = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")
_FLAT = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


class UncertaintyInfer(InferTask):  # type: ignore[misc]  # MONAI Label has no types
    """Runs the served predictor on one image.

    It extends the plain `InferTask` and none of MONAI Label's pipelines: the
    predictor reads, pads, predicts and returns to native pixels by itself, and
    is the same one that the command line and a notebook use.

    Args:
        served: The model.
        datastore: Where maps of its own images are kept; None when it cannot keep them.
    """

    def __init__(self, served: ServedModel, datastore: StudiesDatastore | None) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=dict(served.labels()),
            dimension=2,
            description="Segmentation with aleatoric and epistemic uncertainty",
        )
        self._served = served
        self._datastore = datastore

    def is_valid(self) -> bool:
        """Always: a server without a model does not start."""
        return True

    def __call__(self, request: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Predict one image.

        Args:
            request: `image` (a path), `image_id` when the image is one of the
                datastore, `result_extension` (a lossless one; others are
                ignored), `pixel_size_mm` ([row, column], wins over the file's).

        Returns:
            The mask file, which the caller deletes, and an `InferResult` as JSON.

        Raises:
            ImageError: The file is no single grey image.
        RequestError: The pixel size is not two positive numbers.
            CheckpointError: The served checkpoint cannot be loaded.
        """
        begin = time.perf_counter()
        path = Path(request["image"])
        image = read_image(path)
        read = time.perf_counter()
        prediction = self._served.predictor()(image, pixel_size_mm=_pixel_size(request))
        predicted = time.perf_counter()
        mask = _new_file(_result_suffix(request.get("result_extension"), path))
        place = _as_slice(image)
        write_mask(mask, prediction.mask, like=place)
        maps = self._keep_maps(request.get("image_id"), place, prediction)
        end = time.perf_counter()
        result = InferResult(
            label_names=dict(prediction.labels),
            scores=dict(prediction.scores),
            percentiles=dict(prediction.percentiles),
            biometry=None if prediction.biometry is None else prediction.biometry.as_dict(),
            pixel_size_mm=prediction.pixel_size_mm,
            checkpoint_id=prediction.checkpoint_id,
            maps=maps,
            latencies=Latencies(
                read=read - begin,
                predict=predicted - read,
                write=end - predicted,
                total=end - begin,
            ),
        )
        return str(mask), result.model_dump()

    def _keep_maps(
        self, image_id: str | None, image: UltrasoundImage, prediction: Prediction
    ) -> dict[str, str]:
        """Store the uncertainty maps beside the labels; returns their tags by name."""
        if image_id is None or self._datastore is None:
            return {}
        for tag in MAP_TAGS:
            file = _new_file(MAP_SUFFIX)
            try:
                write_map(file, getattr(prediction, tag), like=image)
                info = {"checkpoint_id": prediction.checkpoint_id, "unit": "nat"}
                self._datastore.save_label(image_id, str(file), tag, info)
            finally:
                file.unlink(missing_ok=True)
        return {tag: tag for tag in MAP_TAGS}


def _as_slice(image: UltrasoundImage) -> UltrasoundImage:
    """The image as a volume of one slice in its place, which is how 3D Slicer opens flat files.

    A PNG gets ITK's identity, in NIfTI's axes the affine diag(-1, -1, 1, 1).
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


def _pixel_size(request: Mapping[str, Any]) -> tuple[float, float] | None:
    """The pixel size a client gave, as numbers; None when it gave none."""
    given = request.get("pixel_size_mm")
    if given is None:
        return None
    try:
        row, column = (float(size) for size in given)
    except (TypeError, ValueError):
        row = column = 0.0
    if not (0 < row < float("inf") and 0 < column < float("inf")):
        raise RequestError(
            f"expected pixel_size_mm as two positive numbers [row, column]; got {str(given)[:80]}"
        )
    return row, column


def _result_suffix(asked: object, image: Path) -> str:
    """A lossless suffix: the one asked for, else PNG for flat images and NRRD for volumes."""
    if isinstance(asked, str) and asked.lower() in _LOSSLESS:
        return asked.lower()
    return ".png" if image.suffix.lower() in _FLAT else ".nrrd"


def _new_file(suffix: str) -> Path:
    """An empty file that only this process will use."""
    descriptor, name = tempfile.mkstemp(prefix="lfusion-", suffix=suffix)
    os.close(descriptor)
    return Path(name)
