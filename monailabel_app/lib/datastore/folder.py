"""Where things lie in a studies folder; every path is built here, and none leads out of it."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lfusion.image.formats import suffix_of
from monailabel_app.lib.datastore.scan import LABELS_FOLDER, FoundFile, found_file
from monailabel_app.lib.errors import InvalidNameError
from monailabel_app.lib.names import check_image_id, check_tag, is_tag

STATE_FOLDER = ".lfusion"
"""In the studies folder: hidden, so that no scan takes what is in it for an image."""

_LEFT_OVER_SECONDS = 3600.0


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
        for file in self._incoming.iterdir():
            # Another server of this folder moves its files while these are looked through.
            with suppress(FileNotFoundError):
                if time.time() - file.stat().st_mtime > _LEFT_OVER_SECONDS:
                    file.unlink()

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
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return StagedFile(path, suffix, digest.hexdigest())

    def put_map(self, source: Path, target: Path) -> None:
        """Put a copy of a file in the place of another; it need not survive a power cut."""
        self._inside(target).parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}{suffix_of(target)}")
        try:
            shutil.copyfile(source, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def keep(self, label: Path, version: Path) -> None:
        """Give a label a second name as a version, before another takes its place."""
        version.parent.mkdir(parents=True, exist_ok=True)
        if version.exists():
            return
        try:
            version.hardlink_to(label)
        except OSError:  # a file system without links
            shutil.copyfile(label, version)

    def _inside(self, path: Path) -> Path:
        """The path, when it is in the folder after all links are followed."""
        if not path.resolve().is_relative_to(self.root):
            raise InvalidNameError(
                f"expected a path inside the studies folder; {path.name[:80]!r} leads out of it"
            )
        return path


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
