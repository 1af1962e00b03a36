"""The DICOMweb store as we use it: series of ultrasound, their instances, segmentations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dicomweb_client.session_utils import create_session_from_user_pass
from monailabel.config import settings
from monailabel.datastore.dicom import DICOMwebClientX
from pydicom.dataset import Dataset

from lfusion.errors import LFusionError

_FILTER = "MONAI_LABEL_DICOMWEB_SEARCH_FILTER"


class DicomWebError(LFusionError):
    """The DICOMweb store did not take what it was sent."""


@dataclass(frozen=True)
class Series:
    """One series of the store.

    Attributes:
        study: StudyInstanceUID.
        uid: SeriesInstanceUID.
        instances: How many the store says it has.
    """

    study: str
    uid: str
    instances: int


def search_filter() -> dict[str, Any]:
    """Which series are images: MONAI Label's setting, by default ultrasound and not CT."""
    return (
        dict(settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER)
        if _FILTER in os.environ
        else {"Modality": "US"}
    )


class DicomWebStore:
    """A client of one store, with MONAI Label's settings for user, password and prefixes.

    Args:
        url: Root of its DICOMweb services.
    """

    def __init__(self, url: str) -> None:
        user, password = (
            settings.MONAI_LABEL_DICOMWEB_USERNAME,
            settings.MONAI_LABEL_DICOMWEB_PASSWORD,
        )
        self.url = url
        self._client = DICOMwebClientX(
            url=url,
            session=create_session_from_user_pass(user, password) if user and password else None,
            qido_url_prefix=settings.MONAI_LABEL_QIDO_PREFIX,
            wado_url_prefix=settings.MONAI_LABEL_WADO_PREFIX,
            stow_url_prefix=settings.MONAI_LABEL_STOW_PREFIX,
        )

    def series(self, filters: Mapping[str, Any]) -> Iterator[Series]:
        """The series that match.

        Args:
            filters: Attributes by keyword.

        Raises:
            OSError: The store does not answer, or answers with an error.
        """
        found = self._client.search_for_series(
            fields=["NumberOfSeriesRelatedInstances"],
            search_filters=dict(filters),
            get_remaining=True,
        )
        for entry in map(Dataset.from_json, found):
            count = entry.get("NumberOfSeriesRelatedInstances")
            yield Series(str(entry.StudyInstanceUID), str(entry.SeriesInstanceUID), int(count or 0))

    def instances(self, series: Series) -> list[str]:
        """The SOPInstanceUIDs of a series, sorted.

        Args:
            series: Of this store.
        """
        found = self._client.search_for_instances(series.study, series.uid, get_remaining=True)
        return sorted(str(Dataset.from_json(entry).SOPInstanceUID) for entry in found)

    def instance(self, series: Series, uid: str) -> Dataset:
        """One instance with its pixels.

        Args:
            series: It belongs to.
            uid: Its SOPInstanceUID.
        """
        found: Dataset = self._client.retrieve_instance(series.study, series.uid, uid)
        return found

    def put(self, instance: Dataset) -> None:
        """Store one instance.

        Args:
            instance: A complete data set.

        Raises:
            OSError: The store does not answer, or answers with an error.
            DicomWebError: It took the request and refused the instance.
        """
        answer = self._client.store_instances([instance])
        refused = answer.get("FailedSOPSequence")
        if refused:
            reason = refused[0].get("FailureReason")
            raise DicomWebError(
                f"expected the DICOMweb store to take {instance.SOPInstanceUID}, it refused with "
                f"failure reason {reason}; see its log"
            )
