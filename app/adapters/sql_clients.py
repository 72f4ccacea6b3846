"""Connections to SQL stores with everything pinned that could change what a value reads or writes as.

Nothing is left to the server's or the role's defaults: time zone, SQL mode, character set, search path, forms of dates
and floats, isolation, and how long to wait. A writing connection waits for no lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import psycopg
import pymysql
from pymysql.constants import CLIENT

from app.core.store import StoreKind
from app.settings import HistoryDatabase, RoleSettings, StoreSettings

_CONNECT_S: Final = 5
_STATEMENT_S: Final = 10


class Use(Enum):
    """What a connection is for."""

    READ = "read"
    WRITE = "write"  # guarded transactions: no call waits for a lock
    ADMIN = "admin"  # statements that a person has seen: `driftline init`


_POSTGRES_PINNED: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": r"read\ committed",
    "statement_timeout": f"{_STATEMENT_S * 1000}",
    "idle_in_transaction_session_timeout": f"{_STATEMENT_S * 2000}",
    "row_security": "off",
}

# Rows are found by keys and not by reading tables whole, which is how a table that has grown since it was analysed was
# read for each transaction. What has no index is read whole all the same, and must not be compiled for that.
_POSTGRES_BY_KEY: Final = {"enable_seqscan": "off", "jit": "off"}

# A zero is written as a zero, a value that does not fit is an error, and no engine is put in another's place.
_SQL_MODE: Final = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION"


def connect_postgres(store: StoreSettings, role: str, use: Use) -> psycopg.Connection[Any]:
    """Connect to PostgreSQL; raises the driver's errors."""
    login = store.role(role)
    pinned = dict(_POSTGRES_PINNED)
    if use is not Use.ADMIN:
        pinned |= _POSTGRES_BY_KEY
    if use is Use.WRITE:
        pinned |= {"lock_timeout": "1ms", "synchronous_commit": "on"}
    if use is Use.ADMIN:
        del pinned["row_security"]
    return _open_postgres(store, login, role, pinned, autocommit=use is Use.READ)


def connect_history(database: HistoryDatabase, *, reads_only: bool) -> psycopg.Connection[Any]:
    """Connect to the history's database, beginning no transaction by itself; raises the driver's errors."""
    pinned = _POSTGRES_PINNED | {"default_transaction_read_only": "on" if reads_only else "off"}
    return _open_postgres(database, database.login, "history", pinned, autocommit=True)


def _open_postgres(
    server: StoreSettings | HistoryDatabase,
    login: RoleSettings,
    role: str,
    pinned: Mapping[str, str],
    *,
    autocommit: bool,
) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        dbname=server.database,
        user=login.user,
        password=login.password(),
        connect_timeout=_CONNECT_S,
        application_name=f"driftline-{role}",
        options=" ".join(f"-c {name}={value}" for name, value in pinned.items()),
        tcp_user_timeout=_STATEMENT_S * 2_000,
        autocommit=autocommit,
        client_encoding="UTF8",
        # A prepared plan would outlive a changed table.
        prepare_threshold=None,
        sslmode="verify-full" if server.ca_file else "prefer",
        sslrootcert=str(server.ca_file) if server.ca_file else None,
    )


def _mysql_pinned(store: StoreSettings, use: Use) -> list[str]:
    pinned = [
        f"SET SESSION sql_mode = '{_SQL_MODE}'",
        "SET SESSION time_zone = '+00:00'",
        "SET SESSION foreign_key_checks = 1, unique_checks = 1",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    ]
    is_mariadb = store.kind is StoreKind.MARIADB
    if use is not Use.ADMIN:
        pinned.append(
            f"SET SESSION max_statement_time = {_STATEMENT_S}"
            if is_mariadb
            else f"SET SESSION max_execution_time = {_STATEMENT_S * 1000}"
        )
    if use is Use.WRITE:
        # An INSERT knows no NOWAIT. MySQL takes no less than a second.
        pinned.append(f"SET SESSION innodb_lock_wait_timeout = {0 if is_mariadb else 1}")
        pinned.append(f"SET SESSION lock_wait_timeout = {0 if is_mariadb else 1}")
        if is_mariadb:
            # MySQL knows no such limit: there an applier that sleeps in a transaction keeps its locks.
            pinned.append(f"SET SESSION idle_transaction_timeout = {_STATEMENT_S * 2}")
    return pinned


def connect_mysql(store: StoreSettings, role: str, use: Use, *, patience_s: int | None = None) -> Any:  # noqa: ANN401 - PyMySQL has no types
    """Connect to MariaDB or MySQL; raises the driver's errors. `patience_s` is how long each answer may take."""
    login = store.role(role)
    connection = pymysql.connect(
        host=store.host,
        port=store.port,
        user=login.user,
        password=login.password(),
        connect_timeout=patience_s or _CONNECT_S,
        read_timeout=patience_s or _STATEMENT_S * 2,
        write_timeout=patience_s or _STATEMENT_S * 2,
        charset="utf8mb4",
        collation="utf8mb4_bin",
        program_name=f"driftline-{role}",
        # Count rows that were found: a row that is written as it was is written all the same.
        client_flag=CLIENT.FOUND_ROWS,
        autocommit=use is Use.READ,
        ssl_ca=str(store.ca_file) if store.ca_file else None,
        ssl_verify_identity=bool(store.ca_file),
    )
    with connection.cursor() as cursor:
        for statement in _mysql_pinned(store, use):
            cursor.execute(statement)
    return connection
