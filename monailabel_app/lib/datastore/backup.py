"""One archive of a studies folder, made while the server runs, and the way back.

The archive is a ZIP file. Its last member, `manifest.json`, has the SHA-256 and the size of every
other. The journal and the list of label versions are read while nobody may write; version files
never change, so that they are copied afterwards. Every label that was acknowledged before the
backup began is in it. The index is left out: it is rebuilt from the journal and the files.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from lfusion.errors import DatasetError
from monailabel_app.lib.datastore.folder import STATE_FOLDER, digest_of
from monailabel_app.lib.datastore.journal import (
    LabelEntry,
    RestoredEntry,
    line_of,
    read_entries,
)
from monailabel_app.lib.datastore.scan import LABELS_FOLDER, find_images
from monailabel_app.lib.index import exclusive

_MANIFEST = "manifest.json"
_FORMAT = 1
_JOURNAL = f"{STATE_FOLDER}/journal.jsonl"
_VERSIONS = f"{STATE_FOLDER}/versions"
_SINGLE = ("meta.csv", "datastore_v2.json")
_MODELS = "models"
_STATE_FILES = ("served.json", "structures.json", "start.safetensors", "training.json")
_MAX_MANIFEST_BYTES = 2**30
_CHUNK = 2**20


class ArchivedFile(BaseModel):
    """A member of the archive.

    Attributes:
        sha256: Of its content.
        size: Bytes.
    """

    sha256: str
    size: int


class Manifest(BaseModel):
    """The list of everything in an archive.

    Attributes:
        format: Of the archive.
        time: When it was made, seconds since 1970.
        images: Whether the images are in it.
        files: Path below the studies folder → file.
    """

    format: int = _FORMAT
    time: float
    images: bool
    files: dict[str, ArchivedFile]


def back_up(studies: Path, target: Path, *, images: bool, state: Path | None = None) -> Manifest:
    """Write a verified archive of a studies folder.

    Args:
        studies: The folder; its server may run.
        target: The archive; an older file of that name is replaced at the end.
        images: Whether to include the images.
        state: Folder of the retrained models, where it is not `.lfusion`.

    Returns:
        What is in it.

    Raises:
        DatasetError: It is no studies folder, or the archive differs from what was read.
        OSError: A file cannot be read or written.
    """
    root = studies.resolve()
    if not (root / STATE_FOLDER).is_dir():
        raise DatasetError(
            f"{studies} was never served: it has no folder {STATE_FOLDER}; copy the folder instead"
        )
    state = (state or root / STATE_FOLDER).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.zip")
    try:
        with zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            manifest = _write(archive, root, state, images=images)
        _verify(temporary, manifest)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return manifest


def restore(archive: Path, target: Path) -> Manifest:
    """Unpack an archive into a new folder; every file is checked against the manifest.

    Args:
        archive: As `back_up` wrote it.
        target: A folder that does not exist or is empty.

    Returns:
        What was in the archive.

    Raises:
        DatasetError: The folder is not empty, or the archive is damaged or no backup.
        OSError: A file cannot be written; nothing is left of it.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DatasetError(f"{target} is not an empty folder; restore into a new one")
    manifest = _manifest(archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.with_name(f".{uuid.uuid4().hex}.restore")
    needed = sum(file.size for file in manifest.files.values())
    if needed > shutil.disk_usage(target.parent).free:
        raise DatasetError(
            f"the backup holds {needed} bytes, more than the disk of {target} has free; make room "
            "or choose another disk"
        )
    try:
        with zipfile.ZipFile(archive) as opened:
            for name, file in manifest.files.items():
                path = folder.joinpath(*PurePosixPath(name).parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(name) as source, path.open("xb") as copy:
                    _check(name, file, _copied(source, copy, file.size))
                    copy.flush()
                    os.fsync(copy.fileno())
        journal = folder / _JOURNAL
        with journal.open("ab") as lines:
            lines.write(line_of(RestoredEntry(backup=archive.name, files=len(manifest.files))))
            lines.flush()
            os.fsync(lines.fileno())
        if target.exists():
            target.rmdir()
        folder.rename(target)
    except zipfile.BadZipFile as error:
        raise _damaged(archive) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return manifest


def _write(archive: zipfile.ZipFile, root: Path, state: Path, *, images: bool) -> Manifest:
    """Write all members."""
    manifest = Manifest(time=time.time(), images=images, files={})

    def put(name: str, source: IO[bytes]) -> None:
        info = zipfile.ZipInfo(name, time.localtime()[:6])
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as member:
            manifest.files[name] = _copied(source, member)

    with tempfile.TemporaryFile() as journal:
        with exclusive(root / STATE_FOLDER / "index.sqlite"):
            with (root / _JOURNAL).open("rb") as file:
                shutil.copyfileobj(file, journal)
            versions = list(_files(root / _VERSIONS))
        journal.seek(0)
        entries, _ = read_entries(journal.read())
        journal.seek(0)
        put(_JOURNAL, journal)
    known = {entry.sha256 for entry in entries if isinstance(entry, LabelEntry)}
    for path in _files(root / LABELS_FOLDER):
        # A file that was saved meanwhile is of the next backup; its version says so.
        with suppress(FileNotFoundError), path.open("rb") as file:
            if digest_of(path) in known or not _has_version(root, path, known):
                put(path.relative_to(root).as_posix(), file)
    for path in versions:
        with suppress(FileNotFoundError), path.open("rb") as file:
            put(path.relative_to(root).as_posix(), file)
    for name in _SINGLE:
        with suppress(FileNotFoundError), (root / name).open("rb") as file:
            put(name, file)
    if state.is_dir():
        with FileLock(state / "served.lock"):
            for path in [*(state / name for name in _STATE_FILES), *_files(state / _MODELS)]:
                with suppress(FileNotFoundError), path.open("rb") as file:
                    put(f"{STATE_FOLDER}/{path.relative_to(state).as_posix()}", file)
    for found in find_images(root) if images else ():
        with suppress(FileNotFoundError), (root / found.path).open("rb") as file:
            put(found.path, file)
    archive.writestr(_MANIFEST, manifest.model_dump_json())
    return manifest


def _has_version(root: Path, label: Path, known: set[str]) -> bool:
    """Whether a label file that the journal does not know is kept as a version by now."""
    digest = digest_of(label)
    tag = label.parent.name
    stem = label.name.partition(".")[0]
    folders = [
        folder
        for folder in (root / _VERSIONS / tag).glob("*")
        if label.name.startswith(folder.name) or folder.name == stem
    ]
    return any(digest_of(file) == digest for folder in folders for file in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    """Regular files in a folder and below it, without hidden ones and links."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path


def _copied(source: IO[bytes], target: IO[bytes], most: int | None = None) -> ArchivedFile:
    """Copy a file, at most one byte more than expected."""
    digest, size = sha256(), 0
    while chunk := source.read(_CHUNK):
        size += len(chunk)
        if most is not None and size > most:
            break
        digest.update(chunk)
        target.write(chunk)
    return ArchivedFile(sha256=digest.hexdigest(), size=size)


def _verify(archive: Path, manifest: Manifest) -> None:
    """Read an archive back."""
    with zipfile.ZipFile(archive) as opened, open(os.devnull, "wb") as nowhere:
        for name, file in manifest.files.items():
            with opened.open(name) as member:
                _check(name, file, _copied(member, nowhere, file.size))


def _check(name: str, expected: ArchivedFile, found: ArchivedFile) -> None:
    if expected != found:
        raise DatasetError(
            f"the file {name} in the backup differs from its manifest; use another backup"
        )


def _manifest(archive: Path) -> Manifest:
    """The manifest, when it names exactly the members and no path leads out of the folder."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
            info = opened.getinfo(_MANIFEST)
            if info.file_size > _MAX_MANIFEST_BYTES:
                raise _damaged(archive)
            manifest = Manifest.model_validate_json(opened.read(info))
    except (zipfile.BadZipFile, KeyError, ValidationError, json.JSONDecodeError) as error:
        raise _damaged(archive) from error
    if manifest.format != _FORMAT:
        raise DatasetError(
            f"the backup has format {manifest.format}, this program reads {_FORMAT}; update it"
        )
    if sorted(names) != sorted([*manifest.files, _MANIFEST]) or _JOURNAL not in manifest.files:
        raise _damaged(archive)
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or path.as_posix() != name:
            raise DatasetError(
                f"the backup names a path outside its folder, {name[:80]!r}; it is not restored"
            )
    return manifest


def _damaged(archive: Path) -> DatasetError:
    return DatasetError(f"{archive} is no whole backup of L-FUSION; use another one")
