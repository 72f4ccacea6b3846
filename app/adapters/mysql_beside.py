"""What a transaction in MariaDB or MySQL writes besides its rows: foreign keys that follow, and triggers.

Neither store tells it by table, and what a foreign key takes along is in no count and in no log. So before a statement
runs it is asked whether rows refer to those that it writes. Were the key to forbid the write, the store itself would
say no: where rows refer and the write goes through, they were touched. What triggers wrote shows in the session's
counts, which in MariaDB are those of real tables alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.adapters.mysql_references import Ask, Reference, rules
from app.adapters.sql_statements import RowStatement, Verb
from app.core.command import RefusalReason
from app.core.guard import Refused
from app.core.store import StoreKind

_COUNTED: Final = {"Handler_write": Verb.INSERT, "Handler_update": Verb.UPDATE, "Handler_delete": Verb.DELETE}
_HANDLED: Final = "SHOW SESSION STATUS WHERE variable_name IN ('Handler_write', 'Handler_update', 'Handler_delete')"
BY_TRIGGERS: Final = "what triggers write"
_ROW: Final = "driftline_row"
_OTHER: Final = "driftline_other"


def handled(ask: Ask) -> dict[Verb, int]:
    """Return how many rows this session has written so far, in whatever tables."""
    return {_COUNTED[str(name)]: int(rows) for name, rows in ask(_HANDLED, ())}


@dataclass(frozen=True, slots=True)
class Place:
    """A table as its statements name it, and what the catalogue finds it by.

    `computed` are the quoted names of columns that the store computes. `counts_rows`: the session counts each row that
    is written here once, as it does not where the table is in parts, or draws from a sequence, whose rows count too.
    """

    kind: StoreKind
    name: str
    found_by: Sequence[str]
    computed: frozenset[str]
    counts_rows: bool


@dataclass(frozen=True, slots=True)
class _Watched:
    """Rows that a foreign key may follow, by their keys, as they were; `again` selects them anew."""

    follower: str
    is_unread: bool
    before: Mapping[tuple[object, ...], tuple[object, ...]]
    again: tuple[str, Sequence[object]]


class MysqlBeside:
    """What one transaction touches besides its rows; it is to be told of each statement before that runs.

    `referring_to` tells what foreign keys refer to a table.
    """

    def __init__(
        self, ask: Ask, places: Iterable[Place], referring_to: Callable[[Ask, Place], Sequence[Reference]]
    ) -> None:
        self._ask = ask
        self._referring_to = referring_to
        self._places = {place.name: place for place in places}
        self._is_counting = all(p.kind is StoreKind.MARIADB and p.counts_rows for p in self._places.values())
        self._touched: dict[str, None] = {}
        self._unread: dict[str, None] = {}
        self._watched: list[_Watched] = []
        self._own: Counter[Verb] = Counter()
        self._before: Mapping[Verb, int] = {}

    def count_anew(self) -> None:
        """Forget what was found, and count from here on: the session counts what was rolled back to a savepoint too."""
        self._touched.clear()
        self._unread.clear()
        self._watched.clear()
        self._own.clear()
        self._before = handled(self._ask) if self._is_counting else {}

    def look_before(self, statements: Sequence[RowStatement]) -> None:
        """Look for what statements of one form will touch besides their rows."""
        first = statements[0]
        self._own[first.verb] += len(statements)
        if first.verb is Verb.INSERT:
            return
        place = self._places[first.table]
        for reference in self._referring_to(self._ask, place):
            if first.verb is Verb.DELETE:
                self._look_before_deletes(place, reference, statements)
            elif not {*first.columns, *place.computed}.isdisjoint(reference.referred):
                self._look_before_updates(place, reference, statements)

    def _look_before_deletes(self, place: Place, reference: Reference, statements: Sequence[RowStatement]) -> None:
        rows, keys = _found_by(_ROW, statements)
        refers = _refers(reference)
        parameters = keys
        if reference.quoted_table == place.name:
            # Rows that this transaction deletes itself are in its ledger, and are missed among its own if they went.
            others, _ = _found_by(_OTHER, statements)
            refers, parameters = f"{refers} AND NOT ({others})", [*keys, *keys]
        text = f"SELECT 1 FROM {place.name} AS {_ROW} WHERE ({rows}) AND EXISTS ({refers}) LIMIT 1"  # noqa: S608 - quoted names only
        try:
            if self._ask(text, parameters):
                self._touched[reference.table] = None
        except Refused as no:
            if self._may_follow(place, reference, Verb.DELETE, no):
                self._unread[reference.table] = None

    def _look_before_updates(self, place: Place, reference: Reference, statements: Sequence[RowStatement]) -> None:
        rows, keys = _found_by(_ROW, statements)
        columns = ", ".join(f"{_ROW}.{name}" for name in (*statements[0].keys, *reference.referred))
        again = f"SELECT {columns} FROM {place.name} AS {_ROW} WHERE ({rows})"  # noqa: S608 - likewise
        is_unread = False
        try:
            found = self._ask(f"{again} AND EXISTS ({_refers(reference)})", keys)
        except Refused as no:
            if not self._may_follow(place, reference, Verb.UPDATE, no):
                return
            is_unread, found = True, self._ask(again, keys)
        if found:
            before = _by_key(found, len(statements[0].keys))
            self._watched.append(_Watched(reference.table, is_unread, before, (again, keys)))

    def _may_follow(self, place: Place, reference: Reference, verb: Verb, no: Refused) -> bool:
        """Tell whether a key follows such a statement whose table the role may not read."""
        if no.reason is not RefusalReason.NO_RIGHT:
            raise no
        try:
            found = rules(self._ask, place.kind, reference)
        except Refused:
            return True
        return found is None or verb.name in found

    def named(self) -> tuple[str, ...]:
        """Name what was touched besides the rows; `Refused` where the role may not see whether anything was.

        That holds the command: only a person can give the right, and a refusal would be for ever.
        """
        touched, unread = dict(self._touched), dict(self._unread)
        for watched in self._watched:
            after = _by_key(self._ask(*watched.again), len(next(iter(watched.before))))
            if any(after.get(key) != values for key, values in watched.before.items()):
                (unread if watched.is_unread else touched)[watched.follower] = None
        if self._before:
            now = handled(self._ask)
            if any(rows > self._before[verb] + self._own[verb] for verb, rows in now.items()):
                touched[BY_TRIGGERS] = None
        if unread and not touched:
            what = f"the role apply needs SELECT on {', '.join(unread)}, whose rows may go along"
            raise Refused(RefusalReason.NO_RIGHT, what)
        return tuple(touched)


def _refers(reference: Reference) -> str:
    """Return the query for rows that refer to a row."""
    same = " AND ".join(f"{_OTHER}.{column} = {_ROW}.{referred}" for column, referred in reference.columns)
    return f"SELECT 1 FROM {reference.quoted_table} AS {_OTHER} WHERE {same}"  # noqa: S608 - quoted names only


def _found_by(alias: str, statements: Sequence[RowStatement]) -> tuple[str, list[object]]:
    """Return the condition that finds the rows of statements, and what is bound to it."""
    keys = statements[0].keys
    bound = [each.values[len(each.columns) :] for each in statements]
    if len(keys) == 1:
        condition = f"{alias}.{keys[0]} IN ({', '.join(['%s'] * len(bound))})"
    else:
        condition = " OR ".join([f"({' AND '.join(f'{alias}.{key} = %s' for key in keys)})"] * len(bound))
    return condition, [value for values in bound for value in values]


def _by_key(rows: Iterable[Sequence[object]], width: int) -> dict[tuple[object, ...], tuple[object, ...]]:
    return {tuple(row[:width]): tuple(row[width:]) for row in rows}
