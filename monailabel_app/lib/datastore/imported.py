"""The index of a stock MONAI Label server, taken over once."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from lfusion.protocol import INFO_KEY, MAP_TAGS
from monailabel_app.lib.datastore.folder import digest_of
from monailabel_app.lib.datastore.journal import Entry, ImageEntry, ImageInfo, LabelEntry
from monailabel_app.lib.datastore.ledger import Ledger, number_of
from monailabel_app.lib.datastore.scan import find_image
from monailabel_app.lib.errors import InvalidNameError
from monailabel_app.lib.names import check_image_id, check_tag

logger = logging.getLogger(__name__)

STOCK_INDEX = "datastore_v2.json"


class _File(BaseModel):
    ext: str = ""
    info: dict[str, Any] = {}


class _Object(BaseModel):
    image: _File
    labels: dict[str, _File] = {}


class _StockIndex(BaseModel):
    objects: dict[str, _Object] = {}


def import_stock_index(ledger: Ledger) -> None:
    """Take over ids, infos and authors from `datastore_v2.json`, if there is one and we did not.

    The file stays as it is. One that cannot be read is reported: images and labels are then found
    by looking through the folder, without what was stored about them.

    Args:
        ledger: Of the studies.
    """
    file = ledger.folder.root / STOCK_INDEX
    with ledger.index.read() as db:
        done = db.execute("SELECT 1 FROM meta WHERE key = 'imported'").fetchone()
    if done is not None or not file.is_file():
        return
    try:
        stock = _StockIndex.model_validate_json(file.read_bytes())
    except ValidationError:
        logger.warning("%s cannot be read; going by the files of the folder alone", STOCK_INDEX)
        stock = _StockIndex()
    with ledger.writing() as db:
        entries = [entry for item in stock.objects.items() for entry in _entries(ledger, db, item)]
        named = {entry.image for entry in entries if isinstance(entry, ImageEntry)}
        bare = {i for (i,) in db.execute("SELECT id FROM images WHERE info = '{}'").fetchall()}
        entries += [
            ImageInfo(image=image_id, info=info)
            for image_id, found in stock.objects.items()
            if image_id in named | bare and (info := _kept_info(found))
        ]
        db.execute("INSERT OR REPLACE INTO meta VALUES ('imported', 1)")
        if entries:
            ledger.carry_out(db, *entries)
    logger.info("took over %d images from %s", len(stock.objects), STOCK_INDEX)


def _entries(ledger: Ledger, db: sqlite3.Connection, item: tuple[str, _Object]) -> Iterator[Entry]:
    """An image and its labels, when it is there and neither its id nor its file is known."""
    image_id, found = item
    path = f"{image_id}{found.image.ext}"
    try:
        check_image_id(image_id)
    except InvalidNameError:
        return
    if number_of(db, image_id) is not None or find_image(ledger.folder.root, path) is None:
        return
    if db.execute("SELECT 1 FROM images WHERE path = ?", (path,)).fetchone() is None:
        yield ImageEntry(image=image_id, path=path)
        yield from _labels(ledger, image_id, found.labels)


def _kept_info(found: _Object) -> dict[str, Any]:
    """What was stored about an image, without its file's name and its stale score."""
    info = found.image.info
    return {key: info[key] for key in info if key not in (INFO_KEY, "name")}


def _labels(ledger: Ledger, image_id: str, labels: Mapping[str, _File]) -> Iterator[Entry]:
    """The labels of an image whose files are there."""
    for tag, label in labels.items():
        name = f"{image_id}{label.ext}"
        try:
            found = ledger.folder.found_label(check_tag(tag), name)
        except InvalidNameError:
            continue
        if found is None or tag in MAP_TAGS:
            continue
        info = {key: value for key, value in label.info.items() if key not in ("name", "ts")}
        yield LabelEntry(
            image=image_id,
            tag=tag,
            version=1,
            suffix=label.ext,
            sha256=digest_of(ledger.folder.label(tag, name)),
            time=float(label.info.get("ts", found.mtime_ns / 1e9)),
            author=label.info.get("user"),
            client_id=label.info.get("client_id"),
            info=info,
            placed=True,
        )
