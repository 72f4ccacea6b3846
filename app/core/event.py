"""One change of one row, or of one table, as its store's log told it. The same for every kind of store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Operation(Enum):
    """What happened, in Debezium's letters."""

    READ = "r"
    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    TRUNCATE = "t"
    MESSAGE = "m"


class Reading(Enum):
    """Whether an event is a change, or a row that was read."""

    LIVE = 0
    INITIAL = 1  # an initial (or repeated full) snapshot
    INCREMENTAL = 2  # a signalled re-read; it stands in the stream at its window's close


class LeftOut(Enum):
    """The type of `LEFT_OUT`: a column whose value the log did not carry."""

    TOKEN = 0


LEFT_OUT = LeftOut.TOKEN
"""Stands in a row image for a value that the log left out (TOAST, NOBLOB); never equal to any value."""


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """A decoded change.

    `key` and the row images map column names of the store to raw values as decoded: str, int, float, bool, None,
    bytes, list, dict, or `LEFT_OUT`. `place` is the order of the change within its own store's log, as bytes that
    compare as the log orders them (see `app.core.position`). `transaction` is the store's own id of the
    transaction (txId, GTID), empty for a snapshot. `source_ts_ms` is the store's clock: for display only.
    """

    operation: Operation
    reading: Reading
    table: str
    key: Mapping[str, object] | None
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None
    place: bytes
    transaction: str
    source_ts_ms: int
