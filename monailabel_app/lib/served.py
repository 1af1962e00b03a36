"""The checkpoint that the server serves, and how a new one takes its place."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path

from lfusion import predictor
from lfusion.checkpoint import Checkpoint
from lfusion.image.write import atomic_path
from lfusion.predictor import Predictor

logger = logging.getLogger(__name__)

Stamp = tuple[str, int, int, int]


class ServedModel:
    """One predictor for all requests; follows the file, whoever replaced it.

    The base checkpoint is only read. A retrained one lives in the state folder
    and is served from the moment it is there.

    Args:
        base: The checkpoint to serve while nothing was retrained.
        state: Folder of the studies' owner for what training produces.
    """

    def __init__(self, base: Path, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._base = base
        self._retrained = state / "model.safetensors"
        self._previous = state / "previous.safetensors"
        self._lock = threading.Lock()
        self._loaded: tuple[Stamp, Predictor] | None = None

    @property
    def path(self) -> Path:
        """The checkpoint file that is served now."""
        return self._retrained if self._retrained.exists() else self._base

    def predictor(self) -> Predictor:
        """The predictor of the served checkpoint, reloaded when the file changed.

        Returns:
            A predictor that several threads may call; one that was handed out
            before a change goes on working.

        Raises:
            CheckpointError: The file is no checkpoint this code can use.
        """
        with self._lock:
            stamp = _stamp(self.path)
            if self._loaded is None or self._loaded[0] != stamp:
                logger.info("loading checkpoint %s", self.path.name)
                self._loaded = (stamp, predictor.load(self.path))
            return self._loaded[1]

    def labels(self) -> Mapping[str, int]:
        """Class number by name of the served checkpoint."""
        return self.predictor().labels

    def publish(self, checkpoint: Checkpoint) -> str:
        """Serve a new checkpoint from now on; the one before is kept beside it.

        Each step replaces a whole file, so whenever this is interrupted a
        complete checkpoint is served.

        Args:
            checkpoint: What training returned.

        Returns:
            The id of the checkpoint that is served now.

        Raises:
            OSError: A file cannot be written; the old checkpoint is served.
        """
        with atomic_path(self._previous) as temporary:
            shutil.copyfile(self.path, temporary)
        return checkpoint.save(self._retrained)


def _stamp(path: Path) -> Stamp:
    """What changes when a file is replaced."""
    status = os.stat(path)
    return (str(path), status.st_ino, status.st_mtime_ns, status.st_size)
