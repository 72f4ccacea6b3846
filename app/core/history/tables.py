"""Which tables the history has, and which rows a record of a topic leaves in them.

A row is named by where its record stands: partition and offset. Nothing is ever changed in place and nothing is
counted, so reading a record again, or the topics in another order, ends in the same tables. What belongs together is
put together by who asks (`app.core.history.changes`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.core.command import Approval, CommandOutcome, RepairCommand
from app.core.errors import Undecodable
from app.core.finding import Finding
from app.core.history.cells import Cell, Column, cell_of, cells_of, columns_of, record_of
from app.core.limits import NAME_LENGTH_MAX
from app.core.published import PublishedFinding
from app.core.rehearsal import Rehearsal
from app.core.signing import id_of_member
from app.core.switch import Control

Told = PublishedFinding | RepairCommand | Approval | Rehearsal | CommandOutcome | Control
"""A record that the history keeps."""

_PLACE: Final[Mapping[str, Column]] = {
    "place": Column.TEXT,
    "record_partition": Column.NUMBER,
    "record_offset": Column.NUMBER,
    "recorded_at_ms": Column.NUMBER,
}
_PLAIN_KEY: Final = "canonical_key"
_SEALED: Final[Mapping[str, Column]] = {
    "sealed_key": Column.TEXT,
    "key_hash": Column.TEXT,
    "connector_task": Column.TEXT,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands. `at_wall_ms` is Kafka's timestamp, which its writer may have set as it liked."""

    dataset: str
    partition: int
    offset: int
    at_wall_ms: int

    @property
    def name(self) -> str:
        """The record's name within its topic."""
        return f"{self.partition}@{self.offset}"


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns, those that name a row, and those that are searched."""

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...] = ("place",)
    searched: tuple[str, ...] = ()


_FINDING: Final = {name: column for name, column in columns_of(Finding).items() if name != _PLAIN_KEY}

FINDINGS: Final = Table("findings", {**_PLACE, **_FINDING, **_SEALED}, searched=("finding_id", "key_hash"))
COMMANDS: Final = Table(
    "commands",
    {**_PLACE, **columns_of(RepairCommand)},
    searched=("command_id", "finding_id", "key_hash", "key_id", "recorded_at_ms"),
)
WORDS: Final = Table("words", {**_PLACE, **columns_of(Approval)}, searched=("batch_id", "key_id"))
MEMBERS: Final = Table(
    "members",
    {"place": Column.TEXT, "ordinal": Column.NUMBER, "command_id": Column.TEXT},
    key=("place", "ordinal"),
    searched=("command_id",),
)
OUTCOMES: Final = Table("outcomes", {**_PLACE, **columns_of(CommandOutcome)}, searched=("command_id", "recorded_at_ms"))
REHEARSALS: Final = Table("rehearsals", {**_PLACE, **columns_of(Rehearsal)}, searched=("command_id",))
SWITCHES: Final = Table("switches", {**_PLACE, **columns_of(Control)}, searched=("recorded_at_ms",))
UNREADABLE: Final = Table(
    "unreadable", {"dataset": Column.TEXT, **_PLACE, "reason": Column.TEXT}, key=("dataset", "place")
)
TABLES: Final = (FINDINGS, COMMANDS, WORDS, MEMBERS, REHEARSALS, OUTCOMES, SWITCHES, UNREADABLE)

FORMAT: Final = hashlib.blake2b(repr(TABLES).encode(), digest_size=8, person=b"driftline-hist").hexdigest()
"""Names this form of the tables: tables of another one are made anew from the topics."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row, and the table that it belongs in."""

    table: Table
    cells: Mapping[str, Cell]


def _entry(table: Table, cells: Mapping[str, Cell]) -> Entry:
    """Return a row; `Undecodable` if a name in it is longer than an index of every database bears."""
    for name in table.searched:
        if len(str(cells[name])) > NAME_LENGTH_MAX:
            raise Undecodable("too_long", f"a {name} has more than {NAME_LENGTH_MAX} characters")
    return Entry(table, cells)


def _place_cells(place: Place) -> dict[str, Cell]:
    return {
        "place": place.name,
        "record_partition": place.partition,
        "record_offset": place.offset,
        "recorded_at_ms": place.at_wall_ms,
    }


def entries_of(place: Place, told: Told) -> Iterator[Entry]:
    """Yield the rows that a record leaves; `Undecodable` if it holds what no database can hold."""
    where = _place_cells(place)
    match told:
        case PublishedFinding():
            sealed = {name: cell_of(getattr(told, name)) for name in _SEALED}
            open_cells = {name: cell for name, cell in cells_of(told.finding).items() if name != _PLAIN_KEY}
            yield _entry(FINDINGS, {**where, **open_cells, **sealed})
        case RepairCommand():
            yield _entry(COMMANDS, {**where, **cells_of(told)})
        case Approval():
            yield _entry(WORDS, {**where, **cells_of(told)})
            for ordinal, member in enumerate(told.members):
                cells: dict[str, Cell] = {
                    "place": place.name,
                    "ordinal": ordinal,
                    "command_id": id_of_member(member).hex(),
                }
                yield _entry(MEMBERS, cells)
        case Rehearsal():
            yield _entry(REHEARSALS, {**where, **cells_of(told)})
        case CommandOutcome():
            yield _entry(OUTCOMES, {**where, **cells_of(told)})
        case Control():
            yield _entry(SWITCHES, {**where, **cells_of(told)})


def unreadable_entry(place: Place, reason: str) -> Entry:
    """Return the row of a record that cannot be read: where it stands and the closed word for why, no more."""
    return Entry(UNREADABLE, {"dataset": place.dataset, **_place_cells(place), "reason": reason})


def finding_of(row: Mapping[str, Cell]) -> PublishedFinding:
    """Return the finding of a row; its key in plain is empty, as it is on the topic."""
    finding = record_of(Finding, {**row, _PLAIN_KEY: ""})
    sealed = {name: str(row[name] or "") for name in _SEALED}
    return PublishedFinding(
        finding,
        bytes.fromhex(sealed["sealed_key"]),
        bytes.fromhex(sealed["key_hash"]),
        sealed["connector_task"],
    )
