"""The OHIF viewer that MONAI Label brings along: its files and nothing else of the server."""

from __future__ import annotations

from pathlib import Path

import monailabel
from fastapi import APIRouter
from fastapi.responses import FileResponse

from monailabel_app.lib.routes.common import AnyUser

router = APIRouter(include_in_schema=False)

_ROOT = (Path(monailabel.__file__).parent / "endpoints" / "static" / "ohif").resolve()


@router.get("/ohif/{path:path}")
def ohif(user: AnyUser, path: str) -> FileResponse:
    """A file of the viewer; its start page for its own addresses, such as `/ohif/viewer`."""
    file = (_ROOT / path).resolve() if "\0" not in path else _ROOT
    inside = file.is_relative_to(_ROOT) and file.is_file()
    return FileResponse(file if inside else _ROOT / "index.html")
