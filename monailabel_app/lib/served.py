"""The checkpoint that the server serves, how a new one takes its place, and the way back."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, Field, ValidationError

from lfusion import predictor
from lfusion.checkpoint import Checkpoint, with_structures
from lfusion.errors import CheckpointError
from lfusion.image.write import atomic_path
from lfusion.predictor import Predictor
from monailabel_app.lib.errors import ConflictError
from monailabel_app.lib.structures import numbered

logger = logging.getLogger(__name__)

Stamp = tuple[str, int, int, int]


class _Pointer(BaseModel):
    """Which files are in use: the previous and the served one, None for the base checkpoint."""

    files: list[str | None] = Field(default=[None], min_length=1, max_length=2)


class ServedModel:
    """One predictor for all requests; follows the choice, whichever process made it.

    The base checkpoint is only read. Others lie in the state folder under their
    ids and are never changed; a small file says which one is served and which
    one was before. Replacing that file is the one step that swaps models, so a
    process that dies at any moment leaves a complete model served.

    Args:
        base: The checkpoint to serve while nothing else was published.
        state: Folder of the studies' owner for what training produces.
    """

    def __init__(self, base: Path, state: Path) -> None:
        self.base = base
        self._models = state / "models"
        self._pointer_file = state / "served.json"
        self._models.mkdir(parents=True, exist_ok=True)
        self._change = FileLock(state / "served.lock")
        self._lock = threading.Lock()
        self._loaded: tuple[Stamp, Predictor] | None = None

    @property
    def path(self) -> Path:
        """The checkpoint file that is served now.

        Raises:
            CheckpointError: What says so is damaged.
        """
        return self._file(self._pointer().files[-1])

    @property
    def checkpoint_id(self) -> str:
        """Id of the checkpoint that is served now, without loading one that was just swapped in.

        Raises:
            CheckpointError: The file is no checkpoint this code can use.
        """
        name = self._pointer().files[-1]
        return self.predictor().checkpoint_id if name is None else Path(name).stem

    def predictor(self) -> Predictor:
        """The predictor of the served checkpoint, reloaded when another one is served.

        Returns:
            A predictor that several threads may call; one that was handed out
            before a change goes on working.

        Raises:
            CheckpointError: The file is no checkpoint this code can use.
        """
        with self._lock:
            path = self.path
            stamp = _stamp(path)
            if self._loaded is None or self._loaded[0] != stamp:
                logger.info("loading checkpoint %s", path.name)
                self._loaded = (stamp, predictor.load(path))
            return self._loaded[1]

    def is_loaded(self) -> bool:
        """Whether `predictor` answers at once; never waits itself.

        Raises:
            CheckpointError: What says which checkpoint is served is damaged.
        """
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._loaded is not None and self._loaded[0] == _stamp(self.path)
        finally:
            self._lock.release()

    def learned_until(self) -> float:
        """Up to when labels of the studies may be in the served checkpoint, seconds since 1970.

        The one that was there at first knows none of them.

        Raises:
            CheckpointError: The file is no checkpoint this code can use.
        """
        name = self._pointer().files[-1]
        return 0.0 if name is None else self._file(name).stat().st_mtime

    def labels(self) -> Mapping[str, int]:
        """Class number by name of the served checkpoint."""
        return self.predictor().labels

    def unlearned(self) -> tuple[str, ...]:
        """Structures of the served checkpoint that no label has shown it yet."""
        return self.predictor().checkpoint.unlearned

    def take_on(self, names: Sequence[str]) -> None:
        """Serve the same model for these structures, if it was published for others.

        What it learned stays, and so does the time when it did. The way back leads to the first
        checkpoint, which has these structures too.

        Args:
            names: In the order of their class numbers; none to leave it as it is.

        Raises:
            CheckpointError: The served checkpoint cannot be used.
        """
        with self._changing() as pointer:
            name = pointer.files[-1]
            if not names or name is None:
                return
            known = Checkpoint.load(self._file(name))
            made = with_structures(known, numbered(names))
            if made is known:
                return
            time_ns = self._file(name).stat().st_mtime_ns
            file = f"{made.id}.safetensors"
            made.save(self._models / file)
            os.utime(self._models / file, ns=(time_ns, time_ns))
            self._point([None, file])

    def publish(self, checkpoint: Checkpoint, learned_until: float | None = None) -> str:
        """Serve a new checkpoint from now on; the one before is kept.

        Args:
            checkpoint: What training returned.
            learned_until: When training read the labels, seconds since 1970; None for now.

        Returns:
            The id of the checkpoint that is served now.

        Raises:
            CheckpointError: What was written cannot be read; the old checkpoint is served.
            OSError: A file cannot be written; the old checkpoint is served.
        """
        with self._changing() as pointer:
            name = f"{checkpoint.id}.safetensors"
            if name != pointer.files[-1]:
                checkpoint.save(self._models / name)
                Checkpoint.load(self._models / name)
                if learned_until is not None:
                    os.utime(self._models / name, (learned_until, learned_until))
                self._point([pointer.files[-1], name])
            return checkpoint.id

    def rollback(self) -> str:
        """Serve the checkpoint before; a second call takes the first one back.

        Returns:
            The id of the checkpoint that is served now.

        Raises:
            ConflictError: There is none before.
            CheckpointError: It cannot be read; the present one is served.
        """
        with self._changing() as pointer:
            if len(pointer.files) < 2:
                raise ConflictError(
                    "expected a checkpoint to go back to; this is the first one that is served"
                )
            restored = Checkpoint.load(self._file(pointer.files[0]))
            self._point(pointer.files[::-1])
            return restored.id

    @contextmanager
    def _changing(self) -> Iterator[_Pointer]:
        """The pointer, for one process at a time; cleans up what nothing points to afterwards."""
        with self._change:
            yield self._pointer()
            used = self._pointer().files
            for file in self._models.iterdir():
                if file.name not in used:
                    file.unlink(missing_ok=True)

    def _pointer(self) -> _Pointer:
        try:
            return _Pointer.model_validate_json(self._pointer_file.read_bytes())
        except FileNotFoundError:
            return _Pointer()
        except ValidationError as error:
            raise CheckpointError(
                f"expected {self._pointer_file.name} to name the served checkpoint; it is "
                "damaged; delete it to serve the first one, or restore it from a backup"
            ) from error

    def _point(self, files: list[str | None]) -> None:
        with atomic_path(self._pointer_file) as temporary:
            temporary.write_text(_Pointer(files=files).model_dump_json(), encoding="utf-8")
        logger.info("serving %s from now on", files[-1] or self.base.name)

    def _file(self, name: str | None) -> Path:
        return self.base if name is None else self._models / name


def _stamp(path: Path) -> Stamp:
    """What changes when a file is replaced.

    Raises:
        CheckpointError: There is no such file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"expected the served checkpoint at {path}, found none; restore it or roll back"
        ) from error
    return (str(path), status.st_ino, status.st_mtime_ns, status.st_size)
