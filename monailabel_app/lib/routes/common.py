"""What routes share: who may call, `params`, files sent along, names that must exist."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Depends, Form, UploadFile
from fastapi.responses import FileResponse
from monailabel.config import settings
from monailabel.endpoints.user.auth import DEFAULT_USER, RBAC, User
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.others.generic import get_mime_type
from pydantic import AfterValidator

from lfusion.image.decode import is_image_file, open_image
from lfusion.image.formats import IMAGE_SUFFIXES, stem_of, suffix_of
from monailabel_app.lib.capacity import decoding_slots
from monailabel_app.lib.errors import RequestError, UnknownNameError

AnyUser = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
Annotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]
Admin = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))]
Params = Annotated[str, Form()]


def author_of(user: User) -> str | None:
    """The name of the signed-in user, or None on a server without tokens."""
    return None if user == DEFAULT_USER else str(user.username)


def storable(value: Any) -> Any:
    """Refuse what Python takes for JSON and others do not: NaN, infinities, half characters.

    Args:
        value: What `json.loads` returned.

    Returns:
        The same.

    Raises:
        ValueError: It holds such a value.
    """
    json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    return value


JsonParams = Annotated[dict[str, Any] | None, Body(), AfterValidator(storable)]


def known(kind: str, name: str) -> None:
    """Refuse the name of a strategy, scoring method or trainer that does not exist.

    Args:
        kind: `strategies`, `scoring` or `trainers`.
        name: As the client sent it.

    Raises:
        UnknownNameError: There is none; the message lists those there are.
    """
    names = app_instance().fixed_info()[kind]
    if name not in names:
        raise UnknownNameError(f"expected one of {', '.join(names)}; got {name[:80]!r}")


def json_object(text: str, field: str = "params") -> dict[str, Any]:
    """A form field that holds a JSON object.

    Args:
        text: JSON, or nothing.
        field: Its name.

    Returns:
        The object.

    Raises:
        RequestError: It is no JSON object, or holds what cannot be kept as JSON.
    """
    try:
        value = storable(json.loads(text or "{}"))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"expected {field} as a JSON object; {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"expected {field} as a JSON object; got {text[:80]!r}")
    return value


def for_client(info: Mapping[str, Any], user: User) -> dict[str, Any]:
    """What a client may know of an image: its path only for a program of this machine.

    3D Slicer opens the path if it exists where Slicer runs, and asks for the file otherwise.

    Args:
        info: As the datastore gives it.
        user: Who asks.
    """
    return {key: value for key, value in info.items() if key != "path" or user == DEFAULT_USER}


def file_answer(path: str) -> FileResponse:
    """A file of the studies as an answer.

    Args:
        path: Inside the studies.

    Returns:
        The file under its own name.

    Raises:
        UnknownNameError: It was removed from the folder.
    """
    if not Path(path).is_file():
        raise UnknownNameError(f"the file {Path(path).name!r} is no longer in the studies")
    return FileResponse(path, media_type=get_mime_type(path), filename=Path(path).name)


def split_name(filename: str | None) -> tuple[str, str]:
    """Stem and suffix of an upload.

    Args:
        filename: As the client sent it.

    Returns:
        The stem, and the suffix of a known format in lower case; empty for a DICOM file of any
        name.
    """
    path = Path(filename or "")
    return stem_of(path), suffix_of(path)


@contextmanager
def received(upload: UploadFile) -> Iterator[Path]:
    """The upload as a file that can be decoded, for as long as the block runs.

    Args:
        upload: What the client sent.

    Yields:
        The file, under a name of ours with the client's suffix.

    Raises:
        RequestError: Files of this name and content cannot be read.
        TooLargeError: Decoding it would exceed the limits.
        ImageError: The header is damaged, or the pixels lie in another file.
    """
    with decoding_slots, received_as(upload, split_name(upload.filename)[1]) as file:
        if not suffix_of(file) and not is_image_file(file):
            raise RequestError(
                f"expected a DICOM file, or a file named with one of {', '.join(IMAGE_SUFFIXES)}; "
                f"got {Path(upload.filename or '').name[:80]!r}"
            )
        with open_image(file):
            pass  # header and limits only; each reader decodes what it needs
        yield file


@contextmanager
def received_as(upload: UploadFile, suffix: str) -> Iterator[Path]:
    """The upload as a file of any kind, for as long as the block runs.

    Args:
        upload: What the client sent.
        suffix: Of the file's name.

    Yields:
        The file, under a name of ours.
    """
    with tempfile.TemporaryDirectory(prefix="lfusion-upload-") as folder:
        file = Path(folder) / f"upload{suffix}"
        with file.open("wb") as target:
            shutil.copyfileobj(upload.file, target)
        yield file
