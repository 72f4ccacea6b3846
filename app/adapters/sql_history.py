"""The history's tables in a SQL database; SQLite and PostgreSQL differ in how they are reached and in a few words.

Names come from `app.core.history.tables` alone and are quoted; whatever came from a topic is a parameter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final

from app.core.errors import ContractViolation
from app.core.history.cells import Cell, Column, Row
from app.core.history.tables import FORMAT, TABLES, Entry, Table
from app.ports import Span, Spans

_VALUES_AT_ONCE: Final = 500
_READ: Final = Table(
    "spans",
    {
        "dataset": Column.TEXT,
        "record_partition": Column.NUMBER,
        "first_offset": Column.NUMBER,
        "next_offset": Column.NUMBER,
    },
    key=("dataset", "record_partition"),
)
_WHOSE: Final = Table("history", {"deployment": Column.TEXT, "form": Column.TEXT}, key=("deployment",))
_TYPES: Final = {Column.TEXT: "TEXT", Column.NUMBER: "BIGINT"}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(_quoted, names))


class SqlHistory(ABC):
    """A history over one connection that begins no transaction by itself."""

    mark: str
    """What stands for a parameter."""

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment

    @abstractmethod
    def execute(self, text: str, parameters: Sequence[Cell] = ()) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; `Unready` if the database does not."""

    @abstractmethod
    def execute_many(self, text: str, parameters: Sequence[Sequence[Cell]]) -> None:
        """Run a statement once for each list of parameters."""

    @abstractmethod
    def table_names(self) -> set[str]:
        """Return the names of the tables that are there."""

    @abstractmethod
    def placed(self, name: str) -> str:
        """Return a table's name as a statement has it."""

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction that will write."""

    @abstractmethod
    def close(self) -> None:
        """Let the database go; harmless a second time."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Begin a transaction; it is committed behind the block, and undone if the block raises."""
        self.begin()
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def check(self) -> None:
        """Raise `ContractViolation` unless the tables are this deployment's and of this form."""
        form = self._form()
        if form is None:
            raise ContractViolation("there is no history yet", hint="`driftline history follow` makes it")
        if form != FORMAT:
            hint = "`driftline history rebuild` makes it anew from the topics"
            raise ContractViolation("the history was made by another version", hint=hint)

    def _form(self) -> str | None:
        """Return the form of the tables, None where there are none; raise if they are another deployment's."""
        if _WHOSE.name not in self.table_names():
            return None
        [(deployment, form)] = self.execute(f"SELECT {_listed(_WHOSE.columns)} FROM {self.placed(_WHOSE.name)}")  # noqa: S608 - declared names, here and below
        if deployment != self._deployment:
            raise ContractViolation("this is another deployment's history", hint="give each its own place")
        return str(form)

    def make(self) -> None:
        """Make the tables where they are not there yet."""
        if self._form() is None:
            for table in (_WHOSE, _READ, *TABLES):
                for statement in self._made(table):
                    self.execute(statement)
            self.add([Entry(_WHOSE, {"deployment": self._deployment, "form": FORMAT})])
        self.check()

    def _made(self, table: Table) -> Iterator[str]:
        columns = ", ".join(f"{_quoted(name)} {_TYPES[column]}" for name, column in table.columns.items())
        yield f"CREATE TABLE {self.placed(table.name)} ({columns}, PRIMARY KEY ({_listed(table.key)}))"
        for name in table.searched:
            index = _quoted(f"{table.name}_by_{name}")
            yield f"CREATE INDEX {index} ON {self.placed(table.name)} ({_quoted(name)})"

    def drop(self) -> None:
        """Drop the tables, of whatever form they are; `ContractViolation` if they are another deployment's."""
        self._form()
        there = self.table_names()
        for table in (_WHOSE, _READ, *TABLES):
            if table.name in there:
                self.execute(f"DROP TABLE {self.placed(table.name)}")

    def add(self, entries: Iterable[Entry]) -> None:
        """Add rows; one that is there already stays as it is."""
        for table, alike in groupby(sorted(entries, key=lambda e: e.table.name), key=lambda e: e.table):
            marks = ", ".join([self.mark] * len(table.columns))
            names = _listed(table.columns)
            self.execute_many(
                f"INSERT INTO {self.placed(table.name)} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608
                [[entry.cells[name] for name in table.columns] for entry in alike],
            )

    def spans(self) -> Spans:
        """Return what has been read so far."""
        found = self.execute(f"SELECT {_listed(_READ.columns)} FROM {self.placed(_READ.name)}")  # noqa: S608
        return {(dataset, partition): Span(first, after) for dataset, partition, first, after in found}

    def spans_of_any_form(self) -> Spans:
        """Return what tables of any version say that they have read; nothing where there are none."""
        return {} if self._form() is None else self.spans()

    def have_read(self, spans: Spans) -> None:
        """Remember what has been read besides what was remembered before."""
        before = self.spans()
        for (dataset, partition), span in spans.items():
            joined = span.joined(before.get((dataset, partition), span))
            where = f"{_quoted('dataset')} = {self.mark} AND {_quoted('record_partition')} = {self.mark}"
            self.execute(f"DELETE FROM {self.placed(_READ.name)} WHERE {where}", (dataset, partition))  # noqa: S608
            cells: dict[str, Cell] = {
                "dataset": dataset,
                "record_partition": partition,
                "first_offset": joined.first_offset,
                "next_offset": joined.next_offset,
            }
            self.add([Entry(_READ, cells)])

    def rows(self, table: Table, column: str, values: Iterable[str]) -> list[Row]:
        """Return the rows whose column has one of the values."""
        found: list[Row] = []
        wanted = list(dict.fromkeys(values))
        for start in range(0, len(wanted), _VALUES_AT_ONCE):
            part = wanted[start : start + _VALUES_AT_ONCE]
            marks = ", ".join([self.mark] * len(part))
            found += self._where(table, f"{_quoted(column)} IN ({marks})", part)
        return found

    def rows_beginning(self, table: Table, column: str, prefix: str) -> list[Row]:
        """Return the rows whose column begins with these hex digits."""
        return self._where(table, f"{_quoted(column)} LIKE {self.mark}", (prefix + "%",))

    def rows_between(self, table: Table, since_ms: int, until_ms: int) -> list[Row]:
        """Return the rows of records from one moment to before another, by Kafka's timestamps."""
        at = _quoted("recorded_at_ms")
        return self._where(table, f"{at} >= {self.mark} AND {at} < {self.mark}", (since_ms, until_ms))

    def _where(self, table: Table, condition: str, parameters: Sequence[Cell]) -> list[Row]:
        text = f"SELECT {_listed(table.columns)} FROM {self.placed(table.name)} WHERE {condition}"  # noqa: S608
        return [dict(zip(table.columns, row, strict=True)) for row in self.execute(text, parameters)]
