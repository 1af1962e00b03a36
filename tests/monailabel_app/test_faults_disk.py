"""A disk that is really full: nothing is torn, what was acknowledged stays, and room is enough."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from lfusion.cli.server_process import running_server
from lfusion.image import write_mask
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.errors import StorageError

PAGE = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a file system can only be mounted by an administrator of Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def masks(tmp_path: Path) -> list[Path]:
    """Three labels of one image, a few kilobytes each."""
    noise = np.random.default_rng(0).integers(0, 2, (3, 96, 128), np.uint8)
    files = [tmp_path / f"{number}.nrrd" for number in range(3)]
    for file, mask in zip(files, noise, strict=True):
        write_mask(file, mask)
    return files


@pytest.fixture
def studies(disk: Path, heads: Path) -> Path:
    """Two images on it."""
    folder = disk / "studies"
    folder.mkdir()
    for number in range(2):
        shutil.copy(heads / "images" / f"head{number:02}.png", folder)
    return folder


def opened(studies: Path) -> StudiesDatastore:
    return StudiesDatastore(str(studies), lambda: {"head": 1}, auto_reload=False, read_only=False)


def fill(disk: Path, spare: int) -> Path:
    """Leave so many bytes free."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - spare))
    return ballast


# From no room at all to room for one file but not its line in the journal, and so on.
@pytest.mark.parametrize("pages", range(12))
def test_a_label_that_does_not_fit_is_refused_and_the_one_before_stays(
    disk: Path, studies: Path, masks: list[Path], pages: int
) -> None:
    store = opened(studies)
    store.save_label("head00", str(masks[0]), "final", {})
    ballast = fill(disk, pages * PAGE)
    acknowledged = [masks[0]]

    def save_until_full() -> None:
        for number in range(1, 20):
            store.save_label("head00", str(masks[number % 3]), "final", {})
            acknowledged.append(masks[number % 3])

    with pytest.raises(StorageError, match="make room"):
        save_until_full()

    def check() -> None:
        digests = [one.sha256 for one in store.saver.versions("head00")]
        assert digests == [digest_of(mask) for mask in acknowledged]
        current = Path(store.get_label_uri("head00", "final"))
        assert current.read_bytes() == acknowledged[-1].read_bytes()
        assert not list((studies / ".lfusion" / "incoming").iterdir())

    check()
    ballast.unlink()
    store.save_label("head01", str(masks[1]), "final", {})
    store.close()
    store = opened(studies)
    check()
    assert store.get_labeled_images() == ["head00", "head01"]
    store.close()


def test_a_full_disk_is_not_taken_for_a_damaged_index(
    disk: Path, studies: Path, masks: list[Path]
) -> None:
    store = opened(studies)
    store.save_label("head00", str(masks[0]), "final", {})
    store.close()
    ballast = fill(disk, 0)
    with pytest.raises(StorageError, match="make room"):
        opened(studies)
    assert not list((studies / ".lfusion").glob("*damaged*"))
    ballast.unlink()
    store = opened(studies)
    assert store.get_labeled_images() == ["head00"]
    store.close()


def test_the_server_answers_507_and_takes_the_same_label_once_there_is_room(
    disk: Path, studies: Path, masks: list[Path], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    log = tmp_path / "server.log"
    with (
        running_server(studies, log, "--checkpoint", str(tiny_checkpoint)) as url,
        httpx.Client(base_url=url, timeout=120) as http,
    ):

        def save(mask: Path) -> httpx.Response:
            files = {"label": (mask.name, mask.read_bytes())}
            return http.put("/datastore/label", params={"image": "head00"}, files=files)

        assert save(masks[0]).status_code == 200
        ballast = fill(disk, 0)
        refused = save(masks[1])
        assert refused.status_code == 507
        assert "make room" in refused.text
        label = http.get("/datastore/label", params={"label": "head00", "tag": "final"})
        assert label.content == masks[0].read_bytes()
        assert http.get("/health").status_code == 200
        ballast.unlink()
        assert save(masks[1]).status_code == 200
        label = http.get("/datastore/label", params={"label": "head00", "tag": "final"})
        assert label.content == masks[1].read_bytes()
