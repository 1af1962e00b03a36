"""What a server says of itself: ours in full, a plain MONAI Label server as far as it can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from lfusion.protocol import INFO_KEY, MODEL_NAME, Capabilities
from napari_lfusion.core.case import BackendInfo
from napari_lfusion.core.errors import BadAnswerError

_PLAIN = (
    "no uncertainty maps, scores or abnormality: every image looks equally sure",
    "no leases: others may be working on the same image",
    "no queue, skip, flag or thumbnails: only the next sample",
    "no versions: the last label saved wins",
    "no correction by clicks and no alternatives",
)
"""What MONAI Label itself does not have."""


class _Model(BaseModel):
    """One infer model in `/info/`."""

    type: str = ""
    labels: dict[str, int] | list[str] | None = None


class _Info(BaseModel):
    """What MONAI Label's `/info/` holds; the other keys do not concern us."""

    models: dict[str, _Model]
    strategies: dict[str, Any] = {}
    trainers: dict[str, Any] = {}
    scoring: dict[str, Any] = {}
    labels: dict[str, int] | list[str] | None = None


@dataclass(frozen=True)
class ServerNames:
    """The names that a server gave to what we ask of it.

    Attributes:
        info: What the plugin shows.
        model: Infer model that segments.
        trainer: None when nothing can be trained.
        scoring: Scoring method, None when there is none.
    """

    info: BackendInfo
    model: str
    trainer: str | None
    scoring: str | None


def read_info(answer: Mapping[str, Any], url: str) -> ServerNames:
    """Read the answer of `GET /info/`.

    Args:
        answer: Its JSON.
        url: Of the server.

    Returns:
        The names.

    Raises:
        BadAnswerError: It is no MONAI Label server, or has nothing that segments.
    """
    try:
        info = _Info.model_validate(answer)
        ours = answer.get(INFO_KEY)
        capabilities = None if ours is None else Capabilities.model_validate(ours)
    except ValidationError as error:
        raise BadAnswerError(
            f"expected a MONAI Label server at {url}; its /info/ differs: "
            f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        ) from error
    model = _segmenter(info.models)
    if model is None:
        raise BadAnswerError(
            f"expected a model of type segmentation at {url}; it serves "
            f"{', '.join(info.models) or 'none'}; start it with one"
        )
    allowed = capabilities is None or capabilities.role == "admin"
    trainer = MODEL_NAME if MODEL_NAME in info.trainers else next(iter(info.trainers), None)
    shown = BackendInfo(
        name=url,
        labels=_labels(info.models[model].labels or info.labels or {}),
        strategies=tuple(info.strategies) if capabilities is None else capabilities.strategies,
        capabilities=capabilities,
        trainable=trainer is not None and allowed,
        missing=_missing(capabilities),
    )
    return ServerNames(shown, model, trainer, next(iter(info.scoring), None))


def _segmenter(models: Mapping[str, _Model]) -> str | None:
    """Ours where it is served, else the first that needs no clicks."""
    if MODEL_NAME in models:
        return MODEL_NAME
    return next((name for name, model in models.items() if model.type == "segmentation"), None)


def _labels(labels: Mapping[str, int] | list[str]) -> dict[str, int]:
    """Class number by name, in order and without the background; a list counts from 1."""
    if isinstance(labels, list):
        named = [name for name in labels if name != "background"]
        return {name: number for number, name in enumerate(named, start=1)}
    return dict(sorted(((k, v) for k, v in labels.items() if v > 0), key=lambda item: item[1]))


def _missing(capabilities: Capabilities | None) -> tuple[str, ...]:
    if capabilities is None:
        return _PLAIN
    lacking = {
        "no uncertainty maps": not capabilities.maps,
        "no leases: others may be working on the same image": not capabilities.leases,
        "no correction by clicks": capabilities.interactive is None,
        "no alternatives": capabilities.counterfactual is None,
        "no training for annotators": capabilities.role != "admin",
    }
    return tuple(sentence for sentence, lacks in lacking.items() if lacks)
