"""What is there: a store's tables, the target's ledger, and the topic of outcomes, read by SQL and a bare consumer."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import fastavro
from engine_judge.topics import read_whole

from repair_judge.story import COLUMNS, Row

FRAME_BYTES: Final = 5  # a zero byte and the schema's id


@dataclass(frozen=True, slots=True)
class Held:
    """A row of a table, and its story: one letter for each write since it was made, `a` if the applier's."""

    row: Row
    story: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the ledger."""

    kind: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class Told:
    """A record on the topic of outcomes."""

    outcome: str
    reason: str


Table = Mapping[int, Held]


@dataclass
class Evidence:
    """Everything of one target and its authority; ledger and outcomes by the command's id, in hexadecimal digits.

    `elsewhere` is a table of the target that stands in no contract.
    """

    target: Table
    authority: Table
    elsewhere: Table
    ledger: Mapping[str, list[Entry]] = field(default_factory=dict)
    outcomes: Mapping[str, list[Told]] = field(default_factory=dict)


class Asks(Protocol):
    """Runs a statement in one database."""

    def __call__(self, text: str, /) -> list[tuple[Any, ...]]:
        """Return the rows that it gives."""
        ...


def table_of(ask: Asks, name: str) -> dict[int, Held]:
    """Read a whole table."""
    rows = ask(f"SELECT id, {', '.join(COLUMNS)}, story FROM {name}")  # noqa: S608 - names of the drill
    return {int(number): Held(tuple(map(_plain, values)), str(story)) for number, *values, story in rows}


def _plain(value: object) -> object:
    """Return a value in the one form that is compared: both drivers differ in zones and in what a truth value is."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
    return int(value) if isinstance(value, bool) else value


def ledger_of(ask: Asks, table: str) -> dict[str, list[Entry]]:
    """Read a whole ledger, by the command that each row speaks of."""
    found: dict[str, list[Entry]] = defaultdict(list)
    for original_id, *entry in ask(f"SELECT original_id, kind, outcome, reason FROM {table}"):  # noqa: S608
        found[str(original_id)].append(Entry(*map(str, entry)))
    return dict(found)


class OutcomeSchema:
    """Reads outcomes with the schema that the project ships."""

    def __init__(self, file: Path) -> None:
        self._schema = fastavro.parse_schema(json.loads(file.read_text(encoding="utf-8")))

    def read(self, value: bytes) -> tuple[str, Told, str]:
        """Return the command's id, what was said, and the store."""
        body: Any = fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), self._schema, None)
        return body["command_id"].hex(), Told(body["outcome"], body["reason"] or ""), body["target"]


def outcomes_of(bootstrap: str, topic: str, schema: OutcomeSchema, target: str) -> dict[str, list[Told]]:
    """Read all that was said of one target's commands."""
    read = (schema.read(record.value) for record in read_whole(bootstrap, topic) if record.value is not None)
    return by_command((command_id, told) for command_id, told, store in read if store == target)


def by_command(said: Iterable[tuple[str, Told]]) -> dict[str, list[Told]]:
    """Group what was said."""
    found: dict[str, list[Told]] = defaultdict(list)
    for command_id, told in said:
        found[command_id].append(told)
    return dict(found)
