"""What ingest tells compare: packed blocks of rows, marks, barriers, slices, and what the pipeline has reached.

Every one but the pipeline's report carries links: the Kafka consumer positions [begin, end) of a CDC partition that
it stands for. A receiver extends a chain by a link that begins at or below what it has reached, and drops one that
begins above it: a lost block must not be jumped. The sender's `begin` is what it last sent to this very partition of
`observations`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Link:
    """Consumer positions [begin, end) of one CDC partition, named `topic` and `partition`."""

    topic: str
    partition: int
    begin: int
    end: int


# Flags of a row in a block.
PRESENT = 1  # the row exists after this change
SNAPSHOT_READ = 2  # an initial snapshot's read
INCREMENTAL_READ = 4
UNMAPPABLE = 8  # a value does not fit the contract's type: unknown(schema)
QUARANTINED = 16  # the record could not be decoded, but its key could: unknown(quarantined)
CREATED = 32  # the change was an insert: whatever was there before had ended

RAW_KEY_BYTES: Final = 8
"""Bytes of a raw key's digest."""


@dataclass(frozen=True, slots=True)
class RowBlock:
    """Changes of one entity in one store from one CDC partition, in Kafka's order, for one partition of `observations`.

    Columnar; row i has `keys[i]` (canonical key), `raw_keys[i*8:][:8]` (digest of the key as its topic has it),
    `flags[i]`, `places[i*17:][:17]`, `offsets[i]` (Kafka), `transactions[i]` (the store's transaction as a number, 0
    if none) and `groups` digests of 16 bytes each at `digests[(i*groups+g)*16:]`; sixteen zero bytes mean that the log
    left that group out. An absent row's digests are zero bytes and mean nothing.
    """

    entity: int
    store: int
    link: Link
    groups: int
    keys: list[bytes]
    raw_keys: bytes
    flags: bytes
    places: bytes
    offsets: list[int]
    transactions: list[int]
    digests: bytes


@dataclass(frozen=True, slots=True)
class Contributions:
    """What changes of one CDC partition make of their rows' part in the aggregates of an entity, in Kafka's order.

    All of an entity's go to one partition of `observations`, whatever partitions its rows belong to, under links of
    their own. Row i is named by `rows[i]` (its canonical key and the digest of its raw one) and has `flags[i]`,
    `places[i*17:][:17]`, `offsets[i]` and `values[i]` (`app.core.contribution`), empty where the row is no more.
    """

    entity: int
    store: int
    link: Link
    rows: list[bytes]
    flags: bytes
    places: bytes
    offsets: list[int]
    values: list[bytes]


@dataclass(frozen=True, slots=True)
class Truncated:
    """A table was truncated at `place`; one such record goes to every partition of `observations`."""

    entity: int
    store: int
    link: Link
    place: bytes
    offset: int
    transaction: int


@dataclass(frozen=True, slots=True)
class Mark:
    """Nothing happened on these CDC partitions but progress."""

    links: list[Link]


@dataclass(frozen=True, slots=True)
class Beacon:
    """One beacon as read from its store's log.

    `issued_at_ms` and `previous_acknowledged_ms` are on the beacon writers' common monotonic clock. `place` is its own
    place in the log; `streamed` is false when a snapshot read it. `server` identifies the server that wrote the log.
    `replaced` is the beacon that stood in the row before, by writer's epoch and sequence, where the log shows it.
    """

    store: str
    epoch: int
    sequence: int
    issued_at_ms: int
    previous_acknowledged_ms: int
    place: bytes
    streamed: bool
    server: str
    replaced: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Barrier:
    """A beacon, and how far the CDC partitions of its store must be read for all before it to be known."""

    beacon: Beacon
    link: Link  # of the beacon's own CDC partition
    ends: list[tuple[str, int, int]]  # topic, partition, high watermark


@dataclass(frozen=True, slots=True)
class LedgerEcho:
    """A ledger row seen again through CDC: what it records was committed in `transaction`, at `place` in the log.

    `outcome` and `reason` are the ledger's words (`app.core.command`); `reason` is empty unless it is a refusal.
    """

    entity: int
    store: int
    link: Link
    command_id: bytes
    transaction: int
    outcome: str
    place: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class PipelineReached:
    """The pipeline that fills a replica has applied every change of the authority's table up to `place`.

    It was seen at `seen_at_ms` on the beacons' clock: what the pipeline wrote until then may still be on its way
    through the replica's log, so nothing follows from it before that log is known up to then.
    """

    entity: int
    replica: int
    place: bytes
    seen_at_ms: int


@dataclass(frozen=True, slots=True)
class SliceRead:
    """A slice of an entity's rows in one store was read again as a whole; one such record goes to every partition.

    The slice is the canonical keys from `low` on and before `high` (empty: no end). Whatever row of it was there has
    been read, or has changed, behind `begun` in the store's log; the word that it is complete stands at `place`.
    """

    entity: int
    store: int
    link: Link
    slice_id: bytes
    low: bytes
    high: bytes
    begun: bytes
    place: bytes


Observation = RowBlock | Contributions | Truncated | Mark | Barrier | LedgerEcho | PipelineReached | SliceRead
