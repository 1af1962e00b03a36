"""Files in answers, read as arrays by `lfusion.image`."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lfusion.errors import ImageError
from lfusion.image import Geometry, UltrasoundImage, read_image, read_mask_frames
from lfusion.image.decode import open_image
from lfusion.image.formats import VOLUME_SUFFIXES, suffix_of
from lfusion.image.read import read_frame_count, read_map
from lfusion.types import FloatMap, LabelMap
from napari_lfusion.core.errors import BadAnswerError


@dataclass(frozen=True)
class Received:
    """A file as it came.

    Attributes:
        name: As the server names it; its suffix says the format.
        content: Its bytes.
    """

    name: str
    content: bytes


def received_file(reply: httpx.Response) -> Received:
    """The file that is the whole answer.

    Raises:
        BadAnswerError: It has no name, so that its format is not known.
    """
    head = Message()
    head["content-disposition"] = reply.headers.get("content-disposition", "")
    return Received(_name(head), reply.content)


def received_parts(reply: httpx.Response) -> tuple[bytes, Received]:
    """The two parts of an inference: `params` as JSON, and the file `image`.

    Raises:
        BadAnswerError: One of them is missing.
    """
    head = f"content-type: {reply.headers.get('content-type', '')}\r\n\r\n".encode()
    parts = {
        part.get_param("name", header="content-disposition"): part
        for part in BytesParser().parsebytes(head + reply.content).walk()
    }
    if "params" not in parts or "image" not in parts:
        raise BadAnswerError(
            "expected an inference of two parts, params and image; got "
            f"{reply.headers.get('content-type', 'nothing')}"
        )
    image = parts["image"]
    return _payload(parts["params"]), Received(_name(image), _payload(image))


def decode_image(file: Received) -> tuple[UltrasoundImage, int | None]:
    """Read an image; of a cine the frame that it was scored by.

    Returns:
        The image, and the number of the frame in its cine; None for a still.

    Raises:
        BadAnswerError: It is none that we read; the message says what is wrong with it.
    """
    with _on_disk(file) as path:
        frames = read_frame_count(path)
        frame = frames // 2 if frames > 1 else None
        return read_image(path, frame), frame


def decode_mask(file: Received) -> tuple[LabelMap, Geometry | None]:
    """Read a mask of class numbers, and where it lies when the format says so.

    Of the label of a cine with a slice for each frame, that of the frame which is shown.

    Raises:
        BadAnswerError: As `decode_image`.
    """
    with _on_disk(file) as path:
        masks = read_mask_frames(path)
        mask = masks[len(masks) // 2]
        if suffix_of(path) not in VOLUME_SUFFIXES:
            return mask, None
        with open_image(path) as parsed:
            return mask, parsed.geometry


def decode_map(file: Received) -> tuple[FloatMap, Geometry]:
    """Read a map of finite numbers, and where it lies.

    Raises:
        BadAnswerError: As `decode_image`; also when it holds NaN or infinity.
    """
    with _on_disk(file) as path:
        return read_map(path)


def decode_thumbnail(content: bytes) -> NDArray[np.uint8]:
    """Read a small grey picture.

    Raises:
        BadAnswerError: It is none.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return np.array(picture.convert("L"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadAnswerError(f"expected a small picture; {error}") from error


@contextmanager
def _on_disk(file: Received) -> Iterator[Path]:
    """The file under a name of our own; the server's name only gives the suffix."""
    suffix = suffix_of(Path(file.name))
    with tempfile.TemporaryDirectory(prefix="lfusion-") as folder:
        path = Path(folder) / f"received{suffix}"
        path.write_bytes(file.content)
        try:
            yield path
        except ImageError as error:
            reason = str(error).replace(str(path), file.name)
            raise BadAnswerError(f"{reason} (sent by the server)") from error


def _name(head: Message) -> str:
    name = head.get_filename()
    if not name:
        raise BadAnswerError("expected a file with a name, which says its format; got none")
    return PurePosixPath(name).name


def _payload(part: Message) -> bytes:
    content = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""
