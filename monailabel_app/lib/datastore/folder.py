"""Where things lie in a studies folder; every path is built here, and none leads out of it."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lfusion.image.formats import suffix_of
from lfusion.image.write import sync_folder
from monailabel_app.lib.datastore.scan import LABELS_FOLDER, FoundFile, found_file
from monailabel_app.lib.errors import InvalidNameError
from monailabel_app.lib.names import check_image_id, check_tag, is_tag

STATE_FOLDER = ".lfusion"
"""In the studies folder: hidden, so that no scan takes what is in it for an image."""

_LEFT_OVER_SECONDS = 3600.0
"""A file that is being received gets its name within minutes."""

_LAST_LINES_BYTES = 2**20
_LEFT_OVER_FOLDER_SECONDS = 24 * 3600.0
_DAMAGED_SECONDS = 14 * 24 * 3600.0
"""The newest damaged index is kept for so long, to look at."""

_HIDDEN_TEMPORARY = re.compile(r"\.[0-9a-f]{32}(\.[A-Za-z.]*)?")
_TEMPORARY_FOLDERS = ("lfusion-upload-*", "lfusion-dicomweb-*")
_NUMBERED = re.compile(r"([1-9][0-9]{0,8})(?:-[0-9a-f]{12})?(\..*)?")


@dataclass(frozen=True)
class StagedFile:
    """A file that was received, on disk but not yet in its place.

    Attributes:
        path: Where it is for now.
        suffix: In lower case.
        sha256: Of its content, hexadecimal.
    """

    path: Path
    suffix: str
    sha256: str


class StudiesFolder:
    """The layout of one studies folder.

    Args:
        root: The folder; it and the folders of its labels are made when missing.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root.resolve()
        self.state = self.root / STATE_FOLDER
        self._incoming = self.state / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for tag in ("final", "original"):
            self._inside(self.root / LABELS_FOLDER / tag).mkdir(parents=True, exist_ok=True)
        # A save that died may not have given its file a name yet; its line is the last one.
        pending = self._journal_end()
        left = (file for file in self._incoming.iterdir() if file.name.encode() not in pending)
        _remove_older(left, _LEFT_OVER_SECONDS)

    def _journal_end(self) -> bytes:
        """The last lines of the journal."""
        with suppress(FileNotFoundError), (self.state / "journal.jsonl").open("rb") as journal:
            journal.seek(max(0, journal.seek(0, os.SEEK_END) - _LAST_LINES_BYTES))
            return journal.read()
        return b""

    def clean(self) -> None:
        """Remove by age what processes that died have left: temporary files, damaged indexes."""
        places = [self.root, *(self.labels(tag) for tag in self.tags())]
        hidden = (
            file
            for place in places
            for file in place.glob(".*")
            if _HIDDEN_TEMPORARY.fullmatch(file.name)
        )
        _remove_older(hidden, _LEFT_OVER_SECONDS)
        damaged = sorted(self.state.glob("index.sqlite.damaged-*"), key=_damaged_at)
        _remove_older(damaged[-1:], _DAMAGED_SECONDS)
        _remove_older(damaged[:-1], 0)
        temporary = Path(tempfile.gettempdir())
        for pattern in _TEMPORARY_FOLDERS:
            _remove_older(temporary.glob(pattern), _LEFT_OVER_FOLDER_SECONDS)

    def image(self, path: str) -> Path:
        """The file of an image.

        Args:
            path: As the index has it.

        Raises:
            InvalidNameError: It leads out of the folder, by now.
        """
        return self._inside(self.root / path)

    def labels(self, tag: str) -> Path:
        """The folder of the labels of one tag."""
        return self._inside(self.root / LABELS_FOLDER / check_tag(tag))

    def tags(self) -> list[str]:
        """The tags that have a folder."""
        folders = (self.root / LABELS_FOLDER).iterdir()
        return sorted(folder.name for folder in folders if _is_tag_folder(folder))

    def label(self, tag: str, name: str) -> Path:
        """The file of a label, under the name that the index has."""
        if Path(name).name != name:
            raise InvalidNameError(f"expected the name of a label file; got {name[:80]!r}")
        return self._inside(self.labels(tag) / name)

    def found_label(self, tag: str, name: str) -> FoundFile | None:
        """A label file, if it is there and inside the folder."""
        return found_file(self.root, self.labels(tag) / name, name)

    def versions(self, image_id: str) -> list[Path]:
        """The folders that hold versions of the labels of an image."""
        folders = (self.state / "versions").glob("*")
        return [folder / check_image_id(image_id) for folder in folders]

    def version(self, image_id: str, tag: str, version: int, suffix: str) -> Path:
        """The file that keeps one version of a label."""
        folder = self.state / "versions" / check_tag(tag) / check_image_id(image_id)
        return folder / f"{version}{suffix}"

    def stage(self, source: Path) -> StagedFile:
        """Copy a file into the studies folder, so that one rename puts it in its place.

        Args:
            source: Any file.

        Returns:
            The copy; it is on disk.

        Raises:
            OSError: It cannot be written; nothing is left of it.
        """
        suffix = suffix_of(source)
        path = self._incoming / f"{uuid.uuid4().hex}{suffix}"
        digest = sha256()
        try:
            with source.open("rb") as original, path.open("xb") as copy:
                while chunk := original.read(1 << 20):
                    digest.update(chunk)
                    copy.write(chunk)
                copy.flush()
                os.fsync(copy.fileno())
            sync_folder(self._incoming)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return StagedFile(path, suffix, digest.hexdigest())

    def staged(self, name: str) -> Path:
        """A file in `incoming`, under the name that the journal has."""
        return self._incoming / Path(name).name

    def put_map(self, source: Path, target: Path) -> None:
        """Put a copy of a file in the place of another; it need not survive a power cut."""
        self._inside(target).parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}{suffix_of(target)}")
        try:
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def numbered(self, image_id: str, tag: str) -> dict[Path, int]:
        """The files that hold versions of a label, each with the number in its name."""
        folder = self.version(image_id, tag, 1, "").parent
        found: dict[Path, int] = {}
        with suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                match = _NUMBERED.fullmatch(entry.name)
                if match is not None and entry.is_file(follow_symlinks=False):
                    found[folder / entry.name] = int(match[1])
        return found

    def versioned(self) -> Iterator[tuple[str, str]]:
        """Image id and tag of each folder of versions."""
        for tag in sorted((self.state / "versions").glob("*")):
            if is_tag(tag.name) and tag.is_dir() and not tag.is_symlink():
                for folder in sorted(tag.iterdir()):
                    with suppress(InvalidNameError):
                        yield check_image_id(folder.name), tag.name

    def put_version(
        self, source: Path, digest: str, image_id: str, tag: str, version: int, suffix: str
    ) -> Path | None:
        """Copy a file to where a version lies; a file that is there is never replaced.

        Args:
            source: The label.
            digest: Its SHA-256.
            image_id: Of the image.
            tag: Of the label.
            version: Its number.
            suffix: Its suffix.

        Returns:
            The new file, or None when the version was there. Where another content has its name,
            the new name has a part of the digest in it.

        Raises:
            OSError: It cannot be written, or the content is no longer that of the digest.
        """
        target = self.version_target(digest, image_id, tag, version, suffix)
        if target is None:
            return None
        staged = self.stage(source)
        try:
            if staged.sha256 != digest:
                raise OSError(f"the label {source.name!r} changed while it was saved")
            staged.path.replace(target)
        finally:
            staged.path.unlink(missing_ok=True)
        return target

    def version_target(
        self, digest: str, image_id: str, tag: str, version: int, suffix: str
    ) -> Path | None:
        """The free name for a version; None when a file of this content has it."""
        usual = self.version(image_id, tag, version, suffix)
        usual.parent.mkdir(parents=True, exist_ok=True)
        for target in (usual, usual.with_name(f"{version}-{digest[:12]}{suffix}")):
            if not target.exists():
                return target
            if digest_of(target) == digest:
                return None
        raise OSError(f"the version {version} of label {tag} has no free name")

    def _inside(self, path: Path) -> Path:
        """The path, when it is in the folder after all links are followed."""
        if not path.resolve().is_relative_to(self.root):
            raise InvalidNameError(
                f"expected a path inside the studies folder; {path.name[:80]!r} leads out of it"
            )
        return path


def _remove_older(paths: Iterable[Path], seconds: float) -> None:
    """Remove files and folders of ours that nobody has changed for so long."""
    for path in paths:
        # Another server of this folder moves its files while these are looked through.
        with suppress(FileNotFoundError, PermissionError):
            status = path.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime <= seconds:
                continue
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


def _damaged_at(index: Path) -> int:
    """When a damaged index was put aside, in nanoseconds, by its name."""
    text = index.name.rpartition("-")[2]
    return int(text) if text.isdigit() else 0


def digest_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = sha256()
    with file.open("rb") as content:
        while chunk := content.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _is_tag_folder(folder: Path) -> bool:
    """Whether a folder can be that of a tag."""
    return is_tag(folder.name) and folder.is_dir() and not folder.is_symlink()
