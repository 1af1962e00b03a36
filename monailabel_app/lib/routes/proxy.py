"""What OHIF reads of the DICOMweb server behind this one, read-only.

MONAI Label passes on every path and method, so that a client reaches all of that server with this
server's rights; here only the DICOMweb resources below `studies` can be read.
"""

from __future__ import annotations

import re
from typing import Annotated

import requests
from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from monailabel.config import settings

from monailabel_app.lib.errors import RequestError, UnknownNameError
from monailabel_app.lib.routes.common import AnyUser

router = APIRouter(include_in_schema=False)

_RESOURCE = re.compile(r"(studies|series|instances)(/[A-Za-z0-9][A-Za-z0-9.,_-]*)*/?")
_PREFIXES = {
    "wado": settings.MONAI_LABEL_WADO_PREFIX,
    "qido": settings.MONAI_LABEL_QIDO_PREFIX,
}


@router.get("/proxy/dicom/{service}/{path:path}")
def read_dicomweb(
    user: AnyUser,
    request: Request,
    service: str,
    path: str,
    accept: Annotated[str | None, Header()] = None,
) -> Response:
    """One answer of the DICOMweb server."""
    root = settings.MONAI_LABEL_STUDIES.rstrip("/")
    if service not in _PREFIXES or not root.startswith(("http://", "https://")):
        raise UnknownNameError("this server has no DICOMweb service of this name")
    if not _RESOURCE.fullmatch(path):
        raise RequestError(f"expected a DICOMweb resource such as studies/UID; got {path[:80]!r}")
    name = settings.MONAI_LABEL_DICOMWEB_USERNAME or settings.MONAI_LABEL_DATASTORE_USERNAME
    word = settings.MONAI_LABEL_DICOMWEB_PASSWORD or settings.MONAI_LABEL_DATASTORE_PASSWORD
    # OHIF asks for metadata under either service.
    prefix = _PREFIXES["wado" if path.endswith("metadata") else service]
    try:
        answer = requests.get(
            "/".join(part for part in (root, prefix, path) if part),
            params=request.query_params.multi_items(),
            headers={"accept": accept} if accept else {},
            auth=(name, word) if name and word else None,
            timeout=settings.MONAI_LABEL_DICOMWEB_PROXY_TIMEOUT,
        )
    except requests.RequestException as error:
        raise RequestError("the DICOMweb server behind this one does not answer") from error
    kind = answer.headers.get("content-type", "application/octet-stream")
    return Response(answer.content, answer.status_code, media_type=kind)
