"""One real server for all tests of its protocol, and the images that it serves."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import nibabel
import numpy as np
import pytest
from PIL import Image

from lfusion.cli.server_process import running_server

if TYPE_CHECKING:
    from tests.support.ultrasound_files import write_ultrasound
else:  # tests/ is no package when it runs
    from ultrasound_files import write_ultrasound

with warnings.catch_warnings():
    # MONAI Label and what it imports warn of their own future, not of ours.
    warnings.simplefilter("ignore")
    from monailabel.client import MONAILabelClient

    from monailabel_app.lib.served import ServedModel

ROTATED = 0.25 * np.array(
    [
        [np.cos(0.4), -np.sin(0.4), 0.0, 40.0],
        [np.sin(0.4), np.cos(0.4), 0.0, -60.0],
        [0.0, 0.0, 4.0, 20.0],
        [0.0, 0.0, 0.0, 4.0],
    ]
)
"""Affine of `rotated.nii.gz`: pixels of 0.25 mm, turned by 0.4 rad, moved."""


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        url: Its address.
        http: A client for it.
        studies: Its folder.
        model: What it serves, loaded in this process.
    """

    url: str
    http: httpx.Client
    studies: Path
    model: ServedModel

    def client(self, folder: Path) -> MONAILabelClient:
        """MONAI Label's own client; what it receives is put into the folder."""
        return MONAILabelClient(self.url, tmpdir=str(folder), client_id="annotator")


@pytest.fixture
def studies(heads: Path, tmp_path: Path) -> Path:
    """One of the drawn heads."""
    folder = tmp_path / "studies"
    folder.mkdir()
    shutil.copy(heads / "images" / "head00.png", folder)
    return folder


@pytest.fixture
def mask(heads: Path) -> Path:
    """A label of each of the drawn heads."""
    return heads / "masks" / "head00.png"


@pytest.fixture(scope="session")
def served(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """`lfusion serve` over the drawn heads and some images that make trouble."""
    studies = tmp_path_factory.mktemp("served") / "studies"
    shutil.copytree(heads / "images", studies)
    pixels = np.asarray(Image.open(studies / "head00.png"))
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(studies / "colour.png")
    Image.fromarray(np.zeros_like(pixels)).save(studies / "black.png")
    (studies / "notes.png").write_text("this is no picture")
    # NIfTI's first axis is x: columns.
    volume = nibabel.Nifti1Image(pixels.T[:, :, None], ROTATED)  # type: ignore[no-untyped-call]
    nibabel.save(volume, studies / "rotated.nii.gz")
    options = ["--checkpoint", str(tiny_checkpoint)]
    with (
        running_server(studies, studies.parent / "server.log", *options) as url,
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        yield Served(url, http, studies, ServedModel(tiny_checkpoint, studies / ".lfusion"))


@pytest.fixture(scope="session")
def clinic(
    heads: Path, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """`lfusion serve` over one head in each format that clients open, a cine, and one to label."""
    studies = tmp_path_factory.mktemp("clinic") / "studies"
    studies.mkdir()
    pictures = [np.asarray(Image.open(heads / "images" / f"head{n:02}.png")) for n in (1, 2, 3)]
    first = pictures[0]
    Image.fromarray(first).save(studies / "flat.png")
    Image.fromarray(pictures[1]).save(studies / "unlabelled.png")
    # NIfTI's first axis is x: columns.
    volume = nibabel.Nifti1Image(first.T[:, :, None], ROTATED)  # type: ignore[no-untyped-call]
    nibabel.save(volume, studies / "turned.nii.gz")
    write_ultrasound(studies / "still.dcm", first[None], (0.2, 0.1))
    colour = np.stack([first] * 3, axis=-1)
    write_ultrasound(studies / "colour.dcm", colour[None], (0.2, 0.1))
    write_ultrasound(studies / "cine.dcm", np.stack(pictures), (0.2, 0.1))
    options = ["--checkpoint", str(tiny_checkpoint)]
    with (
        running_server(studies, studies.parent / "server.log", *options) as url,
        httpx.Client(base_url=url, timeout=120) as http,
    ):
        yield Served(url, http, studies, ServedModel(tiny_checkpoint, studies / ".local"))
