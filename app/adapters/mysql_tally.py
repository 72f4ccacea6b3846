"""What a transaction in MariaDB or MySQL has written besides its row, as far as these stores let it be known.

The session counts the rows that its statements and their triggers wrote, without naming tables, and not those that
foreign keys wrote; so these are counted before the write, where the role may read them. The catalogue shows a role only
what concerns tables that it may use, so what is told here is never called all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from app.adapters.sql_statements import quoted
from app.adapters.sql_table import SqlTable
from app.core.guard import Refused
from app.core.rehearsal import UNCOUNTED, Tally, Touched
from app.core.store import StoreKind
from app.ports import Way

_COUNTED: Final = {"INSERT": "Handler_write", "UPDATE": "Handler_update", "DELETE": "Handler_delete"}
"""What a session counts the rows of each statement under."""
_VERBS: Final = {
    Way.INSERT: "INSERT",
    Way.PUT_BACK: "INSERT",
    Way.UPDATE: "UPDATE",
    Way.RESTORE: "UPDATE",
    Way.DELETE: "DELETE",
}

_HANDLED: Final = "SHOW SESSION STATUS WHERE variable_name IN ('Handler_write', 'Handler_update', 'Handler_delete')"
_TRIGGERS: Final = """
SELECT trigger_name, event_manipulation FROM information_schema.triggers
 WHERE event_object_schema = %s AND event_object_table = %s ORDER BY trigger_name
"""
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
class ForeignKey:
    """A foreign key of another table to this one, what it does to `rows` of it by which statement, and its columns."""

    table: str
    name: str
    rules: Mapping[str, str]
    columns: Sequence[tuple[str, str]]
    rows: int

    def touched(self, verb: str, written: Collection[str]) -> list[Touched]:
        """Return what it wrote after a statement on the row."""
        through = f"foreign key {self.name}"
        if not self.rows:
            return []
        if verb == "DELETE" and self.rules.get("DELETE") == "CASCADE":
            return [Touched(self.table, deleted=self.rows, through=through)]
        if verb == "DELETE" and "DELETE" in self.rules:
            return [Touched(self.table, updated=self.rows, through=through)]
        # Whether the column that is referred to got another value is not known.
        is_written = any(column in written for _, column in self.columns)
        if verb == "UPDATE" and is_written and "UPDATE" in self.rules:
            return [Touched(self.table, updated=UNCOUNTED, through=through)]
        return []


class MysqlTally:
    """What one transaction has written, counted from its first asking; it is to be told of its own statements.

    `rows` are its rows: the table of each, what the catalogue finds it by, and the row's canonical key.
    """

    def __init__(self, ask: Ask, rows: Sequence[tuple[SqlTable, Sequence[str], bytes]]) -> None:
        self._ask = ask
        self._rows = rows
        self._own: list[str] = []
        self._ledger_rows = 0
        self._before: Mapping[str, int] | None = None
        self._keys: list[list[ForeignKey]] = []

    def wrote(self, ways: Iterable[Way]) -> None:
        """Note how the rows themselves were written."""
        self._own = [_VERBS[way] for way in ways]

    def recorded(self, rows: int) -> None:
        """Note ledger rows, which are not told."""
        self._ledger_rows += rows

    def taken(self) -> Tally:
        """Return what was written so far."""
        if self._before is None:
            self._keys = [list(self._foreign_keys(*row)) for row in self._rows]
            self._before = self._counted()
            return Tally(is_complete=False)
        now, own = self._counted(), Counter(self._own)
        own_by_table: dict[str, Counter[str]] = {}
        for (table, _, _), verb in zip(self._rows, self._own, strict=False):
            own_by_table.setdefault(table.table, Counter())[verb] += 1
        touched = [_touched(table, counts) for table, counts in own_by_table.items()]
        surplus = {verb: max(0, now[verb] - self._before[verb] - own[verb]) for verb in _COUNTED}
        surplus["INSERT"] = max(0, surplus["INSERT"] - self._ledger_rows)
        # MySQL counts the rows of its own temporary tables too.
        if any(surplus.values()) and self._rows[0][0].kind is StoreKind.MARIADB:
            touched.append(_touched("", surplus, self._triggers()))
        for keys, (table, _, _), verb in zip(self._keys, self._rows, self._own, strict=False):
            for key in keys:
                touched += key.touched(verb, table.written)
        return Tally(tuple(touched), is_complete=False)

    def _counted(self) -> dict[str, int]:
        found = {str(name): int(rows) for name, rows in self._ask(_HANDLED, ())}
        return {verb: found[name] for verb, name in _COUNTED.items()}

    def _triggers(self) -> str:
        """Name the triggers that these statements set off, as far as the role may see them."""
        places = {tuple(place) for _, place, _ in self._rows}
        found = [row for place in sorted(places) for row in self._ask(_TRIGGERS, place)]
        names = [str(name) for name, verb in found if verb in self._own]
        return f"trigger {', '.join(names)}" if names else "triggers"

    def _foreign_keys(self, table: SqlTable, place: Sequence[str], key: bytes) -> Iterator[ForeignKey]:
        found = self._ask(_REFERENCES, place)
        for (schema, name, constraint), parts in groupby(found, key=lambda row: tuple(row[:3])):
            theirs = f"{quoted(table.kind, schema)}.{quoted(table.kind, name)}"
            columns = [(str(column), str(referenced)) for *_, column, referenced in parts]
            rules = self._rules(table.kind, theirs, constraint)
            rows = self._referring(table, theirs, columns, key)
            yield ForeignKey(f"{schema}.{name}", constraint, rules, columns, rows)

    def _rules(self, kind: StoreKind, table: str, name: str) -> dict[str, str]:
        """Return what a foreign key does on deletes and updates of what it refers to."""
        ((_, text),) = self._ask(f"SHOW CREATE TABLE {table}", ())
        named = f"CONSTRAINT {quoted(kind, name)} FOREIGN KEY"
        lines = [line for line in str(text).splitlines() if line.strip().startswith(named)]
        return dict(_RULE.findall(lines[0])) if lines else {}

    def _referring(self, table: SqlTable, theirs: str, columns: Sequence[tuple[str, str]], key: bytes) -> int:
        """Count the rows of another table that refer to the row; `UNCOUNTED` where the role may not read them."""
        referring = ", ".join(quoted(table.kind, column) for column, _ in columns)
        referred = ", ".join(quoted(table.kind, column) for _, column in columns)
        condition, parameters = table.where(key)
        row = f"SELECT {referred} FROM {table.name} WHERE {condition}"  # noqa: S608 - quoted names only
        try:
            ((rows,),) = self._ask(f"SELECT count(*) FROM {theirs} WHERE ({referring}) = ({row})", parameters)  # noqa: S608
        except Refused:
            return UNCOUNTED
        return int(rows)


def _touched(table: str, rows: Mapping[str, int], through: str = "") -> Touched:
    """Return what was written to a table, by the verbs of statements."""
    return Touched(table, rows["INSERT"], rows["UPDATE"], rows["DELETE"], through)
