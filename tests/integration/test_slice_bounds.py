# ruff: noqa: S608 - constants of this test stand in the statements, never input
"""What only real databases show of slices: where each ends, in the store's own order of keys."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.adapters.slice_store import ROLE, SqlSliceStore
from app.adapters.sql_clients import Use, connect_mysql, connect_postgres
from app.core.conducting import Key, Look, Part
from app.core.contract import FieldKind, FieldType, KeyField, StoreTable
from app.core.store import StoreKind
from tests.contract.row_worlds import settings_of
from tests.integration.running_stack import running_stack
from tests.unit.core.story import contract

pytestmark = pytest.mark.stack

SLICE_ROWS = 5
NUMBERS = (-120, -7, -1, 0, *range(1, 13), 99, 100, 101, 1_000_000)
KEYS = {
    "numbers": ((FieldKind.INT64, "bigint"),),
    "texts": ((FieldKind.STRING, "varchar(20)"), (FieldKind.INT32, "integer")),
}


@pytest.fixture(params=[StoreKind.POSTGRES, StoreKind.MARIADB], ids=lambda kind: kind.value)
def admin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[SqlSliceStore, Any, str]]:
    """Yield a store, a cursor of its administrator, and a schema of this test's own."""
    kind: StoreKind = request.param
    settings = settings_of(kind, running_stack(kind.value)[kind.value], tmp_path)
    settings = replace(settings, roles={**settings.roles, ROLE: settings.roles["admin"]})
    schema = f"slices_{secrets.token_hex(4)}"
    connection: Any = (connect_postgres if kind is StoreKind.POSTGRES else connect_mysql)(settings, "admin", Use.ADMIN)
    store, cursor = SqlSliceStore(settings), connection.cursor()
    cursor.execute(f"CREATE SCHEMA {schema}")
    try:
        yield store, cursor, schema
    finally:
        store.close()
        cursor.execute(f"DROP SCHEMA {schema}{' CASCADE' if kind is StoreKind.POSTGRES else ''}")
        connection.commit()
        connection.close()


@pytest.mark.parametrize("keys", KEYS)
def test_every_slice_has_as_many_rows_as_it_was_to_have(admin: tuple[SqlSliceStore, Any, str], keys: str) -> None:
    """Numbers by their size, not as they are written: else a slice of a thousand rows may be half of a table."""
    store, cursor, schema = admin
    columns = [f"k{n}" for n in range(len(KEYS[keys]))]
    typed = ", ".join(f"{column} {sql} NOT NULL" for column, (_, sql) in zip(columns, KEYS[keys], strict=True))
    cursor.execute(f"CREATE TABLE {schema}.t ({typed}, PRIMARY KEY ({', '.join(columns)}))")
    for number in NUMBERS:
        cursor.execute(
            f"INSERT INTO {schema}.t VALUES ({', '.join(['%s'] * len(columns))})",
            (number,) if len(columns) == 1 else (f"{number % 3}", number),
        )
    cursor.connection.commit()
    name = store._store.name
    key = tuple(
        KeyField(column, FieldType(kind), {name: column}) for column, (kind, _) in zip(columns, KEYS[keys], strict=True)
    )
    table = StoreTable(name, f"{schema}.t", "unused")
    part = Part(replace(contract(pipeline=False), stores=(table,), key=key), name)
    after: Key = ()
    read: list[int] = []
    while not read or after:
        bound = store.bound(Look(part, after, SLICE_ROWS))
        where = store.condition(part, after, bound.end) or "1 = 1"
        cursor.execute(f"SELECT count(*) FROM {schema}.t WHERE {where}")
        assert list(cursor.fetchall()) == [(bound.rows,)]
        read.append(bound.rows)
        after = bound.end
    assert read == [SLICE_ROWS] * (len(NUMBERS) // SLICE_ROWS) + [len(NUMBERS) % SLICE_ROWS]
