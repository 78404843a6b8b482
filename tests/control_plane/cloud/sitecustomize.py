"""Lets several services write one sqlite file, which stands in for the MySQL or MariaDB of a real control plane.

Python runs this at the start of every process that has this directory in PYTHONPATH. Why: oslo.db begins each
transaction with a plain BEGIN. If such a transaction reads first and another process writes before it does, sqlite
refuses its write at once ("database is locked") and no time-out helps. Here reads stand outside of transactions, like
MySQL's READ COMMITTED, and a transaction begins with its first write and then waits for its turn.
"""

from __future__ import annotations

import sqlite3
import sqlite3.dbapi2
from typing import Any

WRITES = ("INSERT", "UPDATE", "DELETE")


class Cursor(sqlite3.Cursor):
    """Begins transactions late."""

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "BEGIN":
            return self
        if sql.lstrip()[:6].upper() in WRITES and not self.connection.in_transaction:
            super().execute("BEGIN IMMEDIATE")
        return super().execute(sql, parameters)


class Connection(sqlite3.Connection):
    """Hands out such cursors."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)


def connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    """`sqlite3.connect` with our connection as the default."""
    options.setdefault("factory", Connection)
    return plain_connect(*arguments, **options)


plain_connect = sqlite3.connect
sqlite3.connect = connect
sqlite3.dbapi2.connect = connect
