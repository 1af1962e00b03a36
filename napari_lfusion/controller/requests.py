"""Work in the background: the newest question of a topic counts, later answers are dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from psygnal import Signal

from lfusion.errors import LFusionError

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
Finished = Callable[[object, Exception | None], None]


class Runner(Protocol):
    """Runs work somewhere and says on the caller's thread how it went."""

    def start(self, work: Callable[[], object], finished: Finished) -> None:
        """Run `work`, then call `finished(result, error)` on the thread that called this.

        Args:
            work: Blocks; raises what it likes.
            finished: Gets the result and None, or None and the error.
        """
        ...


class Requests:
    """Questions to the backend, one on its way for each topic.

    Args:
        runner: Where they are asked.
    """

    changed = Signal()
    """Something began or ended."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._current: dict[str, object] = {}

    @property
    def topics(self) -> tuple[str, ...]:
        """What is on its way, the oldest first."""
        return tuple(self._current)

    def ask(
        self,
        topic: str,
        work: Callable[[], _T],
        done: Callable[[_T], None],
        failed: Callable[[LFusionError], None],
    ) -> None:
        """Ask in the background; what was asked before on the topic no longer matters.

        Args:
            topic: What it is about.
            work: Asks; runs on another thread.
            done: Gets the answer, on the caller's thread.
            failed: Gets the error, on the caller's thread; anything but an `LFusionError` is a
                bug, which goes to the log as well.
        """
        ticket = object()
        self._current[topic] = ticket

        def finished(result: object, error: Exception | None) -> None:
            if self._current.get(topic) is not ticket:
                return
            del self._current[topic]
            self.changed.emit()
            if error is None:
                done(result)  # type: ignore[arg-type]  # what `work` returned
            elif isinstance(error, LFusionError):
                failed(error)
            else:
                logger.error("%s failed", topic, exc_info=error)
                failed(LFusionError(f"{topic} failed unexpectedly ({error!r}); the log says where"))

        self.changed.emit()
        self._runner.start(work, finished)

    def drop(self, *topics: str) -> None:
        """Let answers that are still on their way be ignored.

        Args:
            topics: Which; all without arguments.
        """
        for topic in topics or tuple(self._current):
            self._current.pop(topic, None)
        self.changed.emit()
