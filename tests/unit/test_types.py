"""The table of types: what the page says, what `check` allows and what the databases are tried with are one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from app.core.contract import FieldKind
from app.core.preflight.columns import types_of
from app.core.store import StoreKind
from tests.integration.value_matrix import EDGES, MATRIX, Column

PAGE: Final = Path(__file__).parents[2] / "docs" / "types.md"
KINDS: Final = (StoreKind.POSTGRES, StoreKind.MARIADB)
_ROW: Final = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
# What a catalogue calls a column that SQL declares by another name.
_CATALOGUE: Final = {
    StoreKind.POSTGRES: {
        "boolean": "bool",
        "smallint": "int2",
        "integer": "int4",
        "bigint": "int8",
        "real": "float4",
        "double precision": "float8",
        "char": "bpchar",
        "bit varying": "varbit",
    },
    StoreKind.MARIADB: {"boolean": "tinyint", "integer": "int"},
}


def name_of(kind: StoreKind, column: Column) -> str:
    """Return a column's type as a catalogue names it."""
    bare = re.match(r"[a-z0-9 ]+", column.sql_type.removesuffix("[]").removesuffix(" unsigned"))
    assert bare is not None
    word = bare[0].strip()
    return _CATALOGUE[kind].get(word, word)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.value))
def test_the_databases_are_tried_with_every_column_type_that_check_allows(kind: StoreKind) -> None:
    """Of each contract type; arrays of PostgreSQL by several of their elements'."""
    tried: dict[FieldKind, set[str]] = {}
    for family in MATRIX:
        tried.setdefault(family.type.kind, set()).update(name_of(kind, column) for column in family.columns(kind))
    allowed = types_of(kind)
    for contract_type in FieldKind:
        missing = allowed.get(contract_type, frozenset()) - tried.get(contract_type, set())
        assert missing == set(), contract_type


def test_the_databases_are_tried_with_nothing_that_check_refuses() -> None:
    """But for labels of an enum, whose type is its own."""
    for kind in KINDS:
        for family in MATRIX:
            types = types_of(kind).get((family.type.element or family.type).kind, frozenset())
            for column in family.columns(kind):
                name = name_of(kind, column)
                assert name in types or name in {"mood", "json"} or family.type.element, (family.name, column.sql_type)


def test_pairs_of_columns_are_tried_with_many_values_at_the_edges() -> None:
    """Forty types and more, with ten values and more, in both databases."""
    columns = sum(
        len({value.name for value, _ in family.held(kind, column)}) >= EDGES
        for kind in KINDS
        for family in MATRIX
        for column in family.columns(kind)
    )
    assert columns >= 4 * EDGES
    assert len({value.name for family in MATRIX for value in family.values}) >= 4 * EDGES * EDGES // 2


def test_the_page_of_types_is_what_check_allows() -> None:
    """Each contract type has one line, with the columns of each kind of store, in the order of the contract's list."""
    rows = {name: (mine, theirs) for name, _, mine, theirs, _ in _ROW.findall(PAGE.read_text(encoding="utf-8"))}
    assert list(rows) == [kind.value for kind in FieldKind]
    for contract_type in FieldKind:
        for kind, told in zip(KINDS, rows[contract_type.value], strict=True):
            if contract_type is FieldKind.ARRAY and kind is StoreKind.POSTGRES:
                continue
            listed = frozenset(re.findall(r"`(\w+)`", told))
            assert listed == types_of(kind)[contract_type], (contract_type, kind)
