"""What a transaction in MariaDB or MySQL has written besides its row, as far as these stores let it be known.

The session counts the rows that its statements and their triggers wrote, without naming tables, and not those that
foreign keys wrote; so these are counted before the write, where the role may read them. The catalogue shows a role only
what concerns tables that it may use, so what is told here is never called all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.adapters.mysql_beside import handled
from app.adapters.mysql_references import Ask, Reference, references, rules
from app.adapters.sql_statements import Verb, quoted
from app.adapters.sql_table import SqlTable
from app.core.guard import Refused
from app.core.rehearsal import UNCOUNTED, Tally, Touched
from app.core.store import StoreKind
from app.ports import Way

_VERBS: Final = {
    Way.INSERT: Verb.INSERT,
    Way.PUT_BACK: Verb.INSERT,
    Way.UPDATE: Verb.UPDATE,
    Way.RESTORE: Verb.UPDATE,
    Way.DELETE: Verb.DELETE,
}

_TRIGGERS: Final = """
SELECT trigger_name, event_manipulation FROM information_schema.triggers
 WHERE event_object_schema = %s AND event_object_table = %s ORDER BY trigger_name
"""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of another table to this one, and what it does to `rows` of it by which statement."""

    reference: Reference
    rules: Mapping[str, str]
    rows: int

    def touched(self, verb: Verb, written: Collection[str]) -> list[Touched]:
        """Return what it wrote after a statement on the row, by the quoted columns that this wrote."""
        table, through = self.reference.table, f"foreign key {self.reference.name}"
        if not self.rows:
            return []
        if verb is Verb.DELETE and self.rules.get("DELETE") == "CASCADE":
            return [Touched(table, deleted=self.rows, through=through)]
        if verb is Verb.DELETE and "DELETE" in self.rules:
            return [Touched(table, updated=self.rows, through=through)]
        # Whether the column that is referred to got another value is not known.
        is_written = not set(written).isdisjoint(self.reference.referred)
        if verb is Verb.UPDATE and is_written and "UPDATE" in self.rules:
            return [Touched(table, updated=UNCOUNTED, through=through)]
        return []


class MysqlTally:
    """What one transaction has written, counted from its first asking; it is to be told of its own statements.

    `rows` are its rows: the table of each, what the catalogue finds it by, and the row's canonical key.
    """

    def __init__(self, ask: Ask, rows: Sequence[tuple[SqlTable, Sequence[str], bytes]]) -> None:
        self._ask = ask
        self._rows = rows
        self._own: list[Verb] = []
        self._ledger_rows = 0
        self._before: Mapping[Verb, int] | None = None
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
            self._before = handled(self._ask)
            return Tally(is_complete=False)
        now, own = handled(self._ask), Counter(self._own)
        own_by_table: dict[str, Counter[Verb]] = {}
        for (table, _, _), verb in zip(self._rows, self._own, strict=False):
            own_by_table.setdefault(table.table, Counter())[verb] += 1
        touched = [_touched(table, counts) for table, counts in own_by_table.items()]
        surplus = {verb: max(0, now[verb] - self._before[verb] - own[verb]) for verb in Verb}
        surplus[Verb.INSERT] = max(0, surplus[Verb.INSERT] - self._ledger_rows)
        # MySQL counts the rows of its own temporary tables too.
        if any(surplus.values()) and self._rows[0][0].kind is StoreKind.MARIADB:
            touched.append(_touched("", surplus, self._triggers()))
        for keys, (table, _, _), verb in zip(self._keys, self._rows, self._own, strict=False):
            for key in keys:
                touched += key.touched(verb, [quoted(table.kind, column) for column in table.written])
        return Tally(tuple(touched), is_complete=False)

    def _triggers(self) -> str:
        """Name the triggers that these statements set off, as far as the role may see them."""
        places = {tuple(place) for _, place, _ in self._rows}
        found = [row for place in sorted(places) for row in self._ask(_TRIGGERS, place)]
        own = {verb.name for verb in self._own}
        names = [str(name) for name, verb in found if verb in own]
        return f"trigger {', '.join(names)}" if names else "triggers"

    def _foreign_keys(self, table: SqlTable, place: Sequence[str], key: bytes) -> Iterator[ForeignKey]:
        for reference in references(self._ask, table.kind, place):
            rule = rules(self._ask, table.kind, reference) or {}
            yield ForeignKey(reference, rule, self._referring(table, reference, key))

    def _referring(self, table: SqlTable, reference: Reference, key: bytes) -> int:
        """Count the rows of another table that refer to the row; `UNCOUNTED` where the role may not read them."""
        theirs, referred = reference.quoted_table, ", ".join(reference.referred)
        referring = ", ".join(column for column, _ in reference.columns)
        condition, parameters = table.where(key)
        row = f"SELECT {referred} FROM {table.name} WHERE {condition}"  # noqa: S608 - quoted names only
        try:
            ((rows,),) = self._ask(f"SELECT count(*) FROM {theirs} WHERE ({referring}) = ({row})", parameters)  # noqa: S608
        except Refused:
            return UNCOUNTED
        return int(rows)


def _touched(table: str, rows: Mapping[Verb, int], through: str = "") -> Touched:
    """Return what was written to a table, by the verbs of statements."""
    return Touched(table, rows[Verb.INSERT], rows[Verb.UPDATE], rows[Verb.DELETE], through)
