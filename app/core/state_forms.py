"""How what is remembered of a row is written: one value, first byte a format version, second a form.

A row at rest, whose stores each show one known state and which has no drift, is written in a form of fixed length:
nearly all rows are, and it is read and written at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from app.core.errors import DriftlineError
from app.core.finding import Stage
from app.core.keystate import KeyState, OpenDrift, ReplicaState, Side
from app.core.observation import RAW_KEY_BYTES
from app.core.position import POSITION_BYTES
from app.core.verdict import ABSENT, EVER, Stay, stay_of

FORMAT: Final = 2
FULL: Final = 0
AT_REST: Final = 1

HEAD: Final = struct.Struct(">BBBB")
_REST_SIDE = f"16s{POSITION_BYTES}s{RAW_KEY_BYTES}shqQ"
_REST_VALUES = 6
_STORES_MAX = 16  # one bit each tells an absent row
_SIDE = struct.Struct(f">H{POSITION_BYTES}sBB")
STAY: Final = struct.Struct(f">B{POSITION_BYTES}sqqhqQ")
_REPLICA = struct.Struct(">qB")
_DRIFT = struct.Struct(">16sBq?QQq")
_STAGES = list(Stage)
DIGEST_BYTES: Final = 16
NO_KEY: Final = bytes(RAW_KEY_BYTES)
PAIR: Final = 2
_STAY_FIELDS: Final = len(Stay._fields)
WAITING_SIDE_BYTES: Final = _SIDE.size + RAW_KEY_BYTES
WAITING_STAY_BYTES: Final = STAY.size + DIGEST_BYTES
_WAITING_STAYS_MAX: Final = 4  # a row that waits with more of them is written part by part
REST: Final = [struct.Struct(">BBBH" + _REST_SIDE * n + "q" * (n - 1)) for n in range(1, _STORES_MAX + 1)]
"""The forms at rest, by the number of stores less one: per store digest, position, raw key and the end of a `Stay`."""


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
        if len(side.raw_keys) > RAW_KEY_BYTES or side.raw_keys == NO_KEY:
            return None
        if len(digest) != DIGEST_BYTES:
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
    rest = REST[stores - 1].pack(FORMAT, AT_REST, stores, absent, *values)
    return rest + b"".join(past) if past else rest


def _decode_at_rest(value: bytes) -> KeyState:
    stores = value[2]
    form = REST[stores - 1]
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
        sides.append(Side([stay], place, b"" if raw_key == NO_KEY else raw_key))
    replicas = [ReplicaState(vouched_ms) for vouched_ms in found[at:]]
    past = [value[n : n + DIGEST_BYTES] for n in range(form.size, len(value), DIGEST_BYTES)]
    return KeyState(sides, replicas, past)


def _encode_waiting(state: KeyState) -> bytes | None:
    """Return a row whose stores differ for a moment as `_encode_full` writes it, by one call; None for any other.

    Under a load most rows that are written are at rest or wait so: each store shows few known states, and one raw key.
    """
    past = state.past
    values: list[bytes | int] = [FORMAT, FULL, len(state.sides), len(past)]
    for digest in past:
        if len(digest) != DIGEST_BYTES:
            return None
        values += (DIGEST_BYTES, digest)
    counts = [len(past)]
    for side in state.sides:
        stays = side.stays
        if len(stays) > _WAITING_STAYS_MAX or side.groups or len(side.raw_keys) != RAW_KEY_BYTES:
            return None
        counts.append(len(stays))
        values += (len(stays), side.position, RAW_KEY_BYTES, 0, side.raw_keys)
        for digest, at, earliest_ms, latest_ms, partition, offset, transaction in stays:
            if len(digest) != DIGEST_BYTES:
                return None
            values += (DIGEST_BYTES, at, earliest_ms, latest_ms, partition, offset, transaction, digest)
    for replica in state.replicas:
        if replica.drift is not None:
            return None
        values += (replica.vouched_until_ms, 0)
    return waiting_form(*counts).whole.pack(*values)


@dataclass(frozen=True, slots=True)
class WaitingForm:
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
def waiting_form(past: int, *stays: int) -> WaitingForm:
    """Return the form of a full state with so many past digests, whose sides have so many known stays each."""
    head = [FORMAT, FULL, len(stays), past]
    parts: list[tuple[str, int | None]] = [*(("B", told) for told in head)]
    parts += [("B", DIGEST_BYTES), (f"{DIGEST_BYTES}s", None)] * past
    sides, at = [], past
    for count in stays:
        parts += [("H", count), (f"{POSITION_BYTES}s", None), ("B", RAW_KEY_BYTES), ("B", 0)]
        parts += [(f"{RAW_KEY_BYTES}s", None)]
        stay = [("B", DIGEST_BYTES), *((kind, None) for kind in (f"{POSITION_BYTES}s", *"qqhqQ", f"{DIGEST_BYTES}s"))]
        parts += stay * count
        # A digest is written behind its stay's other fields, and is the first of them here.
        firsts = range(at + 2, at + 2 + count * _STAY_FIELDS, _STAY_FIELDS)
        sides.append((at, tuple(itemgetter(n + _STAY_FIELDS - 1, *range(n, n + _STAY_FIELDS - 1)) for n in firsts)))
        at += 2 + count * _STAY_FIELDS
    parts += [("q", None), ("B", 0)] * (len(stays) - 1)
    return WaitingForm(
        struct.Struct(">" + "".join(kind for kind, _ in parts)),
        struct.Struct(">" + "".join(kind if told is None else _skipped(kind) for kind, told in parts)),
        struct.Struct(">" + "".join(kind if told is not None else _skipped(kind) for kind, told in parts)),
        tuple(told for _, told in parts if told is not None),
        tuple(sides),
    )


def _skipped(kind: str) -> str:
    return f"{struct.calcsize('>' + kind)}x"


def _encode_full(state: KeyState) -> bytes:
    parts = [HEAD.pack(FORMAT, FULL, len(state.sides), len(state.past))]
    parts.extend(_short(digest) for digest in state.past)
    for side in state.sides:
        parts.append(_SIDE.pack(len(side.stays), side.position, len(side.raw_keys), len(side.groups)))
        parts.append(side.raw_keys + side.groups)
        for s in side.stays:
            parts.append(
                STAY.pack(len(s.digest), s.position, s.earliest_ms, s.latest_ms, s.partition, s.offset, s.transaction)
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
    """Read a state; `DriftlineError` for bytes of another format, which a state of this one's name never holds."""
    if not value or value[0] != FORMAT:
        raise DriftlineError(
            f"state format {value[:1].hex() or 'empty'} is not {FORMAT}",
            where="state_forms",
            hint="delete the worker's state folder and its changelog topic, and let the topics be read again",
        )
    if value[1] == AT_REST:
        return _decode_at_rest(value)
    return _decode_waiting(value) or _decode_full(value)


def waiting_form_of(value: bytes) -> WaitingForm | None:
    """Return the form in which `_encode_waiting` wrote a row of two stores; None for any other."""
    past_count = value[3]
    first = HEAD.size + past_count * (1 + DIGEST_BYTES)
    count = int.from_bytes(value[first : first + 2], "big")
    second = first + WAITING_SIDE_BYTES + count * WAITING_STAY_BYTES
    counts = count, int.from_bytes(value[second : second + 2], "big")
    if value[1] != FULL or value[2] != PAIR or max(counts) > _WAITING_STAYS_MAX:
        return None
    form = waiting_form(past_count, *counts)
    return form if form.whole.size == len(value) and form.lengths.unpack(value) == form.told else None


def _decode_waiting(value: bytes) -> KeyState | None:
    form = waiting_form_of(value)
    if form is None:
        return None
    found = form.values.unpack(value)
    sides = [Side([stay_of(fields(found)) for fields in stays], found[at], found[at + 1]) for at, stays in form.sides]
    return KeyState(sides, [ReplicaState(found[-1])], [*found[: value[3]]])


def _decode_full(value: bytes) -> KeyState:
    _, _, stores, past_count = HEAD.unpack_from(value)
    r = _Reader(value)
    r.at = HEAD.size
    past = [r.short() for _ in range(past_count)]
    sides = []
    for _ in range(stores):
        count, position, raw_keys_bytes, groups_bytes = _SIDE.unpack_from(value, r.at)
        r.at += _SIDE.size
        raw_keys = r.take(raw_keys_bytes)
        groups = r.take(groups_bytes)
        stays = []
        for _ in range(count):
            n, at, earliest, latest, partition, offset, transaction = STAY.unpack_from(value, r.at)
            r.at += STAY.size
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
