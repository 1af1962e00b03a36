"""One inference over HTTP: a mask, its scalars and its maps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import ValidationError

from lfusion.image import Geometry
from lfusion.protocol import InferResult
from lfusion.types import FloatMap
from napari_lfusion.core.case import Proposal
from napari_lfusion.core.errors import BadAnswerError
from napari_lfusion.core.http.files import decode_map, decode_mask, received_file, received_parts
from napari_lfusion.core.http.transport import Transport
from napari_lfusion.core.place import coincide

_RESULT = {"result_extension": ".nrrd", "result_dtype": "uint8"}
"""As 3D Slicer asks: lossless, with the place in space, from our server and from any other."""


def infer(
    transport: Transport,
    model: str,
    image_id: str,
    params: Mapping[str, Any],
    scalars: type[InferResult] = InferResult,
) -> Proposal:
    """Have an image predicted, and fetch the maps that this stored.

    Args:
        transport: To the server.
        model: Infer model.
        image_id: Of the image.
        params: Of the model: clicks, or which alternative.
        scalars: What its scalars are.

    Returns:
        The proposal; with maps and scalars when the model is one of ours.

    Raises:
        BackendError: See `Transport.ask`.
    """
    reply = transport.ask(
        "POST",
        f"/infer/{model}",
        params={"image": image_id},
        data={"params": json.dumps({**params, **_RESULT})},
        model=True,
        again=True,
    )
    content, file = received_parts(reply)
    mask, geometry = decode_mask(file)
    try:
        result = scalars.model_validate_json(content)
    except ValidationError:  # another model's scalars, which have no schema
        return Proposal(image_id, mask, geometry=geometry)
    return Proposal(image_id, mask, _maps(transport, image_id, result, geometry), result, geometry)


def stored_file(transport: Transport, image_id: str, tag: str) -> httpx.Response:
    """The file that the datastore keeps under a tag: a label on the pixels of its image, or a map.

    Raises:
        UnknownIdError: There is none.
        BackendError: See `Transport.ask`.
    """
    query = {"label": image_id, "tag": tag, "on_image": "true"}
    return transport.ask("GET", "/datastore/label", params=query)


def _maps(
    transport: Transport, image_id: str, result: InferResult, geometry: Geometry | None
) -> dict[str, FloatMap]:
    maps = {}
    for name, tag in result.maps.items():
        maps[name], place = decode_map(received_file(stored_file(transport, image_id, tag)))
        if geometry is not None and not coincide(place, geometry):
            raise BadAnswerError(f"the {name} map of {image_id!r} does not lie on its mask")
    return maps
