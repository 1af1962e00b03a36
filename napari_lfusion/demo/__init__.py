"""A backend without a server: sample images with stored predictions of the shipped model."""

from __future__ import annotations

from napari_lfusion.demo.backend import DemoBackend

__all__ = ["DemoBackend"]
