"""Foreign keys that refer to a table of MariaDB or MySQL, as far as the catalogue shows them to a role.

It shows a role what concerns tables that it has some right on, and nothing of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from app.adapters.sql_statements import quoted
from app.core.store import StoreKind

_REFERENCES: Final = """
SELECT table_schema, table_name, constraint_name, column_name, referenced_column_name
  FROM information_schema.key_column_usage WHERE referenced_table_schema = %s AND referenced_table_name = %s
 ORDER BY table_schema, table_name, constraint_name, ordinal_position
"""
# The catalogue's own table of rules shows nothing to a role with rights on tables alone.
_RULE: Final = re.compile(r" ON (DELETE|UPDATE) (CASCADE|SET NULL)")

Ask = Callable[[str, Sequence[object]], Sequence[Sequence[Any]]]
"""Runs a statement and returns its rows; `Refused` where the role may not."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key of a table, whose name is here plain and quoted; its columns each with the one that it refers to.

    The columns are quoted.
    """

    table: str
    quoted_table: str
    name: str
    columns: Sequence[tuple[str, str]]

    @property
    def referred(self) -> tuple[str, ...]:
        """The columns that are referred to."""
        return tuple(referred for _, referred in self.columns)


def references(ask: Ask, kind: StoreKind, place: Sequence[str]) -> list[Reference]:
    """Return the foreign keys that refer to a table, which the catalogue finds by its place."""
    found = []
    for (schema, table, name), parts in groupby(ask(_REFERENCES, place), key=lambda row: tuple(row[:3])):
        theirs = f"{quoted(kind, schema)}.{quoted(kind, table)}"
        columns = [(quoted(kind, column), quoted(kind, referred)) for *_, column, referred in parts]
        found.append(Reference(f"{schema}.{table}", theirs, str(name), columns))
    return found


def rules(ask: Ask, kind: StoreKind, reference: Reference) -> Mapping[str, str] | None:
    """Return what a foreign key does on deletes and updates of what it refers to; None where it cannot be found."""
    ((_, text),) = ask(f"SHOW CREATE TABLE {reference.quoted_table}", ())
    named = f"CONSTRAINT {quoted(kind, reference.name)} FOREIGN KEY".replace("%%", "%")
    lines = [line for line in str(text).splitlines() if line.strip().startswith(named)]
    return dict(_RULE.findall(lines[0])) if lines else None
