"""A prediction that cannot be written or stored leaves no file behind."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lfusion.image.metadata import MetaRow
from monailabel_app.lib.infer import UncertaintyInfer, answer
from monailabel_app.lib.served import ServedModel


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where answers are written."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def model(tiny_checkpoint: Path, tmp_path: Path) -> UncertaintyInfer:
    """Keeps no maps."""
    return UncertaintyInfer(ServedModel(tiny_checkpoint, tmp_path / "state"), None)


def fails(*_: object, **__: object) -> None:
    raise OSError("No space left on device")


def test_when_it_cannot_be_written(
    model: UncertaintyInfer, heads: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer, "write_mask", fails)
    with pytest.raises(OSError, match="No space"):
        model({"image": str(heads / "images" / "head00.png")})
    assert not list(temporary.iterdir())


def test_when_it_cannot_be_stored(model: UncertaintyInfer, heads: Path, temporary: Path) -> None:
    from monailabel_app.main import LFusionApp

    image = str(heads / "images" / "head00.png")
    store = SimpleNamespace(
        get_image_uri=lambda _: image, image_metadata=lambda _: MetaRow(), save_label=fails
    )
    app = SimpleNamespace(_infers={"lfusion": model})
    request = {"model": "lfusion", "image": "head00", "save_label": True}
    with pytest.raises(OSError, match="No space"):
        LFusionApp.infer(cast(Any, app), request, cast(Any, store))
    assert not list(temporary.iterdir())
