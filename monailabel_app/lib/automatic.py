"""Retrainings that nobody asks for: after so many saved labels."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from monailabel.interfaces.datastore import Datastore

from lfusion.errors import LFusionError
from monailabel_app.lib.errors import ConflictError
from monailabel_app.lib.jobs import TrainingJobs
from monailabel_app.lib.training_state import TrainingRecord

logger = logging.getLogger(__name__)


class AutomaticTraining:
    """Starts a quick retraining each time that enough final labels were saved.

    Those saved while one runs count for the next, which then follows at once if they are enough.

    Args:
        jobs: The trainings.
        after: Labels; 0 is never.
        on_start: Called with each training that was started.
    """

    def __init__(
        self,
        jobs: TrainingJobs,
        after: int,
        on_start: Callable[[TrainingRecord], None] = lambda record: None,
    ) -> None:
        self._jobs = jobs
        self._on_start = on_start
        self._after = after
        self._lock = threading.Lock()
        self._saved = 0

    def note_saved(self, datastore: Datastore) -> None:
        """Count a final label; a training that is due starts beside the caller.

        Args:
            datastore: Where the labels are.
        """
        if not self._after:
            return
        with self._lock:
            self._saved += 1
        if self._saved >= self._after:
            threading.Thread(target=self.start_due, args=(datastore,), daemon=True).start()

    def start_due(self, datastore: Datastore) -> None:
        """Start a training if enough labels were saved since the last one."""
        with self._lock:
            if not 0 < self._after <= self._saved:
                return
            try:
                record = self._jobs.start({}, datastore)
                self._on_start(record)
            except ConflictError:
                return  # its end asks again
            except (LFusionError, OSError):
                logger.exception("no training could be started after %d labels", self._saved)
            self._saved = 0
