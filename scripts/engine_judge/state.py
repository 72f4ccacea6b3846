"""What the workers hold of each row, read from the changelog of their table: the newest value of each key counts.

This file alone knows the table's format: keys are 0x01, the entity's number and the row's key; values are those that
`app/core/state_forms.py` describes, in format 2. Under 0x00 stand the workers' own records: `c` with what was reached
of a partition of changes, `e` with an entity's coverage, both JSON.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from engine_judge.rows import ABSENT

FORMAT = 2
ROW, META = b"\x01", b"\x00"
REACHED, ENTITY = META + b"c", META + b"e"
STAGES = ("confirmed", "overtaken", "disputed", "resolved", "verified", "refuted", "noted")
OPEN_STAGES = frozenset({"confirmed", "overtaken", "disputed"})
_AT_REST = 1
_HEAD = struct.Struct(">BBBB")
_REST_HEAD = struct.Struct(">BBBH")
_REST_SIDE = struct.Struct(">16s20s8shqQ")
_SIDE = struct.Struct(">H20sBB")
_STAY = struct.Struct(">B20sqqhqQ")
_REPLICA = struct.Struct(">qB")
_DRIFT = struct.Struct(">16sBq?QQq")
_TEXTS_BEHIND_DRIFT = 7


@dataclass(frozen=True, slots=True)
class HeldSide:
    """The newest state of a row in one store as a worker holds it; partition and offset are those of its change."""

    digest: bytes
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class HeldRow:
    """A row as a worker holds it: its newest state per store, and its open drift's id, if there is one."""

    sides: tuple[HeldSide, ...]
    open_drift: bytes | None


def read_row(value: bytes) -> HeldRow:
    """Decode a row's value; `ValueError` for another format."""
    if value[0] != FORMAT:
        raise ValueError(f"the state's format is {value[0]}, and the judge reads {FORMAT}")
    _, form, stores, past = _HEAD.unpack_from(value)
    if form == _AT_REST:
        return _read_row_at_rest(value)
    at = _HEAD.size
    for _ in range(past):
        at += 1 + value[at]
    sides = []
    for _ in range(stores):
        stays, _, raw_keys, groups = _SIDE.unpack_from(value, at)
        at += _SIDE.size + raw_keys + groups
        newest = HeldSide(ABSENT, -1, -1)
        for _ in range(stays):
            length, _, _, _, partition, offset, _ = _STAY.unpack_from(value, at)
            at += _STAY.size
            newest = HeldSide(value[at : at + length], partition, offset)
            at += length
        sides.append(newest)
    open_drift = None
    for _ in range(stores - 1):
        _, has_drift = _REPLICA.unpack_from(value, at)
        at += _REPLICA.size
        if has_drift:
            drift_id, stage, *_ = _DRIFT.unpack_from(value, at)
            at += _DRIFT.size
            for _ in range(_TEXTS_BEHIND_DRIFT):
                at += 1 + value[at]
            if STAGES[stage] in OPEN_STAGES:
                open_drift = drift_id
    return HeldRow(tuple(sides), open_drift)


def _read_row_at_rest(value: bytes) -> HeldRow:
    """Decode a row whose stores each show one known state; a bit of the head tells each that shows none."""
    _, _, stores, absent = _REST_HEAD.unpack_from(value)
    sides = []
    for number in range(stores):
        at = _REST_HEAD.size + number * _REST_SIDE.size
        digest, _, _, partition, offset, _ = _REST_SIDE.unpack_from(value, at)
        sides.append(HeldSide(ABSENT if absent >> number & 1 else digest, partition, offset))
    return HeldRow(tuple(sides), None)


def row_number(key: bytes, entity: int) -> int | None:
    """Return the number of the row that a key of the table stands for; None for what is no row of the entity."""
    head = ROW + entity.to_bytes(4, "big")
    return int.from_bytes(key[len(head) + 1 :], "big") if key.startswith(head) else None


def reached(key: bytes, value: bytes) -> tuple[str, int, int] | None:
    """Return topic, partition and position of a record that says how far a partition was taken in; None for others."""
    if not key.startswith(REACHED):
        return None
    topic, _, partition = key[len(REACHED) :].rpartition(b"\x00")
    return topic.decode(), int(partition), int(json.loads(value)[0])


def is_swept(key: bytes, value: bytes) -> bool | None:
    """Return whether an entity is covered in all stores and all its rows were judged; None for other records."""
    if not key.startswith(ENTITY):
        return None
    told = json.loads(value)
    return all(told["swept_replicas"]) and all(base is not None for base in told["base_ms"])


def rows_of(values: dict[bytes, bytes], entity: int) -> Iterator[tuple[int, HeldRow]]:
    """Give every row of an entity that the table holds."""
    for key, value in values.items():
        number = row_number(key, entity)
        if number is not None:
            yield number, read_row(value)
