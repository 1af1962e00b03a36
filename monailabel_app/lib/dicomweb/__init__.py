"""Ultrasound in a DICOMweb store: images come from it, final labels go back as DICOM SEG."""

from __future__ import annotations

from monailabel_app.lib.dicomweb.mirror import DicomWebMirror, is_remote, mirror_folder
from monailabel_app.lib.dicomweb.remote import DicomWebStore

__all__ = ["DicomWebMirror", "DicomWebStore", "is_remote", "mirror_folder"]
