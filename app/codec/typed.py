"""Blocks of records -> the parts of each change that ingest needs, without an event for each.

A typed reader knows the columns of one table that are asked for; everything else it skips. It takes a change as its
connector usually writes it, and leaves alone whatever is anything else (a tombstone, a truncate, a heartbeat, an odd
value, nonsense): of those, the decoder of envelopes says what they are. A change that it takes means what the decoder
says, with one exception: a number beyond float64 in a part that is skipped goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Literal, Protocol

import msgspec

from app.codec import mysql, postgres
from app.codec.envelope import READINGS
from app.codec.placeholder import Placeholder
from app.core.event import LEFT_OUT, Reading
from app.core.store import StoreKind

ODD: Final = ...
"""Stands for a value that needs a closer look; no type takes it."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes of rows of one table, as columns.

    `at[i]` tells which of the records change i was. `places[i]` is None where what orders the change needs a closer
    look. `present` names the changes after which the row exists; `columns` holds the values of those, a list for each
    column that the reader was asked for, with `LEFT_OUT` where the log did not carry one.
    """

    at: list[int]
    places: list[bytes | None]
    transactions: list[int]
    readings: list[Reading]
    inserts: list[bool]
    present: list[int]
    columns: list[list[object]]


class TypedReader(Protocol):
    """Reads blocks of one table's records."""

    def read(self, records: Sequence[bytes | None]) -> Changes:
        """Return the usual changes among the records; `Unready` while what reading needs (a registry) is away."""
        ...

    def keys(self, records: Sequence[bytes | None]) -> Sequence[Mapping[str, object] | None]:
        """Return records' keys as `app.codec.envelope.Decoder` does; None for one that needs a closer look."""
        ...


class Envelope(Protocol):
    """A change whose images are of the columns that are asked for: `before` of the key's, `after` of all."""

    op: Literal["c", "u", "d", "r"]
    source: Any
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Shapes:
    """The types of one table's changes: of the whole, of `source`, and of the images before and after."""

    envelope: type[Envelope]
    source: type
    before: type
    after: type


Unpack = Callable[[Sequence[bytes | None]], list[Envelope | None]]
"""Unpacks records; None for one that is not as usual."""


UnpackKeys = Callable[[Sequence[bytes | None]], Sequence[Mapping[str, object] | None]]
"""Unpacks keys; None for one that is not as usual."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """How one kind of store fills `source`."""

    source: type
    places: Callable[[Sequence[Any], Sequence[bool]], list[bytes | None]]
    transactions: Callable[[Sequence[Any]], list[int]]


_BINLOG: Final = _Origin(mysql.Source, mysql.places_of, mysql.transactions_of)
_ORIGINS: Final = {
    StoreKind.POSTGRES: _Origin(postgres.Source, postgres.places_of, postgres.transactions_of),
    StoreKind.MARIADB: _BINLOG,
    StoreKind.MYSQL: _BINLOG,
}


def shapes_of(kind: StoreKind, key: Sequence[str], columns: Sequence[str]) -> Shapes | None:
    """Return the types for a table of a kind of store, None if that kind has no typed form.

    A column's place in `columns` is its name in the types: what a database allows as a name, Python need not.
    """
    origin = _ORIGINS.get(kind)
    if origin is None:
        return None
    after = _image("After", columns)
    before = _image("Before", key)
    fields: list[Any] = [
        ("op", Literal["c", "u", "d", "r"]),
        ("source", origin.source),
        ("before", before | None, None),
        ("after", after | None, None),
    ]
    envelope: Any = msgspec.defstruct("Envelope", fields, gc=False)
    return Shapes(envelope, origin.source, before, after)


def _image(name: str, columns: Sequence[str]) -> Any:  # noqa: ANN401 - a type made here
    names = {f"c{n}": column for n, column in enumerate(columns)}
    return msgspec.defstruct(name, [(n, object, msgspec.UNSET) for n in names], rename=names, gc=False)


class ColumnReader:
    """A typed reader over what unpacks its records. `key` are the columns of the contract's key, first in `columns`."""

    def __init__(
        self,
        kind: StoreKind,
        key: Sequence[str],
        columns: Sequence[str],
        unpack: Unpack,
        placeholder: Placeholder,
        keys: UnpackKeys,
        *,
        scan: bool,
    ) -> None:
        self._origin = _ORIGINS[kind]
        self._unpack = unpack
        self._placeholder = placeholder
        self._scan = scan
        self.keys = keys
        self._key_values = attrgetter(*(f"c{n}" for n in range(len(key))))
        self._columns = [attrgetter(f"c{n}") for n in range(len(columns))]

    def read(self, records: Sequence[bytes | None]) -> Changes:
        """Return the usual changes among the records."""
        at: list[int] = []
        readings: list[Reading] = []
        sources: list[Any] = []
        deletes: list[bool] = []
        inserts: list[bool] = []
        images: list[Any] = []
        present: list[int] = []
        key_values, live = self._key_values, Reading.LIVE
        for index, envelope in enumerate(self._unpack(records)):
            if envelope is None:
                continue
            op, image, reading = envelope.op, envelope.after, live
            if (image is None) is not (op == "d"):
                continue
            if op == "u":
                before = envelope.before
                if before is not None and key_values(before) != key_values(image):
                    continue  # the row may have moved from one key to another
            elif op == "r":
                marker = envelope.source.snapshot
                if marker not in READINGS:
                    continue
                reading = READINGS[marker]
            if image is not None:
                present.append(len(at))
                images.append(image)
            at.append(index)
            readings.append(reading)
            sources.append(envelope.source)
            deletes.append(image is None)
            inserts.append(op == "c")
        transactions = self._origin.transactions(sources)
        if len(set(readings)) > 1 or readings[:1] != [live]:
            transactions = [t if r is live else 0 for t, r in zip(transactions, readings, strict=True)]
        rows = [at[n] for n in present]
        columns = [self._column(list(map(column, images)), rows, records) for column in self._columns]
        return Changes(at, self._origin.places(sources, deletes), transactions, readings, inserts, present, columns)

    def _column(self, values: list[object], rows: list[int], records: Sequence[bytes | None]) -> list[object]:
        placeholder = self._placeholder
        try:
            if placeholder.is_none_of(values):
                return values
        except TypeError:  # containers have no hash
            pass
        # To the decoder of envelopes a placeholder that does not show in the record's bytes is a text like any other.
        return [
            value
            if not placeholder.is_value(value)
            else LEFT_OUT
            if not self._scan or placeholder.may_be_in(records[row] or b"")
            else ODD
            for value, row in zip(values, rows, strict=True)
        ]
