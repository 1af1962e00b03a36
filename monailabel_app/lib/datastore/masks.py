"""Masks of a dataset folder, taken over as labels."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path, PurePosixPath

from lfusion.errors import ImageError, LFusionError
from lfusion.image.annotations import PassedOver, notice
from lfusion.image.formats import IMAGE_SUFFIXES, MASK_SUFFIXES, stem_of, suffix_of
from lfusion.protocol import Submission
from monailabel_app.lib.datastore.ledger import FINAL, Ledger
from monailabel_app.lib.datastore.metadata import IMAGES_FOLDER
from monailabel_app.lib.datastore.saving import LabelSaver
from monailabel_app.lib.datastore.scan import MASKS_FOLDER, FoundFile, found_file
from monailabel_app.lib.errors import LabelError
from monailabel_app.lib.index.refusals import drop_refusal, put_refusal, refused_files

logger = logging.getLogger(__name__)


def import_masks(ledger: Ledger, saver: LabelSaver) -> int:
    """Make `masks/ID.*` the label of `images/ID.*`, of images that never had one.

    The files stay as they are. One that cannot be a label is told in the log and noted as
    refused. Which structures were looked for in them is not known.

    Args:
        ledger: Of the studies.
        saver: Of their labels.

    Returns:
        How many were taken over.
    """
    masks = _masks_by_id(ledger.folder.root)
    with ledger.index.read() as db:
        images = db.execute("SELECT number, id, path FROM images WHERE present").fetchall()
        labelled = {
            number
            for (number,) in db.execute(
                "SELECT DISTINCT image FROM versions WHERE tag = ?", (FINAL,)
            ).fetchall()
        }
        refused = set(refused_files(db, FINAL))
    stale = {file for file in refused if file.startswith(f"{MASKS_FOLDER}/")}
    count = 0
    for number, image_id, path in images:
        *folders, name = PurePosixPath(path).parts
        found = masks.pop(stem_of(Path(name)), []) if folders == [IMAGES_FOLDER] else []
        if number in labelled:
            continue
        for file in found:
            reason = _refusal(ledger, saver, image_id, file, found)
            if reason is None:
                count += 1
                break
            stale.discard(file.path)
            _note(ledger, number, file, reason)
    if stale:
        with ledger.index.write() as db:
            for path in stale:
                drop_refusal(db, FINAL, path)
    if left := notice(
        [PassedOver(file.path, "a mask of no image") for files in masks.values() for file in files]
    ):
        logger.info("%s", left)
    if count:
        logger.info("took over %d labels from the folder masks", count)
    return count


def _masks_by_id(root: Path) -> dict[str, list[FoundFile]]:
    """The files of the folder masks by id, those that keep class numbers first."""
    folder = root / MASKS_FOLDER
    found: dict[str, list[FoundFile]] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.iterdir(), key=lambda path: suffix_of(path) not in MASK_SUFFIXES):
        known = suffix_of(path) in (*IMAGE_SUFFIXES, *MASK_SUFFIXES)
        if known and not path.name.startswith("."):
            file = found_file(root, path, f"{MASKS_FOLDER}/{path.name}")
            if file is not None:
                found.setdefault(stem_of(path), []).append(file)
    return found


def _refusal(
    ledger: Ledger, saver: LabelSaver, image_id: str, file: FoundFile, others: list[FoundFile]
) -> str | None:
    """Save a mask as a label, or say why it cannot be one."""
    usable = [other.path for other in others if suffix_of(Path(other.path)) in MASK_SUFFIXES]
    if file.path in usable and len(usable) > 1:
        return f"expected one mask for each image, got {' and '.join(usable)}; remove one"
    source = ledger.folder.root / file.path
    try:
        saver.save(image_id, source, FINAL, Submission(client_id="masks"), None, offered=False)
    except ImageError as error:
        return f"its image cannot be read: {error.reason}"
    except LabelError as error:
        return str(error)
    except LFusionError as error:
        logger.error("the mask %s is not taken over: %s", file.path, error)
        return str(error)
    return None


def _note(ledger: Ledger, number: int, file: FoundFile, reason: str) -> None:
    """Note a mask as refused, and say so once."""
    with ledger.index.write() as db:
        new = _put(db, number, file, reason)
    if new:
        logger.warning("the mask %s is not used: %s", file.path, reason)


def _put(db: sqlite3.Connection, number: int, file: FoundFile, reason: str) -> bool:
    return put_refusal(db, FINAL, file.path, number, (file.size, file.mtime_ns), reason)
