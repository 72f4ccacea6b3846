"""What `driftline check` needs to know of a MariaDB or MySQL database, from its information schema."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import pymysql

from app.adapters.sql_clients import Use, connect_mysql
from app.core.errors import Unready
from app.core.preflight.facts import ColumnFact, DatabaseFacts, TableFact
from app.settings import StoreSettings

_SETTINGS: Final = (
    "log_bin",
    "binlog_format",
    "binlog_row_image",
    "gtid_strict_mode",
    "gtid_mode",
    "binlog_expire_logs_seconds",
    "sql_mode",
    "version",
)
_COLUMNS: Final = """
SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_MAXIMUM_LENGTH,
       NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, COLLATION_NAME,
       CHARACTER_SET_NAME
  FROM information_schema.COLUMNS WHERE CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) IN %s ORDER BY 1, ORDINAL_POSITION
"""
_KEYS: Final = """
SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), COLUMN_NAME FROM information_schema.STATISTICS
 WHERE INDEX_NAME = 'PRIMARY' AND CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) IN %s ORDER BY 1, SEQ_IN_INDEX
"""
_ENGINES: Final = """
SELECT CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME), t.ENGINE, e.TRANSACTIONS
  FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE
 WHERE CONCAT(t.TABLE_SCHEMA, '.', t.TABLE_NAME) IN %s
"""
# The information schema shows a role only what it has rights on; the signal table is the capture role's alone.
_OTHER_ROLES: Final = ("beacon", "apply", "capture", "admin")
_FILTERS: Final = ("SHOW MASTER STATUS", "SHOW BINARY LOG STATUS")
_CLOCKS: Final = frozenset({"datetime", "timestamp", "time"})
_NUMBERS: Final = frozenset({"decimal", "bit"})


def read_mysql(store: StoreSettings, tables: Collection[str]) -> DatabaseFacts:
    """Return what the catalogue says of the tables, as far as any of the store's roles may see it."""
    facts: DatabaseFacts | None = None
    try:
        for role in ("read", *(role for role in _OTHER_ROLES if role in store.roles)):
            wanted = [name for name in tables if facts is None or name not in facts.tables]
            if not wanted:
                break
            connection = connect_mysql(store, role, Use.READ)
            try:
                with connection.cursor() as cursor:
                    settings = facts.settings if facts else _settings(cursor)
                    known = {**facts.tables} if facts else {}
                    facts = DatabaseFacts(settings, {**known, **_tables(cursor, wanted)})
            finally:
                connection.close()
    except (pymysql.MySQLError, OSError) as error:
        where = f"store {store.name} at {store.host}:{store.port}"
        said = str(error.args[-1]).strip() if error.args else type(error).__name__
        raise Unready(f"cannot be asked: {said}", where=where, hint="check address, role and grants") from error
    return facts if facts is not None else DatabaseFacts({}, {})


def _settings(cursor: Any) -> dict[str, str]:  # noqa: ANN401 - PyMySQL has no types
    cursor.execute(
        f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({', '.join(['%s'] * len(_SETTINGS))})",
        _SETTINGS,
    )
    found = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
    for statement in _FILTERS:
        try:
            cursor.execute(statement)
        except pymysql.MySQLError:  # another version, or a role that may not ask
            continue
        row = cursor.fetchone()
        if row is not None:
            names = [str(column[0]).lower() for column in cursor.description]
            status = dict(zip(names, row, strict=True))
            found["binlog_do_db"] = str(status.get("binlog_do_db") or "")
            found["binlog_ignore_db"] = str(status.get("binlog_ignore_db") or "")
        break
    return found


def _tables(cursor: Any, names: list[str]) -> dict[str, TableFact]:  # noqa: ANN401 - PyMySQL has no types
    cursor.execute(_ENGINES, [names])
    engines = {row[0]: (row[1] or "", row[2] == "YES") for row in cursor.fetchall()}
    cursor.execute(_KEYS, [names])
    keys = cursor.fetchall()
    cursor.execute(_COLUMNS, [names])
    columns: dict[str, list[ColumnFact]] = {}
    for row in cursor.fetchall():
        columns.setdefault(row[0], []).append(_column(row))
    return {
        name: TableFact(
            table=name,
            columns=tuple(columns.get(name, ())),
            primary_key=tuple(column for table, column in keys if table == name),
            engine=engine,
            is_transactional=is_transactional,
        )
        for name, (engine, is_transactional) in engines.items()
    }


def _column(row: tuple[Any, ...]) -> ColumnFact:
    _, name, type_name, shape, length, precision, scale, digits, nullable, default, extra, collation, charset = row
    type_name = str(type_name).lower()
    more = str(extra).lower()
    bounds = digits if type_name in _CLOCKS else precision if type_name in _NUMBERS else None
    return ColumnFact(
        name=name,
        type=type_name,
        length=None if length is None else int(length),
        precision=None if bounds is None else int(bounds),
        scale=int(scale) if type_name == "decimal" and scale is not None else None,
        is_unsigned="unsigned" in str(shape).lower(),
        is_nullable=nullable == "YES",
        has_default=(default is not None and default != "NULL") or "auto_increment" in more,
        is_generated="generated" in more and "default_generated" not in more,
        is_enum=type_name in {"enum", "set"},
        is_case_blind=str(collation or "").lower().endswith("_ci"),
        charset=str(charset or "").lower(),
    )
