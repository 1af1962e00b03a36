"""The run-time type checker of the suite: shapes, dtypes and types at every call of lfusion."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

# an int is a float, as type checkers see it
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
