"""The backend over HTTP: `lfusion serve` with everything, a plain MONAI Label server with less."""

from __future__ import annotations

from napari_lfusion.core.http.account import Account
from napari_lfusion.core.http.backend import HttpBackend

__all__ = ["Account", "HttpBackend"]
