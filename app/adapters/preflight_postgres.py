"""What `driftline check` needs to know of a PostgreSQL database, from its catalogue."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import psycopg

from app.adapters.sql_clients import Use, connect_postgres
from app.core.errors import Unready
from app.core.preflight.databases import OWN_FUNCTIONS
from app.core.preflight.facts import ColumnFact, DatabaseFacts, PublicationFact, TableFact
from app.settings import StoreSettings

_SETTINGS: Final = ("wal_level", "server_encoding", "server_version")

_COLUMNS: Final = """
SELECT n.nspname || '.' || c.relname, c.relreplident::text, a.attname,
       coalesce(e.typname, b.typname, t.typname)::text, coalesce(e.typtype, b.typtype, t.typtype)::text,
       e.oid IS NOT NULL, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
       a.attnotnull, a.atthasdef OR a.attidentity <> '', a.attgenerated <> '',
       coalesce(NOT l.collisdeterministic, false)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  JOIN pg_type t ON t.oid = a.atttypid
  LEFT JOIN pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
  LEFT JOIN pg_type e ON e.oid = coalesce(b.typelem, t.typelem) AND coalesce(b.typcategory, t.typcategory) = 'A'
  LEFT JOIN pg_collation l ON l.oid = a.attcollation
 WHERE c.relkind IN ('r', 'p') AND n.nspname || '.' || c.relname = ANY(%s)
 ORDER BY 1, a.attnum
"""
_KEYS: Final = """
SELECT n.nspname || '.' || c.relname, a.attname
  FROM pg_index i
  JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
 WHERE i.indisprimary AND n.nspname || '.' || c.relname = ANY(%s)
 ORDER BY 1, array_position(i.indkey::int2[], a.attnum)
"""
# As JSON, since columns and row filters are known from PostgreSQL 15 only.
_PUBLISHED: Final = """
SELECT schemaname || '.' || tablename, to_jsonb(p) FROM pg_publication_tables p
 WHERE %(name)s::text IS NULL OR pubname = %(name)s
"""
_PUBLICATION: Final = """
SELECT pubname::text, pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication WHERE pubname = %s
"""
_FUNCTIONS: Final = """
SELECT n.nspname || '.' || p.proname
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.proname = ANY(%s)
"""
_TYPMOD_HEADER: Final = 4
_LENGTHS: Final = frozenset({"varchar", "bpchar"})
_CLOCKS: Final = frozenset({"timestamp", "timestamptz", "time", "timetz", "interval"})
_FINEST: Final = 6


def read_postgres(store: StoreSettings, tables: Collection[str], publication: str | None) -> DatabaseFacts:
    """Return what the catalogue says of the tables; `publication` is the connector's, None for any."""
    try:
        with connect_postgres(store, "read", Use.READ) as connection:
            names = list(tables)
            settings = {name: _text(connection, f"SHOW {name}") for name in _SETTINGS}
            columns = connection.execute(_COLUMNS, [names]).fetchall()
            keys = connection.execute(_KEYS, [names]).fetchall()
            published = dict(connection.execute(_PUBLISHED, {"name": publication}).fetchall())
            functions = frozenset(name for (name,) in connection.execute(_FUNCTIONS, [list(OWN_FUNCTIONS)]).fetchall())
            passes = connection.execute(_PUBLICATION, [publication]).fetchone() if publication else None
    except (psycopg.Error, OSError) as error:
        where = f"store {store.name} at {store.host}:{store.port}"
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unready(f"cannot be asked: {first_line}", where=where, hint="check address, role and grants") from error
    return DatabaseFacts(
        settings=settings,
        tables=_tables(columns, keys, published),
        publication=PublicationFact(*passes) if passes else None,
        functions=functions,
    )


def _text(connection: psycopg.Connection[Any], query: str) -> str:
    row = connection.execute(query.encode()).fetchone()
    return str(row[0]) if row else ""


def _tables(
    columns: list[tuple[Any, ...]], keys: list[tuple[Any, ...]], published: Mapping[str, Mapping[str, Any]]
) -> dict[str, TableFact]:
    by_table: dict[str, list[tuple[Any, ...]]] = {}
    for row in columns:
        by_table.setdefault(row[0], []).append(row)
    found = {}
    for name, rows in by_table.items():
        entry = published.get(name)
        listed = entry.get("attnames") if entry else None
        found[name] = TableFact(
            table=name,
            columns=tuple(_column(row) for row in rows),
            primary_key=tuple(column for table, column in keys if table == name),
            replica_identity=rows[0][1],
            is_published=entry is not None,
            published_columns=tuple(listed) if listed is not None else None,
            has_row_filter=bool(entry and entry.get("rowfilter")),
        )
    return found


def _column(row: tuple[Any, ...]) -> ColumnFact:
    _, _, name, type_name, kind, is_array, modifier, is_not_null, has_default, is_generated, is_blind = row
    length, precision, scale = _bounds(type_name, modifier)
    return ColumnFact(
        name=name,
        type=type_name,
        length=length,
        precision=precision,
        scale=scale,
        is_nullable=not is_not_null,
        has_default=has_default and not is_generated,
        is_generated=is_generated,
        is_array=is_array,
        is_enum=kind == "e",
        is_case_blind=is_blind or type_name == "citext",
    )


def _bounds(type_name: str, modifier: int) -> tuple[int | None, int | None, int | None]:
    """Return length, precision and scale from a type's modifier (-1: none)."""
    if type_name in _CLOCKS:
        return None, _FINEST if modifier < 0 else modifier & 0xFFFF, None
    if modifier < 0:
        return None, None, None
    if type_name in _LENGTHS:
        return modifier - _TYPMOD_HEADER, None, None
    if type_name == "numeric":
        packed = modifier - _TYPMOD_HEADER
        # The scale is signed, in eleven bits.
        return None, (packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400
    return modifier if type_name in {"bit", "varbit"} else None, None, None
