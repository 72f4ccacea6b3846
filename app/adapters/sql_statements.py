"""Statements that write rows, as values: of one row by itself, and of many alike in one.

Names come from the contract or the catalogue and are quoted; values only ever travel as parameters. Both drivers format
with `%s`, so a `%` in a name is doubled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from app.adapters.sql_values import text_array
from app.core.store import StoreKind

_PORTION_BYTES: Final = 250_000
"""What goes into one statement at most, one row aside: servers bound what they take, and escapes double it at most."""


def quoted(kind: StoreKind, name: str) -> str:
    """Quote one name for a statement that takes parameters."""
    mark = '"' if kind is StoreKind.POSTGRES else "`"
    return mark + name.replace(mark, mark * 2).replace("%", "%%") + mark


class Verb(Enum):
    """What a statement does to a row."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class RowStatement:
    """A statement on one row of a table.

    `columns` are those that are written, `keys` those by which the row is found, both quoted; `values` are bound to
    them in this order. `forms` are the columns whose placeholder is another one than `%s`, and `way` stands before an
    INSERT's values.
    """

    verb: Verb
    table: str
    columns: tuple[str, ...]
    keys: tuple[str, ...]
    values: tuple[object, ...]
    forms: tuple[tuple[str, str], ...] = ()
    way: str = ""

    @property
    def form(self) -> tuple[object, ...]:
        """What statements have in common that differ in their values only."""
        return self.verb, self.table, self.columns, self.keys, self.forms, self.way

    @property
    def text(self) -> str:
        """The statement, to be run with `values`."""
        forms = dict(self.forms)
        marks = [forms.get(column, "%s") for column in self.columns]
        condition = " AND ".join(f"{key} = %s" for key in self.keys)
        match self.verb:
            case Verb.INSERT:
                return f"INSERT INTO {self.table} ({', '.join(self.columns)}) {self.way}VALUES ({', '.join(marks)})"
            case Verb.UPDATE:
                changes = ", ".join(f"{column} = {mark}" for column, mark in zip(self.columns, marks, strict=True))
                return f"UPDATE {self.table} SET {changes} WHERE {condition}"  # noqa: S608 - likewise
            case Verb.DELETE:
                return f"DELETE FROM {self.table} WHERE {condition}"  # noqa: S608 - likewise


def _bytes_of(value: object) -> int:
    """Return about how many bytes a value takes in a statement."""
    return 4 * len(value) if isinstance(value, str) else len(value) if isinstance(value, bytes) else 0


def alike(statements: Sequence[RowStatement]) -> Iterator[list[RowStatement]]:
    """Yield statements of the same form together, the forms in the order in which they come, in portions."""
    by_form: dict[tuple[object, ...], list[RowStatement]] = {}
    for statement in statements:
        by_form.setdefault(statement.form, []).append(statement)
    for found in by_form.values():
        portion: list[RowStatement] = []
        portion_bytes = 0
        text_bytes = len(found[0].text)
        for statement in found:
            row_bytes = text_bytes + sum(map(_bytes_of, statement.values))
            if portion and portion_bytes + row_bytes > _PORTION_BYTES:
                yield portion
                portion, portion_bytes = [], 0
            portion.append(statement)
            portion_bytes += row_bytes
        yield portion


def in_one(statements: Sequence[RowStatement], types: Mapping[str, str]) -> tuple[str, list[object]]:
    """Return one statement of PostgreSQL that does what some of the same form do, and what is bound to it.

    `types` are the columns' types by their quoted names. Each column's values travel as one array of texts, and each
    text is read as its column's type, as it is where it is bound alone.
    """
    first = statements[0]
    names = first.columns + first.keys
    new = [f"driftline_new.c{place}::{types[name]}" for place, name in enumerate(names)]
    arrays = ", ".join(["%s::text[]"] * len(names))
    source = f"unnest({arrays}) AS driftline_new({', '.join(f'c{place}' for place in range(len(names)))})"
    written, found = new[: len(first.columns)], new[len(first.columns) :]
    condition = " AND ".join(f"driftline_old.{key} = {value}" for key, value in zip(first.keys, found, strict=True))
    parameters: list[object] = [text_array(column) for column in zip(*(s.values for s in statements), strict=True)]
    match first.verb:
        case Verb.INSERT:
            into = f"INSERT INTO {first.table} ({', '.join(first.columns)}) {first.way}"
            text = f"{into}SELECT {', '.join(written)} FROM {source}"  # noqa: S608 - quoted names only
        case Verb.UPDATE:
            changes = ", ".join(f"{column} = {value}" for column, value in zip(first.columns, written, strict=True))
            text = f"UPDATE {first.table} AS driftline_old SET {changes} FROM {source} WHERE {condition}"  # noqa: S608
        case Verb.DELETE:
            text = f"DELETE FROM {first.table} AS driftline_old USING {source} WHERE {condition}"  # noqa: S608
    return text, parameters


def in_block(statements: Sequence[RowStatement]) -> tuple[str, list[object]]:
    """Return one statement of MariaDB that runs some of one form in turn, and selects how many rows they wrote."""
    count = "SET @driftline_written = @driftline_written + ROW_COUNT();"
    texts = f"{statements[0].text};{count}" * len(statements)
    text = f"BEGIN NOT ATOMIC SET @driftline_written = 0;{texts}SELECT @driftline_written;END"
    return text, [value for statement in statements for value in statement.values]
