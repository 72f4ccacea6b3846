"""Observations as bytes: one format version byte, then MessagePack arrays.

Columnar, since a block is written and read whole. What a receiver reads may have been written by anybody who can reach
the topic, so every column is checked against the others before it becomes a value of the core.
"""

from __future__ import annotations

from typing import Final

import msgspec

from app.core.errors import Undecodable
from app.core.limits import KEY_BYTES_MAX
from app.core.observation import (
    RAW_KEY_BYTES,
    Barrier,
    Beacon,
    Contributions,
    LedgerEcho,
    Link,
    Mark,
    Observation,
    PipelineReached,
    RowBlock,
    SliceRead,
    Truncated,
)
from app.core.position import PLACE_BYTES

FORMAT: Final = 1
"""The first byte of every record of `observations`; a reader refuses what it does not know."""

_DIGEST_BYTES: Final = 16
_GROUPS_MAX: Final = 256
_VERSION_BYTE: Final = bytes([FORMAT])

_Link = tuple[str, int, int, int]


class _Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The base of the records: arrays whose first member is the tag."""


class _RowBlock(_Record, tag=1):
    entity: int
    store: int
    link: _Link
    groups: int
    keys: list[bytes]
    raw_keys: bytes
    flags: bytes
    places: bytes
    offsets: list[int]
    transactions: list[int]
    digests: bytes


class _Truncated(_Record, tag=2):
    entity: int
    store: int
    link: _Link
    place: bytes
    offset: int
    transaction: int


class _Mark(_Record, tag=3):
    links: list[_Link]


class _Barrier(_Record, tag=4):
    store: str
    epoch: int
    sequence: int
    issued_at_ms: int
    previous_acknowledged_ms: int
    place: bytes
    streamed: bool
    server: str
    link: _Link
    ends: list[tuple[str, int, int]]
    replaced: tuple[int, int] | None = None


class _LedgerEcho(_Record, tag=5):
    entity: int
    store: int
    link: _Link
    command_id: bytes
    transaction: int
    outcome: str
    place: bytes = bytes(PLACE_BYTES)
    reason: str = ""


class _PipelineReached(_Record, tag=6):
    entity: int
    replica: int
    place: bytes
    seen_at_ms: int


class _SliceRead(_Record, tag=7):
    entity: int
    store: int
    link: _Link
    slice_id: bytes
    low: bytes
    high: bytes
    begun: bytes
    place: bytes


class _Contributions(_Record, tag=8):
    entity: int
    store: int
    link: _Link
    rows: list[bytes]
    flags: bytes
    places: bytes
    offsets: list[int]
    values: list[bytes]


_encoder: Final = msgspec.msgpack.Encoder()
_Any = _RowBlock | _Truncated | _Mark | _Barrier | _LedgerEcho | _PipelineReached | _SliceRead | _Contributions
_decoder: Final = msgspec.msgpack.Decoder(_Any)


def pack(observation: Observation) -> bytes:
    """Return the bytes of one observation, as one Kafka record carries it."""
    return _VERSION_BYTE + _encoder.encode(_as_record(observation))


def unpack(packed: bytes) -> Observation:
    """Read an observation back; `Undecodable` for an unknown format, foreign bytes, or columns that do not fit."""
    if not packed or packed[0] != FORMAT:
        raise Undecodable(
            "format",
            f"the record begins with {packed[:1].hex() or 'nothing'}, not with format {FORMAT}",
            hint="a newer worker wrote it, or somebody else did",
        )
    try:
        record = _decoder.decode(memoryview(packed)[1:])
    except (msgspec.MsgspecError, ValueError) as error:
        raise Undecodable("shape", f"not an observation: {type(error).__name__}") from error
    return _as_observation(record)


def _pair(link: Link) -> _Link:
    return (link.topic, link.partition, link.begin, link.end)


def _as_record(observation: Observation) -> _Record:
    match observation:
        case RowBlock():
            return _RowBlock(
                observation.entity,
                observation.store,
                _pair(observation.link),
                observation.groups,
                observation.keys,
                observation.raw_keys,
                observation.flags,
                observation.places,
                observation.offsets,
                observation.transactions,
                observation.digests,
            )
        case Contributions():
            return _Contributions(
                observation.entity,
                observation.store,
                _pair(observation.link),
                observation.rows,
                observation.flags,
                observation.places,
                observation.offsets,
                observation.values,
            )
        case Truncated():
            return _Truncated(
                observation.entity,
                observation.store,
                _pair(observation.link),
                observation.place,
                observation.offset,
                observation.transaction,
            )
        case Mark():
            return _Mark([_pair(link) for link in observation.links])
        case Barrier():
            beacon = observation.beacon
            return _Barrier(
                beacon.store,
                beacon.epoch,
                beacon.sequence,
                beacon.issued_at_ms,
                beacon.previous_acknowledged_ms,
                beacon.place,
                beacon.streamed,
                beacon.server,
                _pair(observation.link),
                observation.ends,
                beacon.replaced,
            )
        case LedgerEcho():
            return _LedgerEcho(
                observation.entity,
                observation.store,
                _pair(observation.link),
                observation.command_id,
                observation.transaction,
                observation.outcome,
                observation.place,
                observation.reason,
            )
        case PipelineReached():
            return _PipelineReached(observation.entity, observation.replica, observation.place, observation.seen_at_ms)
        case SliceRead():
            return _SliceRead(
                observation.entity,
                observation.store,
                _pair(observation.link),
                observation.slice_id,
                observation.low,
                observation.high,
                observation.begun,
                observation.place,
            )


def _link(read: _Link) -> Link:
    topic, partition, begin, end = read
    if partition < 0 or begin < 0 or end < begin:
        raise Undecodable("link", f"positions [{begin}, {end}) of {topic}[{partition}] are no range")
    return Link(topic, partition, begin, end)


def _place(place: bytes) -> bytes:
    if len(place) != PLACE_BYTES:
        raise Undecodable("place", f"a place has {len(place)} bytes, not {PLACE_BYTES}")
    return place


def _as_observation(record: _Any) -> Observation:
    match record:
        case _RowBlock():
            return _row_block(record)
        case _Contributions():
            return _contributions(record)
        case _Truncated(entity, store, link, place, offset, transaction):
            return Truncated(entity, store, _link(link), _place(place), offset, transaction)
        case _Mark(links):
            return Mark([_link(link) for link in links])
        case _Barrier():
            beacon = Beacon(
                record.store,
                record.epoch,
                record.sequence,
                record.issued_at_ms,
                record.previous_acknowledged_ms,
                _place(record.place),
                record.streamed,
                record.server,
                record.replaced,
            )
            return Barrier(beacon, _link(record.link), record.ends)
        case _LedgerEcho(entity, store, link, command_id, transaction, outcome, place, reason):
            return LedgerEcho(entity, store, _link(link), command_id, transaction, outcome, _place(place), reason)
        case _PipelineReached(entity, replica, place, seen_at_ms):
            return PipelineReached(entity, replica, _place(place), seen_at_ms)
        case _SliceRead(entity, store, link, slice_id, low, high, begun, place):
            return SliceRead(entity, store, _link(link), slice_id, low, high, _place(begun), _place(place))


def _row_block(record: _RowBlock) -> RowBlock:
    rows = len(record.keys)
    fits = (
        1 <= record.groups <= _GROUPS_MAX
        and len(record.raw_keys) == rows * RAW_KEY_BYTES
        and len(record.flags) == rows
        and len(record.places) == rows * PLACE_BYTES
        and len(record.offsets) == rows
        and len(record.transactions) == rows
        and len(record.digests) == rows * record.groups * _DIGEST_BYTES
    )
    if not fits:
        raise Undecodable("columns", f"the columns of a block of {rows} rows are not of one length")
    if max(map(len, record.keys), default=0) > KEY_BYTES_MAX:
        raise Undecodable("key", f"a key of a block has more than {KEY_BYTES_MAX} bytes")
    return RowBlock(
        record.entity,
        record.store,
        _link(record.link),
        record.groups,
        record.keys,
        record.raw_keys,
        record.flags,
        record.places,
        record.offsets,
        record.transactions,
        record.digests,
    )


def _contributions(record: _Contributions) -> Contributions:
    rows = len(record.rows)
    fits = (
        len(record.flags) == rows
        and len(record.places) == rows * PLACE_BYTES
        and len(record.offsets) == rows
        and len(record.values) == rows
    )
    if not fits:
        raise Undecodable("columns", f"the columns of contributions of {rows} rows are not of one length")
    return Contributions(
        record.entity,
        record.store,
        _link(record.link),
        record.rows,
        record.flags,
        record.places,
        record.offsets,
        record.values,
    )
