"""Connections, transactions, and what to do with an index that is damaged."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from monailabel_app.lib.errors import StorageError
from monailabel_app.lib.index.schema import MIGRATIONS, SCHEMA, SCHEMA_VERSION

logger = logging.getLogger(__name__)

BUSY_SECONDS = 30.0
"""How long one process waits for another one's transaction, which takes milliseconds."""

_DAMAGED = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS,
)
"""What SQLite says of a bad file; its other errors tell of a full disk and the like."""


class _Connection(sqlite3.Connection):
    """A connection that can close all its cursors.

    A cursor with rows left keeps the snapshot of its transaction, also after the rollback: the
    next writing transaction of the same connection then fails at once with `database is locked`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()

    def execute(self, *args: Any) -> sqlite3.Cursor:
        """See the base class."""
        cursor = super().execute(*args)
        self._cursors.add(cursor)
        return cursor

    def close_cursors(self) -> None:
        """Close the cursors that were not read to their end."""
        for cursor in tuple(self._cursors):
            cursor.close()
        self._cursors.clear()


class Index:
    """Transactions on the index; any thread may ask for one, several processes may be open.

    Args:
        path: The file; it and its tables are made when missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[_Connection] = []
        # SQLite lets writers of one process poll for their turn; a lock wakes the next at once.
        self._writing = threading.Lock()
        with self._lent() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            _migrate(connection)
            connection.execute("COMMIT")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One consistent state for the length of the block; it never waits for writers.

        Yields:
            A connection inside a transaction.
        """
        with self._lent() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.close_cursors()
                connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """All changes of the block, or none when it raises.

        They survive the process. A power cut may take the last ones back; what must survive that
        is in the journal of the studies.

        Yields:
            A connection inside the only writing transaction of all processes. The block may
            commit it itself, as its last step.
        """
        with self._writing, self._lent() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                if connection.in_transaction:
                    connection.execute("COMMIT")
            finally:
                connection.close_cursors()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def close(self) -> None:
        """End all connections; the last process to do so tidies the file."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _lent(self) -> Iterator[_Connection]:
        """A connection that no other thread uses meanwhile."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _connect(self._path)
        try:
            yield connection
        finally:
            self._idle.append(connection)


def recovered_index(path: Path) -> Index:
    """Open an index; one that is damaged or of a newer schema is put aside for a new one.

    What a new index cannot know, the caller takes from the journal and the files.

    Args:
        path: The file; its folder exists.

    Returns:
        An index that passed SQLite's own check, perhaps an empty one.

    Raises:
        StorageError: There is no room to open it, or no right; nothing was changed.
    """
    try:
        return _recovered(path)
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"the index {path.name} of the studies could not be opened: {error}; make room on the "
            "disk, and see that its folder can be written"
        ) from error


def _recovered(path: Path) -> Index:
    reason = _damage(path) if path.exists() else None
    if reason is not None:
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        logger.warning(
            "the index %s cannot be used (%s); kept as %s; making a new one from the journal "
            "and the files",
            path.name,
            reason,
            aside.name,
        )
    return Index(path)


def _damage(path: Path) -> str | None:
    """Why an index cannot be used, or None."""
    try:
        with closing(_connect(path)) as connection:
            version = _version(connection)
            if version > SCHEMA_VERSION:
                return f"schema {version}, expected at most {SCHEMA_VERSION}"
            found = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        if not {error.sqlite_errorcode, error.sqlite_errorcode & 0xFF} & set(_DAMAGED):
            raise
        return str(error)
    return None if found == "ok" else found


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Keep all processes from writing while the block runs; nothing is changed.

    Args:
        path: Of the index; without one there is nothing to wait for.

    Raises:
        sqlite3.OperationalError: Another process writes for longer than `BUSY_SECONDS`.
    """
    if not path.exists():
        yield
        return
    with closing(_connect(path)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def _migrate(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older version to this one; in a transaction."""
    version = _version(connection)
    if version == SCHEMA_VERSION:
        return
    for step in (
        [SCHEMA] if not version else [MIGRATIONS[v] for v in range(version, SCHEMA_VERSION)]
    ):
        for statement in _statements(step):
            connection.execute(statement)
    if version:
        logger.info("migrated the index from schema %d to %d", version, SCHEMA_VERSION)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _connect(path: Path) -> _Connection:
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        factory=_Connection,
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _version(connection: sqlite3.Connection) -> int:
    number: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return number


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, for `executescript` ends the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
