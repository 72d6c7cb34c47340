"""Rows into a table of an SQL database, exactly once: they travel in the checkpoint until it is published.

A batch of rows has a number, one higher than the last that the database has.
Committing it inserts the rows and raises the number, in one transaction of the
database; a batch whose number isn't higher is there already. Of several
workers each counts for itself, and a batch says by which counter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from journalkit.errors import CorruptionError, KeyTypeError, KeyValueError

STATE: Final = "journalkit_sinks"
"""The table in which the database keeps how far each sink is."""
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?", re.ASCII)
_MARKS: Final = {"qmark": "?", "format": "%s", "pyformat": "%s"}


class SqlSink:
    """A `Sink` that inserts rows.

    Args:
        connect: Returns a DB-API connection of its own for the sink, such as `lambda: sqlite3.connect(path)`: the
            sink commits and rolls back on it. It is called when the first is needed, and again after an error.
        table: Where the rows go. It has to be there.
        columns: The columns of a row.
        name: What the sink is known by; the table's name if it isn't given.
        paramstyle: That of the database's module: "qmark" (sqlite3), "format" or "pyformat" (psycopg, MySQL).

    A row's values are what a store can hold, and what the database's module takes. The rows of a batch travel in the
    checkpoint's manifest, so a batch is some megabytes at most. One thread at a time.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        table: str,
        columns: Sequence[str],
        *,
        name: str | None = None,
        paramstyle: str = "qmark",
    ) -> None:
        for identifier in (table, *columns):
            if not _IDENTIFIER.fullmatch(identifier):
                raise KeyValueError(f"{identifier!r:.100} is no plain name of a table or column")
        if paramstyle not in _MARKS:
            raise KeyValueError(f"paramstyle={paramstyle!r} is none of {', '.join(_MARKS)}")
        if not columns:
            raise KeyValueError("a row has one column at least")
        self.name = name if name is not None else table
        self._connect = connect
        self._mark = _MARKS[paramstyle]
        self._width = len(columns)
        marks = ", ".join([self._mark] * len(columns))
        self._insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
        self._rows: list[tuple[Any, ...]] = []
        self._counter = self.name
        self._number = 0
        self._connection: Any = None

    def add(self, *rows: Iterable[Any]) -> None:
        """Add rows: to be seen once the next checkpoint is published.

        Raises:
            UsageError: One has another number of values than there are columns. None was added.
        """
        given = [tuple(row) for row in rows]
        for row in given:
            if len(row) != self._width:
                raise KeyTypeError(f"a row of {len(row)} values, and there are {self._width} columns: {row!r:.100}")
        self._rows += given

    def join(self, rank: int) -> None:
        """Count for one of several workers; the first counts on where a single process was."""
        self._counter = f"{self.name} of rank {rank}" if rank else self.name

    def prepare(self) -> Any:
        """Return the rows, and the number of their batch; None if there are none."""
        if not self._rows:
            return None
        # Several may be prepared before one is committed.
        self._number = max(self._number, self._batch(self._counter)) + 1
        rows, self._rows = self._rows, []
        return {"counter": self._counter, "batch": self._number, "rows": rows}

    def commit(self, handle: Any) -> None:
        """Insert the rows of a batch, unless they are there. Raises what the database's module raises."""
        counter, batch, rows = _said(handle, self.name)
        self._batch(counter)  # so that there is a number to be raised
        with _Transaction(self) as cursor:
            mark = self._mark
            cursor.execute(
                f"UPDATE {STATE} SET batch = {mark} WHERE name = {mark} AND batch < {mark}",
                (batch, counter, batch),
            )
            # Otherwise they are there.
            if cursor.rowcount == 1:
                cursor.executemany(self._insert, rows)

    def recover(self, handles: Sequence[Any]) -> None:
        """Insert what a checkpoint says, and forget what was added since. Raises as `commit`."""
        self._rows = []
        self._number = 0
        for handle in handles:
            self.commit(handle)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- within ---------------------------------------------------------------------------------

    def _batch(self, counter: str) -> int:
        """Return the number of the last batch that the database has; the first time, begin to count."""
        mark = self._mark
        with _Transaction(self) as cursor:
            cursor.execute(f"SELECT batch FROM {STATE} WHERE name = {mark}", (counter,))
            found = cursor.fetchone()
            if found is None:
                cursor.execute(f"INSERT INTO {STATE} (name, batch) VALUES ({mark}, 0)", (counter,))
            return 0 if found is None else int(found[0])

    def connection(self) -> Any:
        """Return the connection, with the table that tells how far the sinks are."""
        if self._connection is None:
            made = self._connect()
            try:
                made.cursor().execute(
                    f"CREATE TABLE IF NOT EXISTS {STATE} (name VARCHAR(200) PRIMARY KEY, batch BIGINT NOT NULL)"
                )
                made.commit()
            except BaseException:
                made.close()
                raise
            self._connection = made
        return self._connection

    def let_go(self) -> None:
        """Use another connection the next time: what this one is in the middle of isn't known."""
        connection, self._connection = self._connection, None
        # To close isn't enough: as long as anybody has one of its cursors, sqlite3 keeps the transaction's locks.
        with suppress(Exception):
            connection.rollback()
        connection.close()


class _Transaction:
    """A transaction of the database: committed at its end, rolled back if anything is raised."""

    def __init__(self, sink: SqlSink) -> None:
        self._sink = sink

    def __enter__(self) -> Any:
        self._connection = self._sink.connection()
        return self._connection.cursor()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        is_done = False
        try:
            if kind is None:
                self._connection.commit()
                is_done = True
        finally:
            if not is_done:
                self._sink.let_go()


def _said(handle: Any, name: str) -> tuple[str, int, list[Any]]:
    try:
        counter, batch, rows = handle["counter"], handle["batch"], handle["rows"]
    except (TypeError, KeyError) as error:
        raise CorruptionError(f"no handle of an SqlSink: {handle!r:.100}", path=name) from error
    return counter, batch, rows
