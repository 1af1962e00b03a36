"""Scoring the pool, in this process, with the checkpoint that is served.

MONAI Label starts one process per scoring method and next sample; here one thread scores each
image once per content and checkpoint and stores the result in the index, where strategies only
read the order. A run that was interrupted goes on where it was.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from lfusion.errors import ImageError, NonFiniteError
from lfusion.predictor import Predictor
from lfusion.protocol import ScoringStatus, StoredScore
from monailabel_app.lib.capacity import scorings
from monailabel_app.lib.datastore import StudiesDatastore
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.errors import InvalidNameError, client_message
from monailabel_app.lib.index.results import (
    PoolImage,
    checkpoint_number,
    count_unscored,
    has_result,
    is_scored,
    is_served,
    note_scored,
    note_served,
    pool_generation,
    spread_unscored,
    store_contents,
    store_score,
    unscored,
)
from monailabel_app.lib.served import ServedModel

logger = logging.getLogger(__name__)

_BATCH = 8
"""Images scored between two writes: what a crash costs."""

_FIRST = 4
"""Images scored while somebody waits for the first sample."""

_PAGE = 64
"""Candidates read at once for those few."""

_STOP_SECONDS = 10.0

_Result: TypeAlias = tuple[StoredScore, bytes | None, bytes | None]
"""Scores, embedding and information."""


class PoolScoring(ScoringMethod):  # type: ignore[misc]  # MONAI Label has no types
    """Scores every image that the served checkpoint has not scored yet, those to label first.

    Args:
        served: The model.
        store: The studies.
    """

    def __init__(self, served: ServedModel, store: StudiesDatastore) -> None:
        super().__init__("Uncertainty scores of all images, by the served checkpoint")
        self._served = served
        self._store = store
        self._one_run = threading.Lock()
        self._starting = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._status = ScoringStatus()

    @property
    def status(self) -> ScoringStatus:
        """How far the current or last run is."""
        return self._status

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Score what is missing; a second caller waits and then finds it done.

        Args:
            request: Ignored; MONAI Label passes it.
            datastore: Ignored likewise.

        Returns:
            The final `ScoringStatus` as JSON.

        Raises:
            LFusionError: The model failed on a readable image.
        """
        with self._one_run:
            try:
                self._run()
            except Exception as error:
                logger.exception("scoring failed")
                self._update(status="failed", error=client_message(error))
                raise
            self._update(status="idle" if self._stopped.is_set() else "done")
            return self._status.model_dump()

    def start(self) -> None:
        """Score in the background; while a run goes on, that one is enough."""
        with self._starting:
            if self._status.status == "running" or self._stopped.is_set():
                return
            self._status = ScoringStatus(status="running")
            self._thread = threading.Thread(target=self._background, name="scoring", daemon=True)
            self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End the run after the images that it is at; nothing that was scored is lost."""
        atexit.unregister(self.stop)
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)

    def ensure(self) -> bool:
        """See to it that the pool gets scored.

        Returns:
            Whether all of it is.
        """
        checkpoint_id = self._served.checkpoint_id
        with self._store.index.read() as db:
            scored = is_scored(db, checkpoint_id)
            shown = is_served(db, checkpoint_id)
        if not shown:
            with self._store.index.write() as db:
                note_served(db, checkpoint_id)
        if not scored:
            self.start()
        return scored

    def score_first(self) -> int:
        """Score a few images from all over the folder, for somebody who waits.

        Returns:
            How many; 0 when there are none without a score, or none that can be scored now.
        """
        model = self._served.predictor()
        with self._store.index.write() as db:
            checkpoint = checkpoint_number(db, model.checkpoint_id)
        return self._score(model, checkpoint, self._first(checkpoint))

    def _first(self, checkpoint: int) -> list[PoolImage]:
        """A few images without a score that can be opened; the index is not held meanwhile."""
        images: list[PoolImage] = []
        offset = 0
        while len(images) < _FIRST:
            with self._store.index.read() as db:
                page = spread_unscored(db, checkpoint, limit=_PAGE, offset=offset)
            if not page:
                break
            images += filter(self._is_as_known, page)
            offset += len(page)
        return images[:_FIRST]

    def _background(self) -> None:
        """A run whose failure is told by the status alone."""
        try:
            self({}, self._store)
        except Exception:  # logged, and in the status
            return

    def _run(self) -> None:
        """Score batch after batch; each is stored at once."""
        model = self._served.predictor()
        with self._store.index.write() as db:
            checkpoint = checkpoint_number(db, model.checkpoint_id)
            note_served(db, model.checkpoint_id)
            generation = pool_generation(db)
            missing = count_unscored(db, checkpoint)
            total, skipped = _pool(db, checkpoint)
        self._status = ScoringStatus(
            status="running",
            checkpoint_id=model.checkpoint_id,
            done=total - missing,
            total=total,
            skipped=skipped,
        )
        logger.info("%d of %d images have scores of this checkpoint", total - missing, total)
        for open_images in (True, False):
            after = 0
            while images := self._next(checkpoint, open_images, after):
                if self._stopped.is_set():
                    return
                if self._is_overtaken(model):
                    return self._run()
                self._score(model, checkpoint, images)
                after = images[-1].number
                self._update(done=min(self._status.done + len(images), total))
        if self._is_overtaken(model):  # while the last images were scored
            return self._run()
        with self._store.index.write() as db:
            note_scored(db, checkpoint, generation)
        self._update(done=total)

    def _is_overtaken(self, model: Predictor) -> bool:
        """Whether another checkpoint is served by now."""
        if self._served.checkpoint_id == model.checkpoint_id:
            return False
        logger.info("a new checkpoint is served; the pool is scored with that one")
        return True

    def _next(self, checkpoint: int, open_images: bool, after: int) -> list[PoolImage]:
        with self._store.index.read() as db:
            return unscored(db, checkpoint, open_images=open_images, after=after, limit=_BATCH)

    def _score(self, model: Predictor, checkpoint: int, images: Sequence[PoolImage]) -> int:
        """Score images and store the results in one transaction; how many are scored now."""
        contents: list[tuple[PoolImage, str]] = []
        missing: dict[str, PoolImage] = {}
        for image in images:
            try:
                digest = digest_of(self._store.folder.image(image.path))
            except (OSError, InvalidNameError) as error:
                logger.warning("image %s cannot be opened to be scored: %s", image.id, error)
                continue
            contents.append((image, digest))
            with self._store.index.read() as db:
                if not has_result(db, checkpoint, digest):
                    missing.setdefault(digest, image)
        results = scorings.map(lambda image: self._result(model, image), missing.values())
        scores = dict(zip(missing, results, strict=True))
        # A file that was exchanged meanwhile is not what was read first, or not what was scored.
        contents = [content for content in contents if self._is_as_known(content[0])]
        kept = {image.number for image, _ in contents}
        scores = {d: result for d, result in scores.items() if missing[d].number in kept}
        for digest, (score, _, _) in scores.items():
            if score.unreadable is not None:
                skipped = {**self._status.skipped, missing[digest].id: score.unreadable}
                self._update(skipped=skipped)
        with self._store.index.write() as db:
            for digest, result in scores.items():
                store_score(db, checkpoint, digest, *result)
            store_contents(db, contents)
        return len(contents)

    def _is_as_known(self, image: PoolImage) -> bool:
        """Whether a file can be opened, and looks as it did when the index last saw it."""
        try:
            with self._store.folder.image(image.path).open("rb") as file:
                status = os.fstat(file.fileno())
        except (OSError, InvalidNameError):
            return False
        return (status.st_size, status.st_mtime_ns) == (image.size, image.mtime_ns)

    def _result(self, model: Predictor, image: PoolImage) -> _Result:
        """What one pass of the network says about an image, or why it says nothing."""
        try:
            found = model.score(self._store.folder.image(image.path))
        except (ImageError, NonFiniteError) as error:
            logger.warning("image %s is not scored: %s", image.id, error)
            return (
                StoredScore(checkpoint_id=model.checkpoint_id, unreadable=client_message(error)),
                None,
                None,
            )
        score = StoredScore(checkpoint_id=model.checkpoint_id, scores=dict(found.scores))
        return score, found.embedding.tobytes(), found.information.tobytes()

    def _update(self, **changes: Any) -> None:
        """Replace the status as a whole: readers see one or the other."""
        self._status = self._status.model_copy(update=changes)


def _pool(db: Any, checkpoint: int) -> tuple[int, dict[str, str]]:
    """Number of images, and why some of them cannot be scored."""
    total = db.execute("SELECT count(*) FROM images WHERE present").fetchone()[0]
    rows = db.execute(
        "SELECT id, unreadable FROM images JOIN results ON results.sha256 = images.sha256 "
        "WHERE checkpoint = ? AND unreadable IS NOT NULL AND present",
        (checkpoint,),
    )
    return total, dict(rows.fetchall())
