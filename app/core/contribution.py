"""What one row adds to the aggregates of its entity: its canonical values as bytes, and what they come to.

A contribution holds the fields that the contract's aggregates read, in their order, behind a mark of what they mean. It
is kept beside the row's position, so that the next change of the row takes away what this one has added.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final, NamedTuple

from app.core.contract import Aggregate, EntityContract, Field, FieldKind, FieldType, KeyField, Measure
from app.core.digest import compared_reader, meaning_of
from app.core.limits import AGGREGATE_DIGITS_MAX, AGGREGATE_SCALE
from app.core.normalise import NULL, encode
from app.core.types.canonical import Dialect, Misfit

NOTHING: Final = b""
"""The contribution of a row that is not there."""

UNREADABLE: Final = b"\x01"
"""The contribution of a row of which a value is not known."""

_MEANING_BYTES: Final = 4
_LENGTH: Final = struct.Struct(">I")
_HEAD: Final = 1 + _LENGTH.size
_DAY_MS: Final = 86_400_000
_INTEGERS: Final = frozenset(kind for kind in FieldKind if kind.value.removeprefix("u").startswith("int")) - {
    FieldKind.INTERVAL
}

SUMMED_KINDS: Final = _INTEGERS | {FieldKind.DECIMAL}
"""Kinds whose sum does not depend on the order of adding."""

WINDOWED_KINDS: Final = frozenset({FieldKind.INSTANT, FieldKind.LOCAL_TIMESTAMP, FieldKind.DATE})


class Share(NamedTuple):
    """What one row comes to in one aggregate: its group, what it adds, and the value that is told apart (or none)."""

    group: bytes
    amount: int
    value: bytes = b""


def members_of(contract: EntityContract) -> dict[str, KeyField | Field]:
    """Return the parts of the key and the fields by name."""
    members: tuple[KeyField | Field, ...] = (*contract.key, *contract.fields)
    return {member.name: member for member in members}


def fields_read(contract: EntityContract) -> tuple[str, ...]:
    """Return the fields that any aggregate reads, in the order in which a contribution holds them."""
    return tuple(dict.fromkeys(name for aggregate in contract.aggregates for name in aggregate.fields))


def meaning_bytes(contract: EntityContract) -> bytes:
    """Return the mark that tells contributions under this contract from others."""
    told = repr((meaning_of(contract), fields_read(contract)))
    return blake2b(told.encode(), digest_size=_MEANING_BYTES, person=b"DLcontrib").digest()


def scale_of(contract: EntityContract, aggregate: Aggregate) -> int:
    """Return how many digits after the point an aggregate's figures have."""
    if aggregate.measure is not Measure.SUM:
        return 0
    of = members_of(contract)[aggregate.field].type
    return 0 if of.kind in _INTEGERS else AGGREGATE_SCALE if of.scale is None else of.scale


class ContributionReader:
    """Makes contributions of rows of one store, whose images map its column names to raw values."""

    def __init__(self, contract: EntityContract, store: str, dialect: Dialect) -> None:
        members = [members_of(contract)[name] for name in fields_read(contract)]
        self._head = meaning_bytes(contract)
        self._steps = [(m.columns[store], compared_reader(m, store, dialect), encode(m.type)) for m in members]

    def of(self, row: Mapping[str, object]) -> bytes:
        """Return the contribution of a row that is there."""
        parts = [self._head]
        try:
            for column, read, write in self._steps:
                raw = row[column]
                parts.append(NULL if raw is None else write(read(raw)))
        except (KeyError, Misfit):
            return UNREADABLE
        return b"".join(parts)


class Shares:
    """What contributions of one entity come to in each of its aggregates."""

    def __init__(self, contract: EntityContract) -> None:
        self._head = meaning_bytes(contract)
        fields = fields_read(contract)
        self._of = [_share_reader(contract, aggregate, fields) for aggregate in contract.aggregates]

    def of(self, contribution: bytes) -> list[Share] | None:
        """Return a row's share in each aggregate; None where a value is not known, or cannot be summed."""
        if contribution[:_MEANING_BYTES] != self._head:
            return None
        try:
            parts = _split(contribution)
            return [share(parts) for share in self._of]
        except (ValueError, IndexError, struct.error):  # the last two: nobody of ours wrote it
            return None


def group_texts(aggregate: Aggregate, group: bytes) -> dict[str, str | None]:
    """Return a group as a person reads it: the fields that it is made by, and the beginning of its window."""
    parts = _split(bytes(_MEANING_BYTES) + group)
    found = {name: _text_of(part) for name, part in zip(aggregate.by, parts, strict=False)}
    if aggregate.at:
        found[aggregate.at] = _text_of(parts[-1])
    return found


def _text_of(part: bytes) -> str | None:
    return None if part == NULL else part[_HEAD:].decode(errors="backslashreplace")


def _split(contribution: bytes) -> list[bytes]:
    parts = []
    at = _MEANING_BYTES
    while at < len(contribution):
        if contribution[at : at + 1] == NULL:
            end = at + 1
        else:
            (size,) = _LENGTH.unpack_from(contribution, at + 1)
            end = at + _HEAD + size
        parts.append(contribution[at:end])
        at = end
    return parts


def _share_reader(
    contract: EntityContract, aggregate: Aggregate, fields: tuple[str, ...]
) -> Callable[[list[bytes]], Share]:
    by = [fields.index(name) for name in aggregate.by]
    at = fields.index(aggregate.at) if aggregate.at else None
    window = _window_reader(contract, aggregate)
    of = fields.index(aggregate.field) if aggregate.field else 0
    measure, scale = aggregate.measure, scale_of(contract, aggregate)

    def read(parts: list[bytes]) -> Share:
        group = b"".join([parts[n] for n in by])
        if at is not None:
            group += window(parts[at])
        if measure is Measure.COUNT:
            return Share(group, 1)
        part = parts[of]
        if part == NULL:
            return Share(group, 0)
        return Share(group, 0, part) if measure is Measure.DISTINCT else Share(group, _scaled(part[_HEAD:], scale))

    return read


def _window_reader(contract: EntityContract, aggregate: Aggregate) -> Callable[[bytes], bytes]:
    """Return what gives the window of a time: its beginning as canonical bytes; a time without one is its own."""
    type_ = members_of(contract)[aggregate.at].type if aggregate.at else FieldType(FieldKind.INSTANT)
    per_unit = _DAY_MS * 1_000 if type_.kind is FieldKind.DATE else 1
    every = max(aggregate.every_ms, 1) * 1_000
    write = encode(FieldType(type_.kind))

    def window(part: bytes) -> bytes:
        data = part[_HEAD:]
        if not data or not data.removeprefix(b"-").isdigit():
            return part  # NULL, or an infinity
        return write(int(data) * per_unit // every * every // per_unit)

    return window


def _scaled(data: bytes, scale: int) -> int:
    """Return a canonical number as a whole one of 10^-scale; `ValueError` if it is none, or has more digits."""
    if len(data) > AGGREGATE_DIGITS_MAX:
        raise ValueError("more digits than a sum can have")
    whole, _, fraction = data.partition(b".")
    if len(fraction) > scale:
        raise ValueError("more digits after the point than the sum has")
    return int(whole + fraction + b"0" * (scale - len(fraction)))
