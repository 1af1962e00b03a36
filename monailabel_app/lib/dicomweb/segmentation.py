"""Masks as DICOM SEG, and back.

highdicom writes what dcmqi, which MONAI Label calls, refuses: ultrasound has no place in the
patient. Without one a segmentation may be about a single frame, so a cine gets one per frame.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO

import numpy as np
from highdicom import UID
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.seg import Segmentation as DicomSegmentation
from highdicom.sr import CodedConcept
from pydicom import dcmread
from pydicom.dataset import Dataset

from lfusion import __version__
from lfusion.image import Geometry
from lfusion.image.formats import quiet_libraries
from lfusion.image.placement import place_mask
from lfusion.types import LabelMap
from monailabel_app.lib.errors import LabelError

_REQUIRED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Attributes that may be empty but not absent; scanners leave some out."""


def write_segmentation(
    source: Dataset, mask: LabelMap, labels: Mapping[str, int], frame: int | None = None
) -> Dataset:
    """A mask as a DICOM SEG that refers to its image.

    Args:
        source: Header of the image.
        mask: [height, width] class numbers.
        labels: Class number by name of the model.
        frame: The frame of a cine that it is about, from 0; None for a still.

    Returns:
        A complete data set with one binary segment for each label, also for an absent one: to
        have looked and found no head is a label.

    Raises:
        LabelError: The mask has another size than the image.
    """
    size = (int(source.Rows), int(source.Columns))
    if mask.shape != size:
        raise LabelError(f"expected a mask of {size[0]} x {size[1]} pixels; got {mask.shape}")
    names = sorted(labels, key=lambda name: labels[name])
    segments = np.stack([mask == labels[name] for name in names], axis=-1)[None]
    with quiet_libraries():  # they would write names of patients into the log
        written = DicomSegmentation(
            source_images=[_single_frame(source)],
            pixel_array=segments,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=[_segment(number, name) for number, name in enumerate(names, 1)],
            series_instance_uid=UID(),
            series_number=1,
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer="L-FUSION",
            manufacturer_model_name="lfusion",
            software_versions=__version__,
            device_serial_number="0",
            content_description="Segmentation reviewed by an annotator",
            series_description="L-FUSION segmentation",
            # An absent structure has only empty frames, and they are what says so.
            omit_empty_frames=False,
        )
    if frame is not None:
        for item in written.PerFrameFunctionalGroupsSequence:
            item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = frame + 1
    # As a reader will get it: highdicom's own object holds what pydicom cannot send.
    buffer = BytesIO()
    with quiet_libraries():
        written.save_as(buffer)
        buffer.seek(0)
        return dcmread(buffer)


def read_segmentation(
    file: Dataset, labels: Mapping[str, int], geometry: Geometry, size: tuple[int, int]
) -> LabelMap:
    """The mask of a DICOM SEG about one frame.

    Args:
        file: The segmentation.
        labels: Class number by name of the model.
        geometry: Place in space of the image's frame.
        size: (height, width) of the image.

    Returns:
        [height, width] class numbers on the pixels of the image. A segmentation without a place
        in space, as of an image without one, has them in the order of the image.

    Raises:
        LabelError: A segment is not of the model, or segments overlap, or it is about several
            frames, or does not say which segment a plane is.
        ImageError: It has another size than the image, or lies elsewhere in space.
    """
    names = {int(item.SegmentNumber): str(item.SegmentLabel) for item in file.SegmentSequence}
    unknown = sorted(set(names.values()) - set(labels))
    if unknown:
        raise LabelError(
            f"expected segments named {', '.join(labels)}; the segmentation has {unknown[0]!r}"
        )
    planes = np.atleast_3d(file.pixel_array) if file.NumberOfFrames == 1 else file.pixel_array
    planes = planes.reshape(-1, int(file.Rows), int(file.Columns))
    groups = file.get("PerFrameFunctionalGroupsSequence") or ()
    if len(groups) != len(planes):
        raise LabelError(
            f"expected a functional group for each of the {len(planes)} planes; the segmentation "
            f"has {len(groups)}"
        )
    mask = np.zeros(planes.shape[1:], np.uint8)
    seen: set[int] = set()
    for plane, group in zip(planes, groups, strict=True):
        number = _segment_number(group, *(file.get("SharedFunctionalGroupsSequence") or ()))
        if number in seen or (mask[plane > 0] > 0).any():
            raise LabelError("expected one plane for each segment without overlap; got more")
        if number not in names:
            raise LabelError(f"expected one of the segments {sorted(names)}; a plane is {number}")
        seen.add(number)
        mask[plane > 0] = labels[names[number]]
    place = _place(file, geometry)
    placed: LabelMap = place_mask(mask[None], place or Geometry.grid(), geometry, (1, *size))[0]
    return placed


def referenced_instance(file: Dataset) -> str:
    """The SOPInstanceUID of the image that a segmentation is about; "" when it does not say.

    Args:
        file: The segmentation.
    """
    for series in file.get("ReferencedSeriesSequence") or ():
        for instance in series.get("ReferencedInstanceSequence") or ():
            return str(instance.ReferencedSOPInstanceUID)
    return ""


def referenced_frame(file: Dataset) -> int | None:
    """The frame of a cine that a segmentation is about, from 0; None when it does not say.

    Args:
        file: The segmentation.
    """
    for plane in file.get("PerFrameFunctionalGroupsSequence") or ():
        for derived in plane.get("DerivationImageSequence") or ():
            for source in derived.get("SourceImageSequence") or ():
                if "ReferencedFrameNumber" in source:
                    return int(np.ravel(source.ReferencedFrameNumber)[0]) - 1
    return None


def _place(file: Dataset, image: Geometry) -> Geometry | None:
    """Place of the planes of a segmentation; None where it has none.

    Raises:
        LabelError: The planes lie in several places.
    """
    shared = tuple(file.get("SharedFunctionalGroupsSequence") or ())
    places = {
        (
            _values((group, *shared), "PixelMeasuresSequence", "PixelSpacing"),
            _values((group, *shared), "PlanePositionSequence", "ImagePositionPatient"),
            _values((group, *shared), "PlaneOrientationSequence", "ImageOrientationPatient"),
        )
        for group in file.PerFrameFunctionalGroupsSequence
    }
    if len(places) != 1:
        raise LabelError("expected all planes in one place, that of one frame; they lie apart")
    spacing, origin, cosines = places.pop()
    if not (len(spacing) == 2 and len(origin) == 3 and len(cosines) == 6):
        return None
    along, down = np.array(cosines[:3]), np.array(cosines[3:])
    axes = np.stack([along, down, np.cross(along, down)], axis=1)
    between = image.spacing[2] if len(image.spacing) == 3 else 1.0
    return Geometry(
        spacing=(spacing[1], spacing[0], between),
        origin=origin,
        direction=tuple(axes.ravel().tolist()),
        physical=True,
    )


def _values(groups: tuple[Dataset, ...], sequence: str, keyword: str) -> tuple[float, ...]:
    """Numbers of a functional group, by a plane's own groups or those that all planes share."""
    for group in groups:
        for item in group.get(sequence) or ():
            return tuple(map(float, item.get(keyword) or ()))
    return ()


def _segment_number(*groups: Dataset) -> int:
    """Which segment a plane is, by its own functional groups or those that all planes share."""
    for group in groups:
        for item in group.get("SegmentIdentificationSequence") or ():
            return int(item.ReferencedSegmentNumber)
    raise LabelError("expected each plane to name its segment; one names none")


def _single_frame(source: Dataset) -> Dataset:
    """The header in the form that highdicom takes for an image without a place in the patient."""
    header = Dataset()
    for element in source:
        if element.keyword not in ("FrameOfReferenceUID", "NumberOfFrames"):
            header.add(element)
    for keyword in _REQUIRED:
        if keyword not in header:
            setattr(header, keyword, "")
    header.file_meta = source.file_meta
    header.is_little_endian, header.is_implicit_VR = True, False
    return header


def _segment(number: int, name: str) -> SegmentDescription:
    # No public code is claimed for a name that a trainer chose; 99... is a private scheme.
    code = re.sub(r"[^A-Z0-9]", "", name.upper())[:16] or "SEGMENT"
    return SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=CodedConcept("123037004", "SCT", "Anatomical Structure"),
        segmented_property_type=CodedConcept(code, "99LFUSION", name[:64]),
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
    )
