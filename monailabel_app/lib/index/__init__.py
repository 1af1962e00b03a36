"""The index of a studies folder: one SQLite file that all threads and processes share."""

from monailabel_app.lib.index.database import Index, exclusive, recovered_index
from monailabel_app.lib.index.schema import SCHEMA_VERSION

__all__ = ["SCHEMA_VERSION", "Index", "exclusive", "recovered_index"]
