"""Texts of errors for clients: never a path of the server."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from lfusion.errors import CheckpointError, ImageError, ImageWriteError, LFusionError
from monailabel_app.lib.errors import client_message


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of the server."""
    return tmp_path / "image.png"


def test_a_file_is_named_without_its_folder(file: Path) -> None:
    folder = str(file.parent)
    for error in (
        ImageError("the file is empty; export it again", file),
        ImageError(f"cannot read {file}: it is empty"),
        ImageWriteError("No space left on device", file),
        CheckpointError(f"expected a checkpoint, found none at {file}"),
        LFusionError(f"[Errno 28] No space left on device: '{file}'"),
        OSError(errno.ENOSPC, "No space left on device", str(file)),
    ):
        message = client_message(error)
        assert folder not in message
        assert "/" not in message
    assert client_message(ImageError("it is empty", file)) == "it is empty"


@pytest.mark.parametrize(
    "text",
    [
        "score the pool with POST /scoring/epistemic, which predicts each image",
        "use /infer/lfusion",
        "expected a DICOMweb store at https://host/tmp/x",
        "expected images/ID.* and masks/ID.*",
    ],
)
def test_routes_and_addresses_stay(text: str) -> None:
    assert client_message(LFusionError(text)) == text
