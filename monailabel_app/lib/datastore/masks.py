"""Masks of a dataset folder, taken over as labels."""

from __future__ import annotations

import logging
from pathlib import Path, PurePosixPath

from lfusion.errors import DatasetError, LFusionError
from lfusion.image.formats import MASK_SUFFIXES, stem_of
from lfusion.image.metadata import files_by_id
from lfusion.protocol import Submission
from monailabel_app.lib.datastore.ledger import FINAL, Ledger
from monailabel_app.lib.datastore.saving import LabelSaver

logger = logging.getLogger(__name__)


def import_masks(ledger: Ledger, saver: LabelSaver) -> int:
    """Make `masks/ID.*` the label of `images/ID.*`, of images that never had one.

    The files stay as they are. One that cannot be a label is told in the log and left out. Which
    structures were looked for in them is not known.

    Args:
        ledger: Of the studies.
        saver: Of their labels.

    Returns:
        How many were taken over.
    """
    folder = ledger.folder.root / "masks"
    if not folder.is_dir():
        return 0
    try:
        masks = files_by_id(folder, MASK_SUFFIXES)
    except DatasetError as error:
        logger.warning("the masks of the folder are not taken over: %s", error)
        return 0
    with ledger.index.read() as db:
        rows = db.execute(
            "SELECT id, path FROM images WHERE present AND number NOT IN "
            "(SELECT image FROM versions WHERE tag = ?) ORDER BY id",
            (FINAL,),
        ).fetchall()
    count = 0
    for image_id, path in rows:
        folders, name = PurePosixPath(path).parts[:-1], stem_of(Path(path))
        mask = masks.get(name) if folders == ("images",) else None
        if mask is None or not mask.resolve().is_relative_to(ledger.folder.root):
            continue
        try:
            saver.save(image_id, mask, FINAL, Submission(client_id="masks"), None, offered=False)
            count += 1
        except LFusionError as error:
            logger.warning("the mask %s is not taken over: %s", mask.name, error)
    if count:
        logger.info("took over %d labels from the folder masks", count)
    return count
