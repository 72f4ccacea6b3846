"""What the shells need of the world, as protocols. Each has an in-memory and a real form, held to one suite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from app.core.errors import Undecodable
from app.core.guard import Fence, Refused
from app.core.history.cells import Row
from app.core.history.tables import Entry, Table
from app.core.ledger import LedgerCounts, LedgerRow
from app.core.rehearsal import Tally


class StateStore(Protocol):
    """Per-partition key-value state with a changelog behind it."""

    def multi_get(self, partition: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order."""
        ...

    def write_many(self, partition: int, items: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write in one batch, then to the changelog; None deletes."""
        ...

    def scan(self, partition: int, start: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` items with start <= key < end, in the order of keys."""
        ...

    def partitions(self) -> Iterator[int]:
        """Return the partitions that this worker holds."""
        ...


class PartitionState(Protocol):
    """One partition of the state on disk: a cache of its changelog up to an offset.

    Every call may raise `app.core.errors.StateDamaged` where the disk does not give back what was written, and
    `app.core.errors.DiskFull`.
    """

    def multi_get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of `keys`, in their order; quickest where the keys are sorted."""
        ...

    def items(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Return the items with start <= key < end, in the order of keys."""
        ...

    def write(self, items: Iterable[tuple[bytes, bytes | None]], offset: int) -> None:
        """Write in one batch, together with the changelog's offset that this brings the state to; None deletes."""
        ...

    def offset(self) -> int | None:
        """Return the changelog's offset that the state stands at, None where nothing was ever written."""
        ...

    def close(self) -> None:
        """Close; harmless a second time."""
        ...


class Rebuild(Enum):
    """Why a partition's folder was deleted."""

    DAMAGED = "damaged"  # the disk did not give back what was written
    FOREIGN = "foreign"  # it belonged to another deployment, partition or changelog


class StateNews(Protocol):
    """Is told what becomes of the state."""

    def rebuilding(self, partition: int, why: Rebuild, what: str) -> None:
        """Hear that a folder was deleted and the partition is read again from its changelog."""
        ...


class Sink(Protocol):
    """A producer of Kafka records."""

    def send(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Hand over one record; a failed delivery is raised by the next `flush`."""
        ...

    def flush(self) -> None:
        """Wait until everything handed over is acknowledged; raise if anything was not."""
        ...


@dataclass(frozen=True, slots=True)
class RowRead:
    """One row as the contract sees it: its row digest (empty: no row), and its canonical values by field."""

    digest: bytes = b""
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WholeRow:
    """A row as the contract sees it, and all of its columns as text, for the ledger; an absent row has no image."""

    read: RowRead
    image: bytes = b""


class AlreadyRecorded(Exception):
    """The ledger holds a row under this id: whatever it says stands."""


class RowsRefused(Exception):
    """The store says no to these rows of a transaction, by their places among them, in whatever order they come.

    `unique_fields`: of those to which a unique index says no, the fields that it is over; only where they are known,
    and it is over nothing else.
    """

    def __init__(
        self, by_place: Mapping[int, Refused], unique_fields: Mapping[int, tuple[str, ...]] | None = None
    ) -> None:
        super().__init__()
        self.by_place = by_place
        self.unique_fields = unique_fields or {}


RowName = tuple[str, bytes]
"""A row by its entity and its canonical key."""

UNREADABLE: Final = b"unreadable"
"""The digest of a row that is there and that the contract cannot read: no state that anybody ever judged."""


class Way(Enum):
    """How a row is written."""

    INSERT = "insert"  # the contract's columns, by a plain INSERT
    UPDATE = "update"  # the contract's columns that are given, by key
    DELETE = "delete"  # by key
    RESTORE = "restore"  # the contract's columns, by key, to what a before-image has
    PUT_BACK = "put_back"  # all of its columns as a before-image has them, by a plain INSERT


@dataclass(frozen=True, slots=True)
class RowWrite:
    """What is done to one row: `values` for an insert and an update, `image` for the two that undo."""

    way: Way
    values: Mapping[str, object] = field(default_factory=dict)
    image: bytes = b""


class RowTransaction(Protocol):
    """One READ COMMITTED transaction on some rows of one target, each named once. No call waits for a lock.

    What is said of several rows is said in their order. Every call may raise `app.core.guard.Refused` (the store says
    no to one of the rows, and why), `app.core.errors.Unready` (the store is gone or overloaded: whether a commit took
    place is for the ledger to say), and `AlreadyRecorded` for `record`. A transaction that ends in anything but
    `commit` leaves nothing behind.
    """

    def fence(self) -> Fence:
        """Lock the target's own flags in share mode and return what they say."""
        ...

    def look(self) -> list[WholeRow]:
        """Read the rows without a lock; behind a write, as this transaction left them."""
        ...

    def record(self, rows: Sequence[LedgerRow]) -> None:
        """Insert ledger rows."""
        ...

    def lock(self) -> list[WholeRow]:
        """Lock the rows for writing, in the order of their keys, and read them again; an absent row has no lock."""
        ...

    def write(self, writes: Sequence[RowWrite]) -> int:
        """Write each row in its way; return how many rows the store says were written.

        They come one after the other, but for those that others of them stand in the way of (a unique value that is to
        be freed, a parent that is to come). `RowsRefused` names the rows that cannot be written in any order.
        """
        ...

    def read_back(self) -> list[RowRead]:
        """Read the rows as this transaction left them."""
        ...

    def other_tables(self) -> tuple[str, ...]:
        """Name the tables that this transaction wrote besides its rows and the ledger, where the store can tell."""
        ...

    def tally(self) -> Tally:
        """Have the store check now what it would check at the commit, and tell what was written since the first asking.

        For rehearsals, which ask once before anything is written.
        """
        ...

    def commit(self) -> str:
        """Commit, and return the store's own id of the transaction; empty where it cannot tell."""
        ...

    def rollback(self) -> None:
        """Undo everything; harmless after a commit."""
        ...


@dataclass(frozen=True, slots=True)
class Strain:
    """How a store bears being written.

    `answered_ms` is how long those statements took on average, since it was last asked, that are the same whatever is
    written; `lag_ms` how far the store's own replicas are behind, 0 where it does not tell.
    """

    answered_ms: float
    lag_ms: int = 0


class RowStore(Protocol):
    """One store, row by row: reads by key, guarded writes, and the ledger beside them. Keys are canonical keys."""

    def read(self, rows: Sequence[RowName]) -> list[RowRead]:
        """Read committed rows on a connection of its own, those of one table at one moment."""
        ...

    def spelling(self, entity: str, values: Mapping[str, object]) -> bytes:
        """Return the keyed digest of how a row is spelled, by its canonical values; empty where one is not there."""
        ...

    def begin(self, rows: Sequence[RowName]) -> RowTransaction:
        """Begin a guarded transaction; refuses tables without transactions."""
        ...

    def recorded(self, row_ids: Sequence[bytes]) -> dict[bytes, LedgerRow]:
        """Return those ledger rows that there are of these ids."""
        ...

    def ledger_rows(self) -> Iterator[LedgerRow]:
        """Yield the whole ledger by partition and sequence."""
        ...

    def record_alone(self, rows: Sequence[LedgerRow]) -> None:
        """Write ledger rows in a transaction of their own; `AlreadyRecorded`, and none is, if an id is taken."""
        ...

    def counts(self, rows: Sequence[tuple[str, bytes]], now_wall_ms: int) -> list[LedgerCounts]:
        """Count what the ledger holds of the last minute, and of each row, by entity and key hash, in the last hour."""
        ...

    def table_rows(self, entity: str) -> int:
        """Return about how many rows an entity's table has; `Refused` where it is not there."""
        ...

    def strain(self) -> Strain:
        """Return how the store bears being written now."""
        ...

    def unchecked_inserts(self, limit: int) -> list[LedgerRow]:
        """Return applied inserts whose check is not in the ledger, oldest first.

        They are looked for among the newest rows of each partition (`app.core.ledger.UNCHECKED_AMONG`).
        """
        ...


class KeyNotHeld(Undecodable):
    """What was sealed needs a key that is not here: somebody may bring it back, or it was retired for good."""

    def __init__(self, what: str, *, where: str = "") -> None:
        super().__init__("seal", what, where=where, hint="was the key retired, or is it on another host alone?")


class MasterKeys(Protocol):
    """Wraps the keys that before-images are sealed with: files in a folder, or a service that never gives its own out.

    An id has 1 to 64 bytes. Every call may raise `Unready`: the service does not answer, or may not be asked now.
    """

    def newest(self) -> bytes:
        """Return the id of the key that wraps now."""
        ...

    def wrap(self, key_id: bytes, data_key: bytes) -> bytes:
        """Wrap a data key of 32 bytes; at most 65,535 come out."""
        ...

    def unwrap(self, key_id: bytes, wrapped: bytes) -> bytes:
        """Unwrap a data key; `KeyNotHeld` without that master key, `Undecodable` if it was not wrapped by it."""
        ...


class Seals(Protocol):
    """Seals canonical keys and before-images, and opens keys. What was sealed says under which key."""

    def seal_key(self, entity: str, canonical_key: bytes) -> bytes:
        """Seal a canonical key for a public topic; the same key gives the same bytes."""
        ...

    def open_key(self, entity: str, sealed: bytes) -> bytes:
        """Open a sealed key; `Undecodable` if it was not sealed with a key of ours, for this entity."""
        ...

    def seal_image(self, row_id: bytes, image: bytes) -> bytes:
        """Seal a before-image for the ledger row of this id."""
        ...

    def open_image(self, row_id: bytes, sealed: bytes) -> bytes:
        """Open the before-image of the ledger row of this id; `Undecodable` if it is not that, or `KeyNotHeld`."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """What the history has read of one partition: from its first record on, and up to before `next_offset`."""

    first_offset: int
    next_offset: int

    def joined(self, other: Span) -> Span:
        """Return what has been read by both together."""
        return Span(min(self.first_offset, other.first_offset), max(self.next_offset, other.next_offset))


Spans = Mapping[tuple[str, int], Span]
"""What has been read, by dataset and partition."""


class HistoryStore(Protocol):
    """Where the history stands. Every call may raise `app.core.errors.Unready` where the database is gone.

    `app.core.errors.ContractViolation` where the tables are of another deployment or form, or are not there.
    """

    def transaction(self) -> AbstractContextManager[None]:
        """Begin a transaction; it is committed behind the block, and undone if the block raises."""
        ...

    def make(self) -> None:
        """Make the tables where they are not there yet."""
        ...

    def drop(self) -> None:
        """Drop the tables, of whatever form they are."""
        ...

    def add(self, entries: Iterable[Entry]) -> None:
        """Add rows; one that is there already stays as it is."""
        ...

    def spans(self) -> Spans:
        """Return what has been read so far."""
        ...

    def have_read(self, spans: Spans) -> None:
        """Remember what has been read besides what was remembered before."""
        ...

    def rows(self, table: Table, column: str, values: Iterable[str]) -> list[Row]:
        """Return the rows whose column has one of the values."""
        ...

    def rows_beginning(self, table: Table, column: str, prefix: str) -> list[Row]:
        """Return the rows whose column begins with these hex digits."""
        ...

    def rows_between(self, table: Table, since_ms: int, until_ms: int) -> list[Row]:
        """Return the rows of records from one moment to before another, by Kafka's timestamps."""
        ...

    def close(self) -> None:
        """Let the database go; harmless a second time."""
        ...
