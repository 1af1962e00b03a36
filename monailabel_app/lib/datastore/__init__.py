"""The studies folder as a MONAI Label datastore that keeps what it acknowledged.

Files lie where MONAI Label users expect them (`STUDIES/ID.png`,
`STUDIES/labels/final/ID.png`). In `STUDIES/.lfusion` there are, beside them,

* `index.sqlite`: what requests read. It can be deleted: it is made anew from the rest;
* `journal.jsonl`: ids, label versions with their authors, and what was set aside. Back it up;
* `versions/TAG/ID/N.png`: the versions of each label.

See `ledger` for the order of writes and what happens after a crash, `scan` for what is an image,
and `folder` for the rule that no path leads out of the studies folder.
"""

from monailabel_app.lib.datastore.folder import STATE_FOLDER
from monailabel_app.lib.datastore.store import StudiesDatastore

__all__ = ["STATE_FOLDER", "StudiesDatastore"]
