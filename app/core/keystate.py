"""What is remembered of one row: per store its state, or its last states while the stores differ; the verdict so far.

One value per row, first byte a format version, second a form. A row at rest, whose stores each show one known state
and which has no drift, is written in a form of fixed length: nearly all rows are, and it is read and written at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from app.core.errors import DriftlineError
from app.core.finding import Stage
from app.core.observation import RAW_KEY_BYTES
from app.core.position import BEFORE_ALL, POSITION_BYTES
from app.core.verdict import ABSENT, EVER, OPEN, Stay, stay_of

FORMAT = 2
_FULL, _AT_REST = 0, 1


@dataclass(slots=True)
class Side:
    """One store's view of the row: stays in the order of the log, and what the newest change left."""

    stays: list[Stay]
    position: bytes = BEFORE_ALL  # of the newest change, also of one that left the compared fields as they were
    raw_keys: bytes = b""  # digests of the raw keys whose rows may be there, 8 bytes each, the newest change's last
    groups: bytes = b""  # digests of the newest image's groups, where the contract has large fields

    @classmethod
    def absent(cls) -> Side:
        """Return the view of a store that never showed the row."""
        return cls([Stay(ABSENT, BEFORE_ALL)])


@dataclass(slots=True)
class OpenDrift:
    """A drift that is not over, or whose end waits for the ledger row of the repair that brought it."""

    drift_id: bytes
    stage: Stage
    confirmed_at_ms: int  # the deadline that was judged, on the beacons' clock
    kind: str
    acknowledged: bool = False  # the broker has the record of `stage`
    expected_digest: bytes = b""  # as told in the last record: what the replica shows
    intended_digest: bytes = b""  # and what the authority shows
    expected_position: bytes = b""  # where in the log the replica began to show it
    refused_at: bytes = b""  # where the log has the refusal of the command, until what it says is settled
    told_transaction: int = 0  # the replica's transaction that ended the drift
    repaired_transaction: int = 0  # of the ledger row that was seen through CDC
    command_id: bytes = b""
    incident_id: bytes = b""
    ended_at_ms: int = 0


@dataclass(slots=True)
class ReplicaState:
    """The verdict so far on one replica's row; `vouched_until_ms` is `EVER` before coverage."""

    vouched_until_ms: int = EVER
    drift: OpenDrift | None = None
    look_ms: int = OPEN  # in memory only: the common time after which a live row is judged next


@dataclass(slots=True)
class KeyState:
    """Everything that is remembered of one row. `sides[0]` is the authority's; `replicas[i]` judges `sides[i + 1]`."""

    sides: list[Side]
    replicas: list[ReplicaState]
    past: list[bytes] = field(default_factory=list)  # the authority's last states before the kept ones, newest last
    counted: tuple[tuple[int, str], ...] = ()  # in memory only: its drifts as they stand in the counts

    @classmethod
    def new(cls, stores: int) -> KeyState:
        """Return the state of a row that no store has shown."""
        return cls([Side.absent() for _ in range(stores)], [ReplicaState() for _ in range(stores - 1)])


_HEAD = struct.Struct(">BBBB")
_REST_SIDE = f"16s{POSITION_BYTES}s{RAW_KEY_BYTES}shqQ"
_REST_VALUES = 6
_STORES_MAX = 16  # one bit each tells an absent row
_SIDE = struct.Struct(f">H{POSITION_BYTES}sBB")
_STAY = struct.Struct(f">B{POSITION_BYTES}sqqhqQ")
_REPLICA = struct.Struct(">qB")
_DRIFT = struct.Struct(">16sBq?QQq")
_STAGES = list(Stage)
_DIGEST_BYTES = 16
_NO_KEY = bytes(RAW_KEY_BYTES)
_PAIR: Final = 2
_STAY_FIELDS: Final = len(Stay._fields)
_WAITING_SIDE_BYTES: Final = _SIDE.size + RAW_KEY_BYTES
_WAITING_STAY_BYTES: Final = _STAY.size + _DIGEST_BYTES
_WAITING_STAYS_MAX: Final = 4  # a row that waits with more of them is written part by part
_REST = [struct.Struct(">BBBH" + _REST_SIDE * n + "q" * (n - 1)) for n in range(1, _STORES_MAX + 1)]


def _short(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def encode(state: KeyState) -> bytes:
    """Return the state as bytes."""
    return _encode_at_rest(state) or _encode_waiting(state) or _encode_full(state)


def _encode_at_rest(state: KeyState) -> bytes | None:
    """Return a row at rest as bytes, None for any other. One raw key at most may be there, and none is all zeros."""
    values: list[bytes | int] = []
    absent = 0
    for number, side in enumerate(state.sides):
        if len(side.stays) > 1:
            return None
        digest, at, earliest_ms, latest_ms, partition, offset, transaction = side.stays[0]
        if earliest_ms != EVER or latest_ms != EVER or side.groups or at != side.position:
            return None
        if len(side.raw_keys) > RAW_KEY_BYTES or side.raw_keys == _NO_KEY:
            return None
        if len(digest) != _DIGEST_BYTES:
            if digest:
                return None
            absent |= 1 << number
        values += (digest, at, side.raw_keys, partition, offset, transaction)
    for replica in state.replicas:
        if replica.drift is not None:
            return None
        values.append(replica.vouched_until_ms)
    stores, past = len(state.sides), state.past
    if stores > _STORES_MAX:
        return None
    rest = _REST[stores - 1].pack(FORMAT, _AT_REST, stores, absent, *values)
    return rest + b"".join(past) if past else rest


def _decode_at_rest(value: bytes) -> KeyState:
    stores = value[2]
    form = _REST[stores - 1]
    found = form.unpack_from(value)
    absent = found[3]
    sides = []
    at = 4
    for number in range(stores):
        digest, place, raw_key, partition, offset, transaction = found[at : at + _REST_VALUES]
        at += _REST_VALUES
        if absent and absent >> number & 1:
            digest = ABSENT
        stay = stay_of((digest, place, EVER, EVER, partition, offset, transaction))
        sides.append(Side([stay], place, b"" if raw_key == _NO_KEY else raw_key))
    replicas = [ReplicaState(vouched_ms) for vouched_ms in found[at:]]
    past = [value[n : n + _DIGEST_BYTES] for n in range(form.size, len(value), _DIGEST_BYTES)]
    return KeyState(sides, replicas, past)


def _encode_waiting(state: KeyState) -> bytes | None:
    """Return a row whose stores differ for a moment as `_encode_full` writes it, by one call; None for any other.

    Under a load most rows that are written are at rest or wait so: each store shows few known states, and one raw key.
    """
    past = state.past
    values: list[bytes | int] = [FORMAT, _FULL, len(state.sides), len(past)]
    for digest in past:
        if len(digest) != _DIGEST_BYTES:
            return None
        values += (_DIGEST_BYTES, digest)
    counts = [len(past)]
    for side in state.sides:
        stays = side.stays
        if len(stays) > _WAITING_STAYS_MAX or side.groups or len(side.raw_keys) != RAW_KEY_BYTES:
            return None
        counts.append(len(stays))
        values += (len(stays), side.position, RAW_KEY_BYTES, 0, side.raw_keys)
        for digest, at, earliest_ms, latest_ms, partition, offset, transaction in stays:
            if len(digest) != _DIGEST_BYTES:
                return None
            values += (_DIGEST_BYTES, at, earliest_ms, latest_ms, partition, offset, transaction, digest)
    for replica in state.replicas:
        if replica.drift is not None:
            return None
        values += (replica.vouched_until_ms, 0)
    return _waiting_form(*counts).whole.pack(*values)


@dataclass(frozen=True, slots=True)
class _WaitingForm:
    """How a full state is laid out of which it is known how many past digests and stays it has.

    `values` reads what differs from row to row, `lengths` all that comes of the form itself, which is then `told`.
    """

    whole: struct.Struct
    values: struct.Struct
    lengths: struct.Struct
    told: tuple[int, ...]
    # Per side: where among the values its position stands, the raw key behind it, and what picks each stay's fields.
    sides: tuple[tuple[int, tuple[Callable[[Sequence[Any]], Any], ...]], ...]


@lru_cache(maxsize=1024)
def _waiting_form(past: int, *stays: int) -> _WaitingForm:
    """Return the form of a full state with so many past digests, whose sides have so many known stays each."""
    head = [FORMAT, _FULL, len(stays), past]
    parts: list[tuple[str, int | None]] = [*(("B", told) for told in head)]
    parts += [("B", _DIGEST_BYTES), (f"{_DIGEST_BYTES}s", None)] * past
    sides, at = [], past
    for count in stays:
        parts += [("H", count), (f"{POSITION_BYTES}s", None), ("B", RAW_KEY_BYTES), ("B", 0)]
        parts += [(f"{RAW_KEY_BYTES}s", None)]
        stay = [("B", _DIGEST_BYTES), *((kind, None) for kind in (f"{POSITION_BYTES}s", *"qqhqQ", f"{_DIGEST_BYTES}s"))]
        parts += stay * count
        # A digest is written behind its stay's other fields, and is the first of them here.
        firsts = range(at + 2, at + 2 + count * _STAY_FIELDS, _STAY_FIELDS)
        sides.append((at, tuple(itemgetter(n + _STAY_FIELDS - 1, *range(n, n + _STAY_FIELDS - 1)) for n in firsts)))
        at += 2 + count * _STAY_FIELDS
    parts += [("q", None), ("B", 0)] * (len(stays) - 1)
    return _WaitingForm(
        struct.Struct(">" + "".join(kind for kind, _ in parts)),
        struct.Struct(">" + "".join(kind if told is None else _skipped(kind) for kind, told in parts)),
        struct.Struct(">" + "".join(kind if told is not None else _skipped(kind) for kind, told in parts)),
        tuple(told for _, told in parts if told is not None),
        tuple(sides),
    )


def _skipped(kind: str) -> str:
    return f"{struct.calcsize('>' + kind)}x"


def _encode_full(state: KeyState) -> bytes:
    parts = [_HEAD.pack(FORMAT, _FULL, len(state.sides), len(state.past))]
    parts.extend(_short(digest) for digest in state.past)
    for side in state.sides:
        parts.append(_SIDE.pack(len(side.stays), side.position, len(side.raw_keys), len(side.groups)))
        parts.append(side.raw_keys + side.groups)
        for s in side.stays:
            parts.append(
                _STAY.pack(len(s.digest), s.position, s.earliest_ms, s.latest_ms, s.partition, s.offset, s.transaction)
            )
            parts.append(s.digest)
    for replica in state.replicas:
        drift = replica.drift
        parts.append(_REPLICA.pack(replica.vouched_until_ms, drift is not None))
        if drift is not None:
            parts.append(
                _DRIFT.pack(
                    drift.drift_id,
                    _STAGES.index(drift.stage),
                    drift.confirmed_at_ms,
                    drift.acknowledged,
                    drift.told_transaction,
                    drift.repaired_transaction,
                    drift.ended_at_ms,
                )
            )
            parts.extend(
                _short(text)
                for text in (
                    drift.kind.encode(),
                    drift.expected_digest,
                    drift.intended_digest,
                    drift.command_id,
                    drift.incident_id,
                    drift.expected_position,
                    drift.refused_at,
                )
            )
    return b"".join(parts)


class _Reader:
    """Walks over the bytes of one state."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.at = 0

    def short(self) -> bytes:
        """Read a length and as many bytes."""
        n = self.value[self.at]
        self.at += 1 + n
        return self.value[self.at - n : self.at]

    def take(self, n: int) -> bytes:
        """Read n bytes."""
        self.at += n
        return self.value[self.at - n : self.at]


def decode(value: bytes) -> KeyState:
    """Read a state; `DriftlineError` for another format, which is rebuilt from the changelog or read again."""
    if not value or value[0] != FORMAT:
        raise DriftlineError(
            f"state format {value[:1].hex() or 'empty'} is not {FORMAT}",
            where="keystate",
            hint="delete the worker's state folder and its changelog topic, and let the topics be read again",
        )
    if value[1] == _AT_REST:
        return _decode_at_rest(value)
    return _decode_waiting(value) or _decode_full(value)


def _decode_waiting(value: bytes) -> KeyState | None:
    """Return a row of two stores that `_encode_waiting` wrote; None for any other."""
    past_count = value[3]
    first = _HEAD.size + past_count * (1 + _DIGEST_BYTES)
    count = int.from_bytes(value[first : first + 2], "big")
    second = first + _WAITING_SIDE_BYTES + count * _WAITING_STAY_BYTES
    counts = count, int.from_bytes(value[second : second + 2], "big")
    if value[2] != _PAIR or max(counts) > _WAITING_STAYS_MAX:
        return None
    form = _waiting_form(past_count, *counts)
    if form.whole.size != len(value) or form.lengths.unpack(value) != form.told:
        return None
    found = form.values.unpack(value)
    sides = [Side([stay_of(fields(found)) for fields in stays], found[at], found[at + 1]) for at, stays in form.sides]
    return KeyState(sides, [ReplicaState(found[-1])], [*found[:past_count]])


def _decode_full(value: bytes) -> KeyState:
    _, _, stores, past_count = _HEAD.unpack_from(value)
    r = _Reader(value)
    r.at = _HEAD.size
    past = [r.short() for _ in range(past_count)]
    sides = []
    for _ in range(stores):
        count, position, raw_keys_bytes, groups_bytes = _SIDE.unpack_from(value, r.at)
        r.at += _SIDE.size
        raw_keys = r.take(raw_keys_bytes)
        groups = r.take(groups_bytes)
        stays = []
        for _ in range(count):
            n, at, earliest, latest, partition, offset, transaction = _STAY.unpack_from(value, r.at)
            r.at += _STAY.size
            stays.append(Stay(r.take(n), at, earliest, latest, partition, offset, transaction))
        sides.append(Side(stays, position, raw_keys, groups))
    replicas = []
    for _ in range(stores - 1):
        vouched_ms, has_drift = _REPLICA.unpack_from(value, r.at)
        r.at += _REPLICA.size
        drift = None
        if has_drift:
            drift_id, stage, confirmed, acked, told, repaired, ended = _DRIFT.unpack_from(value, r.at)
            r.at += _DRIFT.size
            kind, expected, intended, command, incident, expected_at, refused_at = (r.short() for _ in range(7))
            drift = OpenDrift(
                drift_id,
                _STAGES[stage],
                confirmed,
                kind.decode(),
                acked,
                expected,
                intended,
                expected_at,
                refused_at,
                told,
                repaired,
                command,
                incident,
                ended,
            )
        replicas.append(ReplicaState(vouched_ms, drift))
    return KeyState(sides, replicas, past)
